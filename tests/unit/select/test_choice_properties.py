"""The choice is total and deterministic: whatever the facts say, there is an answer, and always the same."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from provision.choosing import read_knowledge
from provision.domain.facts import Cpu, Disk, Facts, Libc, Memory, OperatingSystem
from provision.domain.gpu import Gpu, GpuInstance, GpuMemory, GpuState, Obstacle
from provision.domain.spec import ACCELERATIONS, BACKENDS, Spec
from provision.errors import UsageError
from provision.knowledge.versions import numbers
from provision.planner import plan_from_nothing
from provision.select.choose import Chooser

KNOWLEDGE = read_knowledge()
PROFILES = ["auto", "server", *(profile.name for profile in KNOWLEDGE.hardware.profiles)]
MODELS = [None, *KNOWLEDGE.catalog.models]

text = st.text(max_size=12)
maybe_text = st.none() | text
size = st.none() | st.integers(0, 1 << 42) | st.integers(0, 1 << 62)
versions = maybe_text | st.sampled_from(
    ["2.12", "2.17", "2.28", "2.39", "470.256.02", "550.1", "570", "580.95.05", "8.9"]
)
archs = maybe_text | st.sampled_from(["3.5", "6.1", "7.5", "8.9", "12.1", "gfx803", "gfx1100", "gfx1151", "alchemist"])
memories = st.builds(GpuMemory, st.sampled_from(["dedicated", "unified", "unknown"]) | text, size, size, maybe_text)
gpus = st.builds(
    Gpu,
    vendor=st.sampled_from(["nvidia", "amd", "intel", "apple", None]) | text,
    name=maybe_text,
    pci=maybe_text,
    arch=archs,
    integrated=st.none() | st.booleans(),
    state=st.sampled_from(GpuState),
    apis=st.lists(st.sampled_from(["cuda", "rocm", "vulkan", "level-zero", "metal"]) | text, max_size=3).map(tuple),
    memory=memories,
    driver=versions,
    obstacle=st.none() | st.sampled_from(Obstacle),
    detail=maybe_text,
    masked=st.booleans(),
    partitioned=st.none() | st.booleans(),
    instances=st.lists(st.builds(GpuInstance, maybe_text, maybe_text, memories), max_size=2).map(tuple),
    l4t=st.none() | versions,
)
systems = st.builds(
    OperatingSystem,
    system=st.sampled_from(["Linux", "Linux", "Darwin", None]) | text,
    arch=st.sampled_from(["x86_64", "aarch64", "arm64", None]) | text,
    libc=st.builds(Libc, st.sampled_from(["glibc", "musl", None]) | text, versions),
)
machines = st.builds(
    Facts,
    os=systems,
    cpu=st.builds(
        Cpu,
        cores_usable=st.none() | st.integers(1, 512),
        isa=st.lists(st.sampled_from(["avx2", "bmi2", "f16c", "fma", "asimd", "asimddp"]) | text).map(tuple),
    ),
    memory=st.builds(Memory, size, size, size),
    disk=st.builds(Disk, st.just("/"), size),
    gpus=st.lists(gpus, max_size=3).map(tuple),
)
specs = st.builds(
    Spec,
    backend=st.sampled_from(BACKENDS),
    acceleration=st.sampled_from(ACCELERATIONS),
    profile=st.sampled_from(PROFILES),
    context=st.none() | st.integers(256, 1 << 20),
    parallel=st.integers(1, 64),
    require_gpu=st.booleans(),
)


@settings(max_examples=400)
@given(machines, specs, st.sampled_from(MODELS))
def test_there_is_always_the_same_answer(facts: Facts, spec: Spec, model: object) -> None:
    chooser = Chooser(spec, facts, model, KNOWLEDGE, 8080)  # type: ignore[arg-type]
    try:
        choice = chooser.choose()
    except UsageError:
        assert spec.context is not None, "the only wish that no machine can meet is a context beyond the model's"
        return
    again = chooser.choose()
    assert (choice.selection, choice.recommended, choice.alternatives) == (
        again.selection,
        again.recommended,
        again.alternatives,
    )
    assert (choice.selection is None) != (choice.refusal is None)
    best = choice.recommended
    if best is not None:
        assert spec.acceleration in ("auto", best.acceleration)
        assert spec.backend in ("auto", best.backend)
        assert not (spec.require_gpu and best.acceleration == "cpu")
        assert best.fit.verdict != "no"
        assert bool(best.devices) == (best.acceleration != "cpu")
    if choice.selection is not None:
        assert plan_from_nothing(choice, facts).changed
        assert choice.selection.fit.verdict != "no"


@given(st.text(max_size=30))
def test_a_version_is_numbers_or_nothing(version: str) -> None:
    assert all(isinstance(part, int) for part in numbers(version))
