"""The ways to get a build: what is there, what is fetched, what is compiled."""

from __future__ import annotations

from dataclasses import replace

import pytest

from provision.domain.engine import EngineRelease, Method
from provision.domain.facts import Facts
from provision.domain.gpu import ListedDevice
from provision.domain.spec import Install, Spec
from provision.select.knowledge import Knowledge
from provision.select.sources import Tried, ways

ON_PATH, NAMED = "/usr/bin/llama-server", "/srv/llama-server"


def releases(
    knowledge: Knowledge, facts: Facts, spec: Spec | None = None, tried: Tried | None = None
) -> list[EngineRelease]:
    found = ways(knowledge, spec or Spec(), facts, tried or {})
    return [way.release for way in found if way.release and way.release.engine == "llamacpp"]


def existing(knowledge: Knowledge, facts: Facts, spec: Spec | None = None, tried: Tried | None = None) -> set[str]:
    found = releases(knowledge, facts, spec, tried)
    return {f"{each.path} {each.acceleration}" for each in found if each.method is Method.EXISTING}


@pytest.fixture
def with_program(facts: Facts) -> Facts:
    return replace(facts, tools={"llama-server": ON_PATH})


def test_what_is_there_comes_first_and_is_compiled_only_when_asked(knowledge: Knowledge, with_program: Facts) -> None:
    methods = [each.method for each in releases(knowledge, with_program)]
    assert list(dict.fromkeys(methods)) == [Method.EXISTING, Method.ARCHIVE, Method.WHEEL]
    spec = Spec(install=Install(("build", "existing")))
    methods = [each.method for each in releases(knowledge, with_program, spec)]
    assert list(dict.fromkeys(methods)) == [Method.BUILD, Method.EXISTING]


def test_a_program_can_what_it_lists(knowledge: Knowledge, with_program: Facts) -> None:
    assert existing(knowledge, with_program) == {f"{ON_PATH} cpu"}
    listed = (ListedDevice("CUDA0", "cuda", "a GPU", 1 << 34, 1 << 34),)
    assert existing(knowledge, replace(with_program, listed_devices=listed)) == {f"{ON_PATH} cpu", f"{ON_PATH} cuda"}


def test_the_program_that_is_named_stands_in_for_the_one_on_path(knowledge: Knowledge, with_program: Facts) -> None:
    spec = Spec(backend="llamacpp", install=Install(program=NAMED))
    assert f"{NAMED} cpu" in existing(knowledge, with_program, spec)
    assert not any(ON_PATH in each for each in existing(knowledge, with_program, spec))
    other = Spec(backend="ollama", install=Install(program="/srv/ollama"))
    assert existing(knowledge, with_program, other) == {f"{ON_PATH} cpu"}


def test_what_failed_is_left_out_and_nothing_else(knowledge: Knowledge, with_program: Facts) -> None:
    all_of_them = releases(knowledge, with_program)
    bad = all_of_them[0]
    assert existing(knowledge, with_program, tried={bad.name: "it does not run"}) == set()
    assert existing(knowledge, with_program, tried={bad.name.replace(ON_PATH, NAMED): "no"}) == {f"{ON_PATH} cpu"}
    without_places = {each.method for each in releases(knowledge, with_program, tried={"github": "", "index": ""})}
    assert without_places == {Method.EXISTING}


def test_a_build_is_for_the_instructions_of_this_processor(knowledge: Knowledge, facts: Facts) -> None:
    def built(*isa: str) -> set[tuple[str, ...]]:
        here = replace(facts, cpu=replace(facts.cpu, isa=isa))
        return {each.isa for each in releases(knowledge, here, Spec(install=Install(("build",))))}

    assert built("fma", "avx2", "sse4_2") == {("avx2", "fma", "sse4_2")}
    assert built("avx2", "fma", "sse4_2", "hypervisor", "ibpb", "arat", "constant_tsc") == built(
        "avx2", "fma", "sse4_2"
    )
    assert built("avx2", "avx512f") != built("avx2")
    assert built("fp", "asimd", "asimddp", "sve", "cpuid") == {("asimd", "asimddp", "fp", "sve")}
