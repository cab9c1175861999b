from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.gpu import Gpu, VulkanDevice
from provision.facts.gpu.vulkan import SUMMARY, drop_unsuited, parse_summary, pci_address, read_devices
from provision.host.machine import CommandResult, Machine

Imagine = Callable[..., Machine]

SAMPLES = Path(__file__).parents[3] / "samples" / "vulkan"
EXPECTED = {
    "summary_radv_rx7900xtx_plus_llvmpipe.txt": {0: ("discrete", "1002:744c", "0000:03:00.0")},
    "summary_radv_strix_halo.txt": {0: ("integrated", "1002:1586", "0000:c6:00.0")},
    "summary_nvidia_rtx4090_plus_uhd_llvmpipe.txt": {
        0: ("discrete", "10de:2684", None),
        1: ("integrated", "8086:a780", "0000:00:02.0"),
    },
    "summary_intel_arc_a770.txt": {0: ("discrete", "8086:56a0", "0000:03:00.0")},
    "summary_nvk_rtx3060.txt": {0: ("discrete", "10de:2504", None)},
    "summary_virtio_venus.txt": {},
    "captured_llvmpipe_only_debian12_mesa22.txt": {},
}


def sample(name: str) -> str:
    return (SAMPLES / name).read_text(encoding="utf-8")


def device(index: int, driver: str = "MESA_RADV", **fields: object) -> VulkanDevice:
    whole = {"kind": "discrete", "vendor_id": 0x1002, "device_id": 0x744C, "api_version": "1.3.250", **fields}
    return VulkanDevice(index=index, name=f"card {index}", driver=driver, **whole)  # type: ignore[arg-type]


def dropped(*devices: VulkanDevice, gpus: tuple[Gpu, ...] = ()) -> list[str | None]:
    return [each.dropped for each in drop_unsuited(devices, gpus)]


@pytest.mark.parametrize("name", EXPECTED)
def test_what_is_left_of_each_sample(name: str) -> None:
    devices = drop_unsuited(parse_summary(sample(name)), ())
    kept = {
        each.index: (each.kind, f"{each.vendor_id:04x}:{each.device_id:04x}", each.pci)
        for each in devices
        if each.dropped is None
    }
    assert kept == EXPECTED[name]


def test_every_sample_has_a_verdict() -> None:
    listed = {line.split("\t")[0] for line in sample("expected.tsv").splitlines()[1:]}
    assert listed == EXPECTED.keys() | {"captured_no_icd_stderr_rc1.txt"}


def test_the_fields_of_a_device() -> None:
    nvidia, intel, software = parse_summary(sample("summary_nvidia_rtx4090_plus_uhd_llvmpipe.txt"))
    assert nvidia == VulkanDevice(
        index=0,
        name="NVIDIA GeForce RTX 4090",
        kind="discrete",
        vendor_id=0x10DE,
        device_id=0x2684,
        driver="NVIDIA_PROPRIETARY",
        driver_version="570.133.7.0",
        api_version="1.4.303",
        uuid="6f3c1a52-0b7e-4c11-9d40-5a2e6b81c0d3",
    )
    assert (intel.driver, intel.driver_version, software.kind) == ("INTEL_OPEN_SOURCE_MESA", "25.0.7", "cpu")
    assert dropped(nvidia, intel, software) == [None, None, "software"]


def test_an_older_program_writes_versions_and_drivers_in_another_way() -> None:
    text = (
        sample("summary_nvk_rtx3060.txt").replace("= 1.4.305", "= 4206847 (1.3.255)").replace("25.0.7\n", "104865799\n")
    )
    nvk, _ = parse_summary(text.replace("DRIVER_ID_MESA_NVK", "UNKNOWN_VkDriverId"))
    assert (nvk.api_version, nvk.driver) == ("1.3.255", "MESA_NVK")


def test_addresses_in_uuids() -> None:
    """The layouts are those of Mesa's ac_gpu_info.c, intel_uuid.c and nv_device_info.h."""
    assert pci_address("MESA_RADV", "01000000-c300-0000-0200-000001000000", 0x1002, 1) == "0001:c3:02.1"
    assert pci_address("MESA_NVK", "7601de10-0425-0000-0100-000100000000", 0x10DE, 0x2504) == "0000:01:00.0"
    assert (
        pci_address("INTEL_OPEN_SOURCE_MESA", "8680a056-0800-0100-8103-000000000000", 0x8086, 0x56A0) == "0001:81:03.0"
    )
    assert pci_address("INTEL_OPEN_SOURCE_MESA", "5f3a91c2-0800-0000-0300-000000000000", 0x8086, 0x56A0) is None
    assert pci_address("MESA_RADV", "00000000-0300-0000-2000-000000000000", 0x1002, 1) is None
    assert pci_address("MESA_RADV", "00000000-0000-0000-0000-000000000000", 0x1002, 1) is None
    assert pci_address("NVIDIA_PROPRIETARY", "00000000-0300-0000-0000-000000000000", 0x10DE, 1) is None


@pytest.mark.parametrize(
    ("each", "reason"),
    [
        (device(0, "MESA_LLVMPIPE"), "software"),
        (device(0, "GOOGLE_SWIFTSHADER"), "software"),
        (device(0, kind="cpu"), "software"),
        (device(0, "MESA_DOZEN"), "translation layer"),
        (device(0, "MOLTENVK"), "translation layer"),
        (device(0, "MESA_VENUS"), "virtual"),
        (device(0, kind="virtual"), "virtual"),
        (device(0, api_version="1.1.300"), "API older than 1.2"),
        (device(0, api_version="1.2"), None),
        (device(0, "MESA_V3DV", vendor_id=0x14E4, kind="integrated"), None),
    ],
)
def test_devices_that_are_no_gpu(each: VulkanDevice, reason: str | None) -> None:
    assert dropped(each) == [reason]


def test_one_card_through_two_drivers_counts_once() -> None:
    amdvlk, radv = device(0, "AMD_OPEN_SOURCE", uuid="u1"), device(1, uuid="u1")
    assert dropped(amdvlk, radv) == ["duplicate of 1", None]
    assert dropped(device(0, pci="0000:03:00.0", uuid="u1"), device(1, pci="0000:03:00.0")) == [None, "duplicate of 0"]
    unlike = (device(0, "AMD_OPEN_SOURCE", uuid="u1"), device(1, uuid="u2", pci="0000:03:00.0"))
    one = Gpu(device_id="1002:744c", pci="0000:03:00.0")
    assert dropped(*unlike, gpus=(one,)) == ["duplicate of 1", None]
    assert dropped(*unlike) == [None, None]


def test_two_cards_of_one_model_stay_two() -> None:
    ids = {"vendor_id": 0x10DE, "device_id": 0x2204}
    cards = [device(at, "NVIDIA_PROPRIETARY", uuid=f"u{at}", **ids) for at in range(2)]
    gpus = tuple(Gpu(device_id="10de:2204", pci=f"0000:0{at}:00.0") for at in (1, 2))
    assert dropped(*cards, gpus=gpus) == [None, None]
    nothing = "00000000-0000-0000-0000-000000000000"
    assert dropped(device(0, uuid=nothing), device(1, uuid=nothing)) == [None, None]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (CommandResult(127, "", "not found"), None),
        (CommandResult(1, "", sample("captured_no_icd_stderr_rc1.txt")), ()),
        (
            CommandResult(1, "", "ERROR: setup_loader_term_phys_devs:  Failed to detect any valid GPUs in the config"),
            (),
        ),
    ],
)
def test_no_program_and_no_device(result: CommandResult, expected: object, imagine: Imagine) -> None:
    assert read_devices(imagine(results={SUMMARY.argv: result})) == expected


def test_complaints_of_a_missing_display_are_no_failure(imagine: Imagine) -> None:
    text = sample("captured_llvmpipe_only_debian12_mesa22.txt")
    result = CommandResult(0, text, sample("captured_llvmpipe_only_stderr.txt"))
    assert [each.index for each in read_devices(imagine(results={SUMMARY.argv: result})) or ()] == [0]


@pytest.mark.parametrize(
    ("result", "error", "message"),
    [
        (CommandResult(124, "", "no answer within 10 s"), TimeoutError, "vulkaninfo: no answer within 10 s"),
        (CommandResult(-11, "", ""), ValueError, "signal 11"),
        (
            CommandResult(1, "", "noise\nERROR_OUT_OF_HOST_MEMORY\n"),
            ValueError,
            "ended with 1: ERROR_OUT_OF_HOST_MEMORY",
        ),
        (CommandResult(0, "<html></html>", ""), ValueError, "no list of devices"),
        (CommandResult(0, "Devices:\nGPU0:\n\tdeviceName = x\n", ""), ValueError, "GPU0"),
        (CommandResult(0, sample("summary_virtio_venus.txt") * 2, ""), ValueError, "twice"),
    ],
)
def test_failures_are_told(result: CommandResult, error: type[Exception], message: str, imagine: Imagine) -> None:
    with pytest.raises(error, match=message):
        read_devices(imagine(results={SUMMARY.argv: result}))


@given(st.text())
def test_any_text_is_a_list_or_an_error(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(parse_summary(text), tuple)


lines = sample("summary_nvidia_rtx4090_plus_uhd_llvmpipe.txt").splitlines()[30:]


@given(st.lists(st.sampled_from(lines) | st.text(max_size=20), max_size=40))
def test_any_mixture_of_lines_gives_devices_that_can_be_judged(mixture: list[str]) -> None:
    try:
        devices = parse_summary("Devices:\n========\n" + "\n".join(mixture))
    except ValueError:
        return
    judged = drop_unsuited(devices, ())
    assert [each.index for each in judged] == sorted(each.index for each in devices)
    assert drop_unsuited(judged, ()) == judged
