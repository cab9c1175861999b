from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.facts import Outcome
from provision.facts.gpu.rocm_tools import (
    AMD_SMI,
    ENUMERATOR,
    ROCM_SMI,
    ROCMINFO,
    Parse,
    RocmGpu,
    ask_any,
    parse_amd_smi,
    parse_enumerator,
    parse_rocm_smi,
    parse_rocminfo,
)
from provision.facts.probing import Recorder
from provision.host.machine import CommandResult, Machine
from tests.standin.gpu_samples import sample

Imagine = Callable[..., Machine]

RX_7900_XTX = "AMD Radeon RX 7900 XTX"


@pytest.mark.parametrize(
    ("name", "parse", "gpus"),
    [
        (
            "rocminfo_rx7900xtx_plus_cpu.txt",
            parse_rocminfo,
            [
                RocmGpu(RX_7900_XTX, "gfx1100", 1, slot="03:00.0", apu=False, memory_bytes=24560 << 20),
                RocmGpu("AMD Radeon Graphics", "gfx1036", 2, slot="0e:00.0", apu=True, memory_bytes=512 << 20),
            ],
        ),
        (
            "rocminfo_strix_halo.txt",
            parse_rocminfo,
            [RocmGpu("AMD Radeon Graphics", "gfx1151", 1, slot="c6:00.0", apu=True, memory_bytes=67108864000)],
        ),
        (
            "amd_smi_static_mi300x_list.json",
            parse_amd_smi,
            [RocmGpu("AMD Instinct MI300X", "gfx942", pci="0000:05:00.0", memory_bytes=196592 << 20)],
        ),
        (
            "amd_smi_static_rx7900xtx_gpu_data.json",
            parse_amd_smi,
            [RocmGpu(RX_7900_XTX, "gfx1100", pci="0000:03:00.0", memory_bytes=24560 << 20)],
        ),
        (
            "rocm_smi_rx7900xtx.json",
            parse_rocm_smi,
            [RocmGpu(RX_7900_XTX, "gfx1100", 1, memory_bytes=25753026560)],
        ),
        ("rocm_smi_strix_halo.json", parse_rocm_smi, [RocmGpu(None, "gfx1151", 1, memory_bytes=536870912)]),
        (
            "rocm_smi_warning_prefix.txt",
            parse_rocm_smi,
            [RocmGpu("AMD Radeon RX 7600", "gfx1102", memory_bytes=8573157376)],
        ),
        (
            "rocm_agent_enumerator_apu_plus_dgpu.txt",
            parse_enumerator,
            [RocmGpu(gfx="gfx1100"), RocmGpu(gfx="gfx1036")],
        ),
    ],
)
def test_what_each_program_tells(name: str, parse: Parse, gpus: list[RocmGpu]) -> None:
    assert list(parse(sample(f"amd/{name}"))) == gpus


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rocminfo_error_no_kfd_permission.txt", "^Unable to open /dev/kfd read-write: Permission denied$"),
        ("rocminfo_error_no_module.txt", "^ROCk module is NOT loaded, possibly no GPU devices$"),
    ],
)
def test_a_refusal_is_told_in_its_own_words(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_rocminfo(sample(f"amd/{name}"))


@pytest.mark.parametrize(
    "words", ["ROCk module is NOT live, possibly no GPU devices", "Unable to open /dev/kfd read-write: x"]
)
def test_colours_are_no_part_of_the_words(words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}$"):
        parse_rocminfo(f"\x1b[31m{words}\x1b[0m\n")


def test_in_wsl_rocminfo_knows_no_address() -> None:
    text = sample("amd/rocminfo_rx7900xtx_plus_cpu.txt")
    text = "WSL environment detected.\n" + "\n".join(line for line in text.splitlines() if "BDFID" not in line)
    assert [(gpu.gfx, gpu.slot) for gpu in parse_rocminfo(text)] == [("gfx1100", None), ("gfx1036", None)]


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_rocminfo, "HSA Agents\n"),
        (parse_amd_smi, '{"gpu_data": "N/A"}'),
        (parse_amd_smi, "[" * 100_000),
        (parse_amd_smi, '[{"bus": {"bdf": "somewhere"}}]'),
        (parse_rocm_smi, '{"system": {"Driver version": "6.12.12"}}'),
        (parse_rocm_smi, "ERROR: GPU[0] : {\n"),
        (parse_enumerator, "Traceback (most recent call last):\n"),
        (parse_enumerator, ""),
    ],
)
def test_nonsense_is_refused(parse: Parse, text: str) -> None:
    with pytest.raises(ValueError, match=r"it |unpack"):
        parse(text)


@pytest.mark.parametrize(
    "entry",
    [
        {"asic": "N/A", "bus": None, "vram": []},
        {
            "asic": {"market_name": "N/A", "target_graphics_version": "N/A"},
            "bus": {"bdf": "N/A"},
            "vram": {"size": "N/A"},
        },
        {"asic": {"market_name": 7}, "vram": {"size": {"value": True, "unit": "MB"}}},
        {"vram": {"size": {"value": 24, "unit": "GB"}}},
        {"vram": {"size": {"value": 10**30, "unit": "MB"}}},
    ],
)
def test_what_is_not_available_stays_unknown(entry: Mapping[str, Any]) -> None:
    import json

    assert parse_amd_smi(json.dumps([entry])) == (RocmGpu(),)


def test_a_warning_in_brackets_is_no_json() -> None:
    assert parse_rocm_smi('[WARNING] low power\n{"card0": {"Card series": "AMD Instinct MI210"}}') == (
        RocmGpu("AMD Instinct MI210"),
    )


Results = Mapping[tuple[str, ...], CommandResult]
PERMISSION = CommandResult(1, sample("amd/rocminfo_error_no_kfd_permission.txt"))
ENUMERATED = CommandResult(0, sample("amd/rocm_agent_enumerator_apu_plus_dgpu.txt"))


@pytest.mark.parametrize(
    ("results", "answered", "outcomes"),
    [
        ({}, "", ["missing"] * 4),
        ({ENUMERATOR: ENUMERATED}, "rocm_agent_enumerator", ["missing", "missing", "missing", "ok"]),
        (
            {ROCMINFO: PERMISSION, ENUMERATOR: ENUMERATED},
            "rocm_agent_enumerator",
            ["failed", "missing", "missing", "ok"],
        ),
        (
            {ROCMINFO: CommandResult(-11), ROCM_SMI: CommandResult(0, "<html>")},
            "",
            ["failed", "missing", "failed", "missing"],
        ),
        ({AMD_SMI: CommandResult(124, "", "no answer within 10 s"), ENUMERATOR: ENUMERATED}, "", ["missing", "failed"]),
    ],
    ids=["none installed", "only the last", "the first is refused", "crashed and HTML", "one hangs"],
)
def test_one_program_after_the_other_until_one_answers(
    results: Results, answered: str, outcomes: list[str], imagine: Imagine
) -> None:
    record = Recorder()
    program, gpus = ask_any(imagine(results=results), record)
    assert (program, bool(gpus)) == (answered, bool(answered))
    assert [probe.outcome for probe in record.probes] == [Outcome(outcome) for outcome in outcomes]


def test_a_hanging_program_is_told_as_such(imagine: Imagine) -> None:
    record = Recorder()
    ask_any(imagine(results={ROCMINFO: CommandResult(124, "", "no answer within 10 s")}), record)
    assert [probe.detail for probe in record.probes] == ["timed out: rocminfo: no answer within 10 s"]


PIECES = [
    "Agent 1\n",
    "  Name: gfx1100\n",
    "  Device Type: GPU\n",
    "  Node: 1\n",
    "  BDFID: 768\n",
    "{",
    "[",
    '"card0": {}',
    "}",
    "]",
]


@given(
    st.sampled_from([parse_rocminfo, parse_amd_smi, parse_rocm_smi, parse_enumerator]),
    st.text() | st.lists(st.sampled_from(PIECES)).map("".join),
)
def test_any_text_is_read_or_refused(parse: Parse, text: str) -> None:
    try:
        gpus = parse(text)
    except ValueError:
        return
    assert all(isinstance(gpu, RocmGpu) for gpu in gpus)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(["gpu_data", "asic", "bus", "bdf", "vram", "size", "value", "unit", "card0", "Node ID"]),
            inner,
        )
    ),
    max_leaves=12,
)


@given(st.sampled_from([parse_amd_smi, parse_rocm_smi]), values)
def test_any_json_is_read_or_refused(parse: Parse, document: Any) -> None:
    import json

    try:
        gpus = parse(json.dumps(document))
    except ValueError:
        return
    assert all(isinstance(gpu, RocmGpu) for gpu in gpus)
