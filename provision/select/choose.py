"""The choice: a pure function of facts, spec and data. It says why, and why not the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from provision.domain.engine import EngineRelease
from provision.domain.facts import Facts
from provision.domain.model import Model
from provision.domain.selection import Fit, Selection
from provision.domain.spec import ACCELERATIONS, AUTO, BACKENDS, LOOPBACK_HOSTS, Spec
from provision.errors import FabricError, RefusedError, UsageError, did_you_mean
from provision.select.fit import fit

MIN_CONTEXT = 256
GIB = 1 << 30


class CannotRunError(FabricError):
    """What was asked for cannot run on this machine."""

    code = "cannot-run"


@dataclass(frozen=True)
class Knowledge:
    """The data that a choice rests on.

    ``releases`` are the installable releases of every engine, ``not_yet`` the engines known by name only, with
    the reason; ``serving`` is profiles/serving.yaml.
    """

    releases: Mapping[str, Sequence[EngineRelease]]
    not_yet: Mapping[str, str]
    serving: Mapping[str, Any]


@dataclass(frozen=True)
class Verdict:
    """Whether one release runs here: ``reason`` is empty where it does."""

    release: EngineRelease
    reason: str


def check_spec(spec: Spec) -> None:
    """Refuse unknown words and unsafe addresses before anything is looked at."""
    for word, known, what in (
        (spec.backend, BACKENDS, "backend"),
        (spec.acceleration, ACCELERATIONS, "acceleration"),
        (spec.profile, (AUTO,), "profile"),
    ):
        if word not in known:
            raise UsageError(
                f"There is no {what} {word!r}.{did_you_mean(word, list(known))}", f"Known: {', '.join(known)}."
            )
    for count, option in ((spec.parallel, "--parallel"), (spec.threads, "--threads")):
        if count is not None and count < 1:
            raise UsageError(f"{option} {count} is not possible.", "Use 1 or more.")
    if spec.host not in LOOPBACK_HOSTS and not spec.api_key_env:
        raise RefusedError(
            f"Will not listen on {spec.host} without an API key: all who reach this machine could use the model.",
            "Put a key into an environment variable and name it: --api-key-env NAME. Or stay on 127.0.0.1.",
        )


def choose(
    spec: Spec, facts: Facts, model: Model, knowledge: Knowledge, *, port: int, previous: Selection | None = None
) -> Selection:
    """Choose engine, acceleration, context and threads for ``model``; ``port`` has been found to be free or ours.

    A library that was provided to the ``previous`` engine stays provided, even if the system has it by now.
    Raises ``CannotRunError`` where nothing that was asked for runs here.
    """
    release, why_not = _choose_release(spec, facts, knowledge)
    context = _context(spec, model, knowledge.serving)
    judged = fit(model, context, spec.parallel, facts.memory)
    _check_fit(spec, model, judged)
    cores = facts.cpu.cores_usable or 1
    rule = knowledge.serving["threads"]
    kept = previous.provided_libraries if previous and previous.release.wheel == release.wheel else ()
    provided = tuple(lib.name for lib in release.libraries if lib.name in kept or not facts.libraries.get(lib.name))
    return Selection(
        spec=spec,
        backend=release.engine,
        acceleration=release.acceleration,
        release=release,
        provided_libraries=provided,
        model=model,
        context=context,
        parallel=spec.parallel,
        threads=spec.threads or max(1, cores * rule["per_usable_core"]),
        spin_count=rule["spin_count"],
        host=spec.host,
        port=port,
        fit=judged,
        why=(*_why_engine(spec, facts, release, provided), _why_model(spec, model, judged)),
        why_not=why_not,
    )


def _choose_release(spec: Spec, facts: Facts, knowledge: Knowledge) -> tuple[EngineRelease, dict[str, str]]:
    releases, not_yet = knowledge.releases, knowledge.not_yet
    why_not = dict(not_yet)
    if spec.backend in not_yet:
        nearest = next(iter(releases))
        raise CannotRunError(f"Cannot use {spec.backend}: {not_yet[spec.backend]}.", f"Use --backend {nearest}.")
    wanted = releases if spec.backend == AUTO else {spec.backend: releases[spec.backend]}
    reasons = []
    for engine, candidates in wanted.items():
        verdicts = [Verdict(release, why_unfit(release, spec, facts)) for release in candidates]
        for verdict in verdicts:
            if not verdict.reason:
                return verdict.release, why_not
        reasons.append(f"{engine}: {_nearest_miss(verdicts, facts)}")
        why_not[engine] = reasons[-1]
    raise CannotRunError(f"Nothing that fabric can install runs here. {'; '.join(reasons)}.", _CANNOT_RUN_HINT)


_CANNOT_RUN_HINT = "`fabric doctor` shows what was found out about this machine."


def why_unfit(release: EngineRelease, spec: Spec, facts: Facts) -> str:
    """Return why ``release`` cannot run here as wished, or an empty string. The first rule that is broken tells."""
    system, libc, isa = facts.os, facts.os.libc, set(facts.cpu.isa)
    missing = sorted(set(release.isa) - isa) if isa else []
    rules = (
        ((release.system, release.arch) != (system.system, system.arch), f"no build for {system.system} {system.arch}"),
        (release.glibc and libc.name != "glibc", f"the build needs glibc, this system has {libc.name or 'another'}"),
        (
            release.glibc and _version(libc.version) < _version(release.glibc),
            f"the build needs glibc {release.glibc}, this system has {libc.version}",
        ),
        (missing, f"this processor lacks {', '.join(missing)}"),
        (
            spec.acceleration not in (AUTO, release.acceleration),
            f"this build runs on {release.acceleration}, not on {spec.acceleration}",
        ),
        (spec.require_gpu and release.acceleration == "cpu", "a GPU is required, and this build runs on the CPU"),
    )
    return next((reason for broken, reason in rules if broken), "")


def _version(text: str | None) -> tuple[int, ...]:
    return tuple(int(part) for part in (text or "").split(".") if part.isdigit())


def _nearest_miss(verdicts: Sequence[Verdict], facts: Facts) -> str:
    """Prefer the reason of a build that is at least for this kind of machine."""
    for verdict in verdicts:
        if (verdict.release.system, verdict.release.arch) == (facts.os.system, facts.os.arch):
            return verdict.reason
    return verdicts[0].reason


def _context(spec: Spec, model: Model, serving: Mapping[str, Any]) -> int:
    trained = model.shape.context_length
    if spec.context is None:
        return min(int(serving["context"]), trained)
    if spec.context < MIN_CONTEXT:
        raise UsageError(f"A context of {spec.context} tokens is too small.", f"Use at least {MIN_CONTEXT}.")
    if spec.context > trained:
        raise UsageError(
            f"{model.name} was trained for {trained} tokens of context, not {spec.context}.",
            f"Use --context {trained} or less.",
        )
    return spec.context


def _check_fit(spec: Spec, model: Model, judged: Fit) -> None:
    if judged.verdict != "no" or judged.budget_bytes is None:
        return
    raise CannotRunError(
        f"{model.name} needs {judged.need_bytes / GIB:.2f} GiB of memory with a context of {judged.context_length} "
        f"tokens for {spec.parallel} requests, and {judged.budget_bytes / GIB:.2f} GiB can be used.",
        "Use a smaller --context, fewer --parallel requests or a smaller --model.",
    )


def _why_engine(spec: Spec, facts: Facts, release: EngineRelease, provided: tuple[str, ...]) -> tuple[str, ...]:
    asked = "asked for" if spec.backend != AUTO else "the first engine whose build runs here"
    lines = [f"{release.engine}: {asked}; {release.source} {release.version} for {release.system} {release.arch}"]
    if release.isa:
        lines.append(f"the processor has what the build needs: {', '.join(release.isa)}")
    if release.acceleration == "cpu" and not facts.gpus:
        lines.append("cpu: no usable GPU was found")
    lines += [f"{name} is missing on this system and is provided to the engine alone" for name in provided]
    return tuple(lines)


def _why_model(spec: Spec, model: Model, judged: Fit) -> str:
    return f"{model.name}: {'the default' if spec.model == AUTO else 'asked for'}; memory {judged.verdict}"
