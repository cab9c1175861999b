from __future__ import annotations

from dataclasses import replace

import pytest

from provision.choosing import read_knowledge
from provision.domain.engine import EngineRelease
from provision.domain.facts import Cpu, Facts, Libc, Memory, OperatingSystem
from provision.domain.model import Model
from provision.domain.selection import Selection
from provision.domain.spec import Install, Spec
from provision.errors import FabricError, RefusedError, UsageError
from provision.select.check import check_spec
from provision.select.choose import CannotRunError, Chooser
from provision.select.requirements import unmet
from provision.select.sources import as_build

KNOWLEDGE = read_knowledge()


def chosen(facts: Facts, model: Model, spec: Spec | None = None, previous: Selection | None = None) -> Selection:
    spec = replace(spec or Spec(), install=Install(("wheel",)))
    choice = Chooser(spec, facts, model, KNOWLEDGE, 8080, previous).choose()
    if choice.selection is None:
        assert choice.refusal is not None
        raise choice.refusal
    return choice.selection


def lacks(facts: Facts, release: EngineRelease) -> str:
    """Return what the build that is installed lacks on this machine."""
    return unmet(as_build(release), facts, None)


def linux(libc: Libc, arch: str = "x86_64") -> OperatingSystem:
    return OperatingSystem(system="Linux", arch=arch, libc=libc)


def test_a_machine_that_has_everything_gets_the_release(facts: Facts, model: Model, release: EngineRelease) -> None:
    selection = chosen(facts, model)
    assert selection.release == release
    assert (selection.backend, selection.acceleration) == ("llamacpp", "cpu")
    assert selection.threads == 4
    assert selection.provided_libraries == ()
    assert selection.why
    assert set(selection.why_not) >= {"ollama", "vllm"}
    assert selection.why_not["vllm"] == "only where it is asked for: --backend vllm"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"cpu": Cpu(isa=("bmi2", "f16c", "fma"))}, "lacks avx2"),
        ({"cpu": Cpu(isa=("sse4_2",))}, "lacks avx2, bmi2, f16c, fma"),
        ({"os": linux(Libc("musl", "1.2"))}, "needs glibc, this system has musl"),
        ({"os": linux(Libc(None, None))}, "needs glibc, this system has another"),
        ({"os": linux(Libc("glibc", "2.12"))}, "needs glibc 2.17, this system has 2.12"),
        ({"os": linux(Libc("glibc", "2.9"))}, "needs glibc 2.17, this system has 2.9"),
        ({"os": linux(Libc("glibc", "2.36"), "riscv64")}, "no build for Linux riscv64"),
        ({"os": OperatingSystem(system="FreeBSD", arch="x86_64")}, "no build for FreeBSD x86_64"),
    ],
    ids=["no AVX2", "old processor", "musl", "unknown libc", "old glibc", "2.9 is older than 2.17", "risc-v", "BSD"],
)
def test_what_is_missing_is_named(
    facts: Facts, model: Model, release: EngineRelease, change: dict[str, object], reason: str
) -> None:
    lacking = replace(facts, **change)  # type: ignore[arg-type]
    assert reason in lacks(lacking, release)
    with pytest.raises(CannotRunError, match=r"Nothing that fabric can install runs here") as told:
        chosen(lacking, model)
    assert told.value.exit_code == 1


def test_an_unknown_processor_is_given_the_benefit_of_the_doubt(facts: Facts, release: EngineRelease) -> None:
    """The engine proves itself after the installation anyway."""
    assert lacks(replace(facts, cpu=Cpu()), release) == ""


def test_an_arm_machine_gets_the_arm_build(facts: Facts, model: Model) -> None:
    arm = replace(facts, os=linux(Libc("glibc", "2.36"), "aarch64"), cpu=Cpu(cores_usable=2, isa=("asimd",)))
    assert chosen(arm, model).release.arch == "aarch64"


@pytest.mark.parametrize(
    ("spec", "reason"),
    [(Spec(acceleration="cuda"), "with --acceleration cuda"), (Spec(require_gpu=True), "with --require-gpu")],
)
def test_a_wish_that_no_build_meets_is_told(facts: Facts, model: Model, spec: Spec, reason: str) -> None:
    with pytest.raises(CannotRunError, match=reason):
        chosen(facts, model, spec)


def test_an_engine_that_comes_from_nowhere_as_asked_says_so(facts: Facts, model: Model) -> None:
    with pytest.raises(FabricError, match=r"ollama: the build cpu comes from none of the sources wheel"):
        chosen(facts, model, Spec(backend="ollama"))


def test_a_library_that_the_system_lacks_is_provided_and_stays_provided(facts: Facts, model: Model) -> None:
    bare = replace(facts, libraries={"libgomp.so.1": None})
    first = chosen(bare, model)
    assert first.provided_libraries == ("libgomp.so.1",)
    assert chosen(facts, model, previous=first).provided_libraries == ("libgomp.so.1",), "or the engine would move"
    assert chosen(facts, model).provided_libraries == ()


def test_memory_that_does_not_suffice_is_told_in_numbers(facts: Facts, model: Model) -> None:
    tight = replace(facts, memory=Memory(512 << 20, 300 << 20, None))
    with pytest.raises(CannotRunError, match=r"needs 0\.\d\d GiB .* 4096 tokens"):
        chosen(tight, model)


def test_the_context_is_never_more_than_the_model_was_trained_for(facts: Facts, model: Model) -> None:
    assert chosen(facts, model).context == 4096
    assert chosen(facts, model, Spec(context=8192)).context == 8192
    with pytest.raises(UsageError, match="8192"):
        chosen(facts, model, Spec(context=8193))
    with pytest.raises(UsageError, match="too small"):
        check_spec(Spec(context=255), KNOWLEDGE.hardware)


@pytest.mark.parametrize(
    ("cpu", "threads"),
    [
        (Cpu(), 1),
        (Cpu(cores_usable=2), 2),
        (Cpu(cores_usable=64, cores_physical=64), 64),
        (Cpu(cores_usable=32, cores_physical=16), 16),  # two threads a core
        (Cpu(cores_usable=20, cores_physical=12, cores_performance=8), 8),
        (Cpu(cores_usable=2, cores_physical=16), 2),  # a quota
    ],
    ids=["unknown", "physical unknown", "server", "SMT", "hybrid", "container"],
)
def test_threads_are_the_fast_cores_that_may_be_used(facts: Facts, model: Model, cpu: Cpu, threads: int) -> None:
    assert chosen(replace(facts, cpu=replace(cpu, isa=facts.cpu.isa)), model).threads == threads


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "example.org", ""])  # noqa: S104 - refused
def test_only_loopback_without_a_key(host: str) -> None:
    with pytest.raises(RefusedError):
        check_spec(Spec(host=host), KNOWLEDGE.hardware)
    check_spec(Spec(host=host or "0.0.0.0", api_key_env="KEY"), KNOWLEDGE.hardware)  # noqa: S104


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_loopback_needs_no_key(host: str) -> None:
    check_spec(Spec(host=host), KNOWLEDGE.hardware)


@pytest.mark.parametrize(
    ("spec", "near"),
    [(Spec(backend="vlm"), "vllm"), (Spec(acceleration="metall"), "metal"), (Spec(profile="autp"), "auto")],
)
def test_an_unknown_word_is_told_with_the_nearest_known_one(spec: Spec, near: str) -> None:
    with pytest.raises(UsageError, match=f"Did you mean '{near}'"):
        check_spec(spec, KNOWLEDGE.hardware)


@pytest.mark.parametrize("spec", [Spec(parallel=0), Spec(parallel=-1), Spec(threads=-1)])
def test_a_number_that_cannot_be_is_refused(facts: Facts, model: Model, spec: Spec) -> None:
    def check_and_choose() -> None:
        check_spec(spec, KNOWLEDGE.hardware)
        chosen(facts, model, spec)

    with pytest.raises(UsageError):
        check_and_choose()
