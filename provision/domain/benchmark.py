"""What ``bench`` measured. Times named ``at_ns`` are readings of one monotonic clock."""

from __future__ import annotations

from dataclasses import field

from provision.domain.facts import Facts
from provision.domain.frozen import frozen


@frozen
class Delta:
    """One piece of an answer, and when its last byte was read.

    ``tokens`` is what the server says it holds, ``None`` where it does not say. ``visible`` is false for
    reasoning and tool calls: output, and not yet an answer.
    """

    at_ns: int
    tokens: int | None = None
    visible: bool = True


@frozen
class EngineTimings:
    """How long the engine says that it worked on one request: reading the prompt, and writing after it."""

    prompt_ms: float
    prompt_tokens_per_s: float
    output_ms: float
    output_tokens_per_s: float


@frozen
class RequestSample:
    """One request as the client saw it.

    ``stopped_at_ns`` is when the server said that the model itself ended the answer (``finish_reason`` is
    ``stop``). Token counts are the server's own; ``estimated`` means that it gave none and chunks were counted.
    ``client_cpu_ns`` and ``client_wait_ns`` are what reading cost us, and how long our thread, with bytes to
    read, had to wait for a processor; ``reads`` is how often it read.
    """

    sent_ns: int
    ended_ns: int
    deltas: tuple[Delta, ...] = ()
    output_tokens: int = 0
    prompt_tokens: int | None = None
    cached_prompt_tokens: int | None = None
    estimated: bool = False
    stopped_at_ns: int | None = None
    finish_reason: str | None = None
    engine: EngineTimings | None = None
    error: str | None = None
    reads: int = 0
    client_cpu_ns: int = 0
    client_wait_ns: int | None = None


@frozen
class Sample:
    """One repeat of one level: its requests, and what else the machine did meanwhile.

    ``foreign_cpu_share`` is the share of the whole machine's processor time, 0 to 1, that other processes took;
    ``None`` where that is not known.
    """

    requests: tuple[RequestSample, ...]
    duration_s: float
    foreign_cpu_share: float | None = None
    disturbed: bool = False


@frozen
class Percentiles:
    """``None`` where too few samples support the figure."""

    samples: int = 0
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    max: float | None = None


@frozen
class EngineRates:
    """The engine's own timings of all requests of a level, each request weighted by its time."""

    prompt_tokens_per_s: float | None = None
    output_tokens_per_s: float | None = None


@frozen
class ClientCost:
    """What measuring cost: processor time for each read, and how late a read was because the machine was busy.

    ``lagging`` is true where that delay is more than a twentieth of the time between tokens.
    """

    cpu_us_per_read: float | None = None
    lag_us: float | None = None
    lagging: bool = False


@frozen
class LevelReport:
    """All samples of one concurrency, pooled. The definitions are in ``observe/definitions.py``."""

    concurrency: int
    requests: int
    errors: int
    ttft_ms: Percentiles
    ttft_visible_ms: Percentiles
    tpot_ms: Percentiles
    itl_ms: Percentiles
    inter_chunk_ms: Percentiles
    e2e_ms: Percentiles
    output_tokens_per_s: float | None
    request_output_tokens_per_s: float | None
    system_output_tokens_per_s: float | None
    requests_per_s: float | None
    prompt_tokens: Percentiles
    output_tokens: Percentiles
    cached_prompt_tokens: int | None
    tokens_per_chunk: float | None
    engine: EngineRates
    client: ClientCost
    foreign_cpu_share: float | None
    disturbed_samples: int
    repeated_samples: int
    error_examples: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    samples: tuple[Sample, ...] = ()

    @property
    def disturbed(self) -> bool:
        """Whether a sample that other processes disturbed is part of the figures."""
        return self.disturbed_samples > 0


@frozen
class BenchHost:
    """The machine that the figures belong to."""

    cpu: str | None = None
    cores_usable: int | None = None
    memory_total_bytes: int | None = None
    system: str | None = None
    arch: str | None = None

    @classmethod
    def of(cls, facts: Facts) -> BenchHost:
        """Take from the facts what a reader needs to compare figures."""
        system = " ".join(part for part in (facts.os.distribution or facts.os.system, facts.os.version) if part)
        return cls(facts.cpu.model, facts.cpu.cores_usable, facts.memory.total_bytes, system or None, facts.os.arch)


@frozen
class BenchReport:
    """One run. ``started_at`` is in seconds since the epoch; ``parameters`` are the fields that each request had."""

    model: str
    levels: tuple[LevelReport, ...]
    repeats: int
    prompt_tokens: int
    output_tokens: int
    counted_by: str
    max_foreign_cpu_share: float
    parameters: dict[str, object] = field(default_factory=dict)
    started_at: float = 0.0
    duration_s: float = 0.0
    host: BenchHost | None = None
    backend: str | None = None

    @property
    def engine_reported(self) -> EngineRates:
        """The engine's own timings at the lowest concurrency that was measured."""
        return min(self.levels, key=lambda level: level.concurrency).engine if self.levels else EngineRates()
