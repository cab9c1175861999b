"""The words of a choice: why this, and what there is to know about it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from provision.domain.facts import Facts, Gpu
from provision.domain.model import Model
from provision.domain.selection import Fit, Selection
from provision.domain.spec import AUTO
from provision.select.candidates import Candidate
from provision.select.requirements import GIB


def device_names(devices: Sequence[Gpu]) -> tuple[str, ...]:
    """Return GPUs as people know them, with the address that tells two of a kind apart."""
    return tuple(f"{gpu.name or gpu.device_id or 'GPU'}{f' at {gpu.pci}' if gpu.pci else ''}" for gpu in devices)


def why_recommended(candidate: Candidate, model: Model, judged: Fit, runner_up: Candidate | None) -> tuple[str, ...]:
    """Say which rule matched, on what, with what build and model, and what comes next."""
    profile, build = candidate.profile, candidate.build
    lines = [f"{profile.name}: {profile.why}"]
    lines += [_device_line(gpu) for gpu in candidate.devices]
    if build is not None:
        lines.append(f"the build {build.name} of {candidate.engine} runs here ({build.source})")
    lines.append(f"{model.name}: {_fit_line(judged)}")
    if runner_up is not None:
        lines.append(f"the next best is {runner_up.engine} on {runner_up.acceleration} ({runner_up.profile.name})")
    return tuple(lines)


def _device_line(gpu: Gpu) -> str:
    known = [
        gpu.arch and (f"compute capability {gpu.arch}" if gpu.vendor == "nvidia" else gpu.arch),
        gpu.driver and f"driver {gpu.driver}",
        gpu.memory.free_bytes is not None and f"{gpu.memory.free_bytes / GIB:.1f} GiB free",
        gpu.partitioned and f"{len(gpu.instances)} instances, of which one is used",
    ]
    (name,) = device_names([gpu])
    return f"{name}: {', '.join(str(word) for word in known if word)}".removesuffix(": ")


def _fit_line(judged: Fit) -> str:
    budget = "an unknown budget" if judged.budget_bytes is None else f"{judged.budget_bytes / GIB:.2f} GiB"
    layers = ""
    if judged.verdict == "partial":
        layers = f", {judged.layers_on_gpu} of {judged.layers} layers on the GPU"
    need = f"{judged.need_bytes / GIB:.2f} GiB of {budget}"
    return f"{judged.verdict}{layers}, {need} at {judged.context_length} tokens"


def why_selected(selection: Selection, facts: Facts, candidate: Candidate) -> tuple[str, ...]:
    """Say why this release and this model are what is installed."""
    spec, release, model = selection.spec, selection.release, selection.model
    asked = "asked for" if spec.backend != AUTO else "the first engine that fabric can install here"
    lines = [f"{release.engine}: {asked}; {release.source} {release.version} for {release.system} {release.arch}"]
    if release.isa:
        lines.append(f"the processor has what the build needs: {', '.join(release.isa)}")
    if release.acceleration == "cpu" and not facts.gpus:
        lines.append("cpu: no GPU was found")
    lines += [_device_line(gpu) for gpu in candidate.devices]
    lines += [
        f"{library} is missing on this system and is provided to the engine alone"
        for library in selection.provided_libraries
    ]
    chosen = "the default that this version can fetch" if spec.model == AUTO else "asked for"
    return (*lines, f"{model.name}: {chosen}; memory {_fit_line(selection.fit)}")
