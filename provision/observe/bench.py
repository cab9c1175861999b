"""Measuring a running server: prompts that no cache knows, a closed loop at each level, quiet samples."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from provision.domain.benchmark import BenchReport, LevelReport, Sample
from provision.domain.frozen import frozen
from provision.errors import UnreachableError
from provision.host.chat_request import CHAT_PATH, LIMITS
from provision.host.contention import foreign_share, snapshot
from provision.host.endpoint import EndpointClient
from provision.host.recording import record
from provision.observe.chat_stream import to_sample
from provision.observe.level_report import level_report
from provision.observe.load import closed_loop
from provision.observe.prompts import Prompt, PromptMaker
from provision.observe.token_count import counters

# Understood by llama.cpp and vLLM (the first) and by llama.cpp (the second); left out where a server refuses them.
EXTENSIONS = {"ignore_eos": True, "cache_prompt": False}
TRIAL_TOKENS = 2
MIN_REQUESTS = 4


@frozen
class BenchOptions:
    """What to measure.

    ``prompt_tokens`` counts the template too. ``requests_per_level`` is for each repeat; ``None`` means four, or
    as many as there are clients. A sample is taken again, at most ``max_retakes`` times a level, where others
    took more than ``max_foreign_cpu_share`` of the machine. ``timeout_s`` bounds one request.
    """

    concurrency: tuple[int, ...] = (1, 2, 4)
    repeats: int = 3
    prompt_tokens: int = 64
    output_tokens: int = 64
    requests_per_level: int | None = None
    max_foreign_cpu_share: float = 0.06
    max_retakes: int = 3
    timeout_s: float = 600.0

    def requests(self, concurrency: int) -> int:
        """Return how many requests one sample at ``concurrency`` has."""
        return self.requests_per_level or max(MIN_REQUESTS, concurrency)


def run(
    client_factory: Callable[[], EndpointClient],
    model: str,
    server_pids: Callable[[], list[int]],
    options: BenchOptions,
    progress: Callable[[str], None],
) -> BenchReport:
    """Measure every level. ``server_pids`` names the processes whose work is not a disturbance.

    Raises ``UnreachableError`` where the server does not answer one request of the kind; later failures are
    counted.
    """
    started_at, began = time.time(), time.perf_counter()
    client = client_factory()
    maker = PromptMaker(counters(client, model, options.timeout_s), options.prompt_tokens)
    runner = _Runner(client_factory, maker, server_pids, options, progress, _common_fields(model, options))
    runner.leave_out_what_is_refused()
    levels = tuple(runner.level(concurrency) for concurrency in options.concurrency)
    return BenchReport(
        model=model,
        levels=levels,
        repeats=options.repeats,
        prompt_tokens=options.prompt_tokens,
        output_tokens=options.output_tokens,
        counted_by=maker.counted_by,
        max_foreign_cpu_share=options.max_foreign_cpu_share,
        parameters={name: value for name, value in runner.fields.items() if name != "model"},
        started_at=started_at,
        duration_s=time.perf_counter() - began,
    )


def _common_fields(model: str, options: BenchOptions) -> dict[str, Any]:
    return {
        "model": model,
        "max_tokens": options.output_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
        **EXTENSIONS,
    }


def _ever_plainer(fields: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield ``fields``, then without the extensions, then with the newer name of the limit as well."""
    yield fields
    plain = {name: value for name, value in fields.items() if name not in EXTENSIONS}
    yield plain
    old, new = LIMITS
    yield {new if name == old else name: value for name, value in plain.items()}


@dataclass
class _Runner:
    """One run; ``fields`` are what all requests have in common."""

    client_factory: Callable[[], EndpointClient]
    maker: PromptMaker
    server_pids: Callable[[], list[int]]
    options: BenchOptions
    progress: Callable[[str], None]
    fields: dict[str, Any]

    def leave_out_what_is_refused(self) -> None:
        """Try short requests, each plainer than the one before, as long as the server calls them bad ones."""
        error = None
        for fields in _ever_plainer(self.fields):
            self.fields = fields
            short = {name: TRIAL_TOKENS for name in LIMITS if name in fields}
            request = {**self._request(self.maker.make()), **short}
            recording = record(self.client_factory(), CHAT_PATH, request, self.options.timeout_s)
            error = to_sample(recording).error
            if error is None:
                return
            if not 400 <= recording.status < 500:
                break
        raise UnreachableError(f"The server does not answer a streamed chat: {error}.", "Run `fabric smoke`.")

    def level(self, concurrency: int) -> LevelReport:
        """Warm up, then take samples until enough are undisturbed or no retake is left."""
        repeats, taken = self.options.repeats, list[Sample]()
        self._take(concurrency, [self._request(self.maker.make())])
        while len(taken) < repeats + self.options.max_retakes:
            quiet = sum(not sample.disturbed for sample in taken)
            if quiet >= repeats:
                break
            again = " (again: other processes were busy)" if len(taken) > quiet else ""
            self.progress(f"Concurrency {concurrency}: sample {min(quiet + 1, repeats)} of {repeats}{again}")
            prompts = [self.maker.make() for _ in range(self.options.requests(concurrency))]
            taken.append(self._take(concurrency, [self._request(prompt) for prompt in prompts]))
        return level_report(concurrency, quietest(taken, repeats), max(0, len(taken) - repeats))

    def _take(self, concurrency: int, requests: Sequence[Any]) -> Sample:
        before = snapshot(self.server_pids())
        load = closed_loop(self.client_factory, requests, concurrency, self.options.timeout_s)
        share = foreign_share(before, snapshot(self.server_pids()), load.duration_s)
        samples = tuple(to_sample(recording) for recording in load.recordings)
        disturbed = share is not None and share > self.options.max_foreign_cpu_share
        return Sample(samples, load.duration_s, share, disturbed)

    def _request(self, prompt: Prompt) -> dict[str, Any]:
        return {**self.fields, "messages": prompt.messages}


def quietest(samples: Sequence[Sample], count: int) -> list[Sample]:
    """Return the ``count`` samples that others disturbed least, in the order in which they were taken."""
    by_noise = sorted(range(len(samples)), key=lambda number: samples[number].foreign_cpu_share or 0.0)
    return [samples[number] for number in sorted(by_noise[:count])]
