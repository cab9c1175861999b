"""The words of a choice: why this, and what there is to know about it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provision.domain.facts import Facts
from provision.domain.gpu import Gpu
from provision.domain.selection import Fit, Selection
from provision.domain.spec import AUTO, Spec
from provision.domain.units import GIB
from provision.select.candidates import Candidate
from provision.select.devices import device_keys, device_lines, device_names, why_unusable
from provision.select.offer import Offer


def why_recommended(
    candidate: Candidate, offer: Offer, runner_up: Candidate | None, unused: Iterable[Gpu]
) -> tuple[str, ...]:
    """Say which rule matched, on what, with what build and model, which GPUs are left out, and what comes next."""
    profile, build = candidate.profile, candidate.build
    lines = [f"{profile.name}: {profile.why}"]
    lines += device_lines(candidate.devices, offer.devices)
    lines += [f"{device_names([gpu])[0]} is left out: {why_unusable(gpu)}" for gpu in unused]
    if build is not None:
        lines.append(f"the build {build.name} of {candidate.engine} runs here ({build.source})")
    if offer.model is not None and offer.fit is not None:
        lines.append(f"{offer.model.name}: {fit_line(offer.fit)}")
    if runner_up is not None:
        lines.append(f"the next best is {runner_up.engine} on {runner_up.acceleration} ({runner_up.profile.name})")
    return tuple(lines)


def fit_line(judged: Fit) -> str:
    """Say how a model fits: the verdict, layers on the GPU, bytes, and for what context."""
    budget = "an unknown budget" if judged.budget_bytes is None else f"{judged.budget_bytes / GIB:.2f} GiB"
    layers = ""
    if judged.verdict == "partial":
        layers = f", {judged.layers_on_gpu} of {judged.layers} layers on the GPU"
    need = f"{judged.need_bytes / GIB:.2f} GiB of {budget}"
    return f"{judged.verdict}{layers}, {need} at {judged.context_length} tokens"


def not_heeded(spec: Spec, unheeded: Iterable[str], because: str) -> Iterator[str]:
    """Say of wishes that are not left open and change nothing, and why they do not."""
    asked = spec.asked(unheeded)
    if asked:
        yield f"not heeded, because {because}: {', '.join(asked)}"


def why_selected(selection: Selection, facts: Facts, candidate: Candidate) -> tuple[str, ...]:
    """Say why this release and this model are what is installed."""
    spec, release, model = selection.spec, selection.release, selection.model
    asked = "asked for" if spec.backend != AUTO else "the first engine that fabric can install here"
    lines = [f"{release.engine}: {asked}; {release.source} {release.version} for {release.system} {release.arch}"]
    if release.isa and facts.cpu.isa:
        lines.append(f"the processor has what the build needs: {', '.join(release.isa)}")
    elif release.isa:
        lines.append("what the processor can do is not known; the engine proves itself after it is installed")
    if release.acceleration == "cpu" and not facts.gpus:
        lines.append("cpu: no GPU was found")
    used = set(selection.devices)
    lines += device_lines(candidate.devices, selection.devices)
    free = [gpu for gpu in candidate.devices if used and not used & device_keys([gpu])]
    lines += [f"{name} stays free" for name in device_names(free)]
    lines += [
        f"{library} is missing on this system and is provided to the engine alone"
        for library in selection.provided_libraries
    ]
    chosen = "the default that this version can fetch" if spec.model == AUTO else "asked for"
    return (*lines, f"{model.name}: {chosen}; memory {fit_line(selection.fit)}")
