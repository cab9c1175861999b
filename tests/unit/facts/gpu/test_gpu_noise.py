"""Whatever stands in the files and in the answers of the programs: every card is still there, and nothing is raised."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from provision.domain.gpu import Gpu, GpuState
from provision.facts.gpu.intel import LEVEL_ZERO, SYCL_LS
from provision.facts.gpu.rocm_tools import AMD_SMI, ENUMERATOR, ROCM_SMI, ROCMINFO
from provision.host.machine import CommandResult, Machine
from tests.standin.gpu_samples import KFD_NODES, amd_machine, pci_files, read_amd, read_intel, sample, sysfs

Imagine = Callable[..., Machine]

AMD = {
    **amd_machine("rx7900xtx", "node1_rx7900xtx", product_name="x", mem_info_vis_vram_total="1"),
    f"{KFD_NODES}/1/mem_banks/0/properties": sample("amd/kfd/mem_bank_rx7900xtx.properties"),
    "/usr/share/libdrm/amdgpu.ids": "744C,\tC8,\tAMD Radeon RX 7900 XTX\n",
    "/sys/module/amdgpu/version": "6.12.12\n",
}
INTEL = {
    **pci_files({**sysfs("intel/arc_b580_xe.sysfs"), "drm/card0/lmem_total_bytes": "1"}),
    "/dev/dri/renderD128": "",
    **{f"/usr/lib64/{name}": "" for name in LEVEL_ZERO},
}
BUS = ("/class", "/vendor", "/device")  # what makes a card; noise there makes it another one, or none

noise = st.binary(max_size=60).map(lambda data: data.decode("utf-8", errors="replace"))
numbers = st.integers(-(1 << 70), 1 << 70).map(str) | st.sampled_from(
    ["0", "gfx_target_version 110000\n", "\0", "9" * 5000]
)
texts = noise | numbers
answers = st.builds(CommandResult, st.sampled_from([0, 1, 124, 126, 127, -9]), texts, noise)


def changes(files: dict[str, str]) -> st.SearchStrategy[dict[str, str | None]]:
    paths = sorted(path for path in files if not path.endswith(BUS))
    return st.dictionaries(st.sampled_from(paths), st.none() | texts, max_size=4)


def changed(files: dict[str, str], change: dict[str, str | None]) -> dict[str, str]:
    return {path: text for path, text in {**files, **change}.items() if text is not None}


def check(gpus: tuple[Gpu, ...]) -> None:
    (gpu,) = gpus
    assert (gpu.state is GpuState.USABLE) is bool(gpu.apis) is (gpu.obstacle is None)
    sizes = (gpu.memory.total_bytes, gpu.memory.free_bytes)
    assert all(size is None or 0 <= size < 1 << 60 for size in sizes)


@given(changes(AMD), st.dictionaries(st.sampled_from([ROCMINFO, AMD_SMI, ROCM_SMI, ENUMERATOR]), answers))
def test_noise_around_an_amd_card_leaves_the_card(
    imagine: Imagine, change: dict[str, str | None], results: dict[tuple[str, ...], CommandResult]
) -> None:
    gpus, _ = read_amd(imagine(changed(AMD, change), results=results))
    check(gpus)


@given(changes(INTEL), st.dictionaries(st.just(SYCL_LS), answers))
def test_noise_around_an_intel_card_leaves_the_card(
    imagine: Imagine, change: dict[str, str | None], results: dict[tuple[str, ...], CommandResult]
) -> None:
    gpus, _ = read_intel(imagine(changed(INTEL, change), results=results))
    check(gpus)


@given(answers)
def test_noise_of_rocminfo_in_wsl_is_no_gpu(imagine: Imagine, answer: CommandResult) -> None:
    gpus, probes = read_amd(imagine(results={ROCMINFO: answer}), wsl=2)
    assert (gpus, len(probes)) == ((), 1)
