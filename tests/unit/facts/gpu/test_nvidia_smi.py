from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.units import MIB
from provision.facts.gpu.nvidia_smi import BASIC_FIELDS, FIELDS, parse_csv, parse_xml
from provision.facts.gpu.nvml import Answer, Device, Instance, Memory

SAMPLES = Path(__file__).parents[3] / "samples" / "nvidia"


def sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")


def card(name: str, uuid: str, pci: str | None, capability: str | None, mib: tuple[int, int] | None) -> Device:
    memory = mib and Memory(mib[0] * MIB, mib[1] * MIB)
    return Device(name, uuid, pci, capability, memory, unified=False)


RTX_4090 = card(
    "NVIDIA GeForce RTX 4090", "GPU-6f3c1a52-0b7e-4c11-9d40-5a2e6b81c0d3", "0000:01:00.0", "8.9", (24564, 23592)
)
A100 = card("NVIDIA A100-SXM4-40GB", "GPU-5c1f7e0d-3a84-4be9-b2d6-70f9a1c35e48", "0000:07:00.0", "8.0", (40960, 40326))
H200 = card("NVIDIA H200", "GPU-c4b5f0e2-98a1-4d3c-a6e7-2f10d9b83c5a", "0000:00:06.0", "9.0", (143771, 143156))
RTX_3080 = card(
    "NVIDIA GeForce RTX 3080", "GPU-b8e61d97-40fc-4a2b-9e15-7cd3f0a52864", "0000:0a:00.0", "8.6", (10240, 8811)
)
GTX_1060 = card(
    "NVIDIA GeForce GTX 1060 6GB", "GPU-d7714c0b-2f9e-4b68-91ac-06e3f85ab1c9", "0000:01:00.0", None, (6078, 5790)
)
RTX_3090 = "NVIDIA GeForce RTX 3090"


@pytest.mark.parametrize(
    ("name", "driver", "devices"),
    [
        ("rtx4090_driver570", "570.133.07", [RTX_4090]),
        ("a100_mig_enabled", "550.144.03", [A100._replace(mig=True)]),
        ("h200_driver580", "580.159.04", [H200._replace(mig=False)]),
        ("rtx3080_wsl2", "581.42", [RTX_3080]),
        ("gtx1060_driver470", "470.256.02", [GTX_1060]),
        ("jetson_orin_jp6", "540.4.0", [Device(name="Orin (nvgpu)", unified=True)]),
        (
            "2x_rtx3090_noheader_nounits",
            "550.163.01",
            [
                card(RTX_3090, "GPU-0a9d7c31-53e2-4f0b-8c77-1be4d2a96f10", "0000:21:00.0", "8.6", (24576, 24251)),
                card(RTX_3090, "GPU-91c2b6ee-7d18-4a35-b3f9-c05e8a417d22", "0000:4b:00.0", "8.6", (24576, 18840)),
            ],
        ),
    ],
)
def test_every_sample_of_the_table(name: str, driver: str, devices: list[Device]) -> None:
    assert parse_csv(sample(f"query_{name}.csv"), FIELDS) == Answer(driver, devices=tuple(devices))


def test_the_samples_of_the_table_are_all_tested() -> None:
    assert len(list(SAMPLES.glob("query_*.csv"))) == 7


@pytest.mark.parametrize(
    ("cell", "unified"),
    [
        ("[N/A]", True),
        ("N/A", True),
        ("[Not Supported]", True),
        ("0 MiB", True),
        ("[Unknown Error]", None),
        ("[Insufficient Permissions]", None),
        ("[GPU is lost]", None),
    ],
)
def test_memory_that_is_not_there_is_told_apart_from_memory_that_is_not_told(cell: str, unified: bool | None) -> None:
    table = sample("query_rtx4090_driver570.csv").replace("24564 MiB", cell)
    (device,) = parse_csv(table, FIELDS).devices
    assert (device.memory, device.unified) == (None, unified)


def test_a_card_that_addresses_main_memory_as_its_own_is_told() -> None:
    (device,) = parse_csv(sample("query_h200_driver580.csv").replace("HMM", "ATS"), FIELDS).devices
    assert device.unified
    assert device.memory


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "<html><body>502 Bad Gateway</body></html>",
        "No devices were found",
        "index, uuid, name\n0, GPU-1, NVIDIA\n",
        ", ".join(FIELDS),
        "0, GPU-1, NVIDIA",
        "0\n" * 100_000,
        "0, GPU-1, a, 00000000:01:00.0, 570.1, lots, 1 MiB, 8.9, [N/A], None",
        "0, GPU-1, a, 00000000:01:00.0, 570.1, 99999999999 MiB, 1 MiB, 8.9, [N/A], None",
        "0, GPU-1, a, nowhere, 570.1, 2 MiB, 1 MiB, 8.9, [N/A], None",
        "0, GPU-1, a, 00000000:01:00.0, 570.1, 2 MiB, 1 MiB, eight, [N/A], None",
        "zero, GPU-1, a, 00000000:01:00.0, 570.1, 2 MiB, 1 MiB, 8.9, [N/A], None",
        f"0, GPU-1, {'a' * 200_000}, 00000000:01:00.0, 570.1, 2 MiB, 1 MiB, 8.9, [N/A], None",
    ],
    ids=lambda text: text[:40],
)
def test_nonsense_is_no_table(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the reason is for people
        parse_csv(text, FIELDS)


def test_the_xml_of_a_card() -> None:
    expected = RTX_4090._replace(compute_capability=None)
    assert parse_xml(sample("smi_qx_rtx4090.xml")) == Answer("570.133.07", "12.8", (expected,))


def test_the_xml_of_a_card_with_three_instances() -> None:
    parts = [(19968, 19928), (9984, 9959), (4864, 4851)]
    instances = tuple(Instance(memory=Memory(total * MIB, free * MIB)) for total, free in parts)
    expected = A100._replace(compute_capability=None, mig=True, instances=instances)
    assert parse_xml(sample("smi_qx_a100_mig.xml")) == Answer("550.144.03", "12.4", (expected,))


def test_the_samples_of_xml_are_all_tested() -> None:
    assert len(list(SAMPLES.glob("smi_qx_*.xml"))) == 2


def test_the_xml_of_a_gpu_without_memory_of_its_own() -> None:
    text = sample("smi_qx_rtx4090.xml").replace("HMM", "ATS").replace("24564 MiB", "N/A").replace("23592 MiB", "N/A")
    (device,) = parse_xml(text).devices
    assert (device.memory, device.unified) == (None, True)


BOMB = '<!DOCTYPE nvidia_smi_log [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;">]><nvidia_smi_log>&b;</nvidia_smi_log>'


@pytest.mark.parametrize(
    "text",
    [
        "",
        "<html><body>502 Bad Gateway</body></html>",
        "<nvidia_smi_log>",
        BOMB,
        "<!DOCTYPE a\n[ ]><nvidia_smi_log/>",
        '<!DOCTYPE a SYSTEM "file:///etc/passwd" [\n]><nvidia_smi_log/>',
        "<nvidia_smi_log>&undeclared;</nvidia_smi_log>",
        "<nvidia_smi_log><cuda_version>new</cuda_version></nvidia_smi_log>",
        "<nvidia_smi_log>" + "<gpu/>" * 65 + "</nvidia_smi_log>",
        "<nvidia_smi_log><gpu><mig_devices>" + "<mig_device/>" * 17 + "</mig_devices></gpu></nvidia_smi_log>",
        '<nvidia_smi_log><gpu id="here"/></nvidia_smi_log>',
        "\ud800",
        "<a>" * 200_000,
        " " * (9 << 20),
    ],
    ids=lambda text: text[:40],
)
def test_nonsense_and_entities_are_no_xml(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the reason is for people
        parse_xml(text)


@given(st.text() | st.text(alphabet='0123456789,.:GPU- []N/A\n"<>&;'))
def test_arbitrary_text_is_parsed_or_refused(text: str) -> None:
    for fields in (FIELDS, BASIC_FIELDS):
        with suppress(ValueError):
            parse_csv(text, fields)
    with suppress(ValueError):
        parse_xml(text)
