from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.facts.gpu.kfd import (
    Node,
    Topology,
    gfx_name,
    local_memory,
    parse_node,
    parse_properties,
    pci_address,
    read_topology,
)
from provision.host.machine import Machine
from tests.standin.gpu_samples import KFD_NODES, kfd_node, sample, sysfs

Imagine = Callable[..., Machine]

TARGETS = [line.split("\t") for line in sample("amd/kfd/expected_gfx.tsv").splitlines()[1:]]


@pytest.mark.parametrize(("version", "gfx"), TARGETS)
def test_the_target_s_last_two_parts_are_hexadecimal(version: str, gfx: str) -> None:
    assert gfx_name(int(version)) == (None if gfx == "(cpu node)" else gfx)


@pytest.mark.parametrize("version", [7, 991700, 91699, 10**6, 10**30])
def test_a_number_that_is_no_target_has_no_name(version: int) -> None:
    with pytest.raises(ValueError, match="no gfx target"):
        gfx_name(version)


@pytest.mark.parametrize(
    ("name", "gfx", "address", "minor"),
    [
        ("node1_rx580_polaris", "gfx803", sysfs("amd/drm/rx580_polaris.sysfs")["pci"], 128),
        ("node1_rx7900xtx", "gfx1100", sysfs("amd/drm/rx7900xtx.sysfs")["pci"], 128),
        ("node1_strix_halo_8060s", "gfx1151", sysfs("amd/drm/strix_halo_bios512m_128g.sysfs")["pci"], 128),
        ("node2_mi300x", "gfx942", sysfs("amd/drm/mi300x.sysfs")["pci"], 128),
        ("node1_raphael_igpu_gfx1036", "gfx1036", "0000:0e:00.0", 129),
        ("node1_mi210", "gfx90a", "0000:23:00.0", 128),
    ],
)
def test_every_node_has_the_address_that_the_bus_has(name: str, gfx: str, address: str, minor: int) -> None:
    node = parse_node(1, parse_properties(sample(f"amd/kfd/{name}.properties")))
    assert node == Node(1, address, gfx, minor)


def test_a_processor_is_no_gpu() -> None:
    assert parse_node(0, parse_properties(sample("amd/kfd/node0_cpu.properties"))) is None


def test_a_kernel_that_does_not_know_targets_still_lists_the_gpu() -> None:
    text = sample("amd/kfd/node1_rx7900xtx.properties").replace("gfx_target_version 110000\n", "")
    node = parse_node(1, parse_properties(text))
    assert node is not None
    assert (node.address, node.gfx) == ("0000:03:00.0", None)


def test_an_old_apu_shares_its_node_with_the_processor() -> None:
    assert parse_node(0, {"cpu_cores_count": 8, "simd_count": 44, "gfx_target_version": 90002}) == Node(
        0, "0000:00:00.0", "gfx902", with_processor=True
    )


def test_a_partition_has_the_address_of_its_card() -> None:
    assert {pci_address(2, 0x0500 | part << 28) for part in range(8)} == {"0002:05:00.0"}
    assert pci_address(0x10000, 0xFFFF) == "10000:ff:1f.7"


@pytest.mark.parametrize(
    ("banks", "size"),
    [
        (["mem_bank_rx7900xtx"], 25753026560),
        (["mem_bank_strix_halo_512m"], 536870912),
        (["mem_bank_rx7900xtx", "mem_bank_strix_halo_512m"], 25753026560 + 536870912),
        ([], None),
    ],
)
def test_the_banks_add_up(banks: list[str], size: int | None) -> None:
    assert local_memory([parse_properties(sample(f"amd/kfd/{name}.properties")) for name in banks]) == size


def test_a_bank_of_main_memory_is_not_the_gpu_s() -> None:
    assert local_memory([{"heap_type": 0, "size_in_bytes": 1 << 36}]) is None
    assert local_memory([{"heap_type": 2, "size_in_bytes": 1 << 33}]) == 1 << 33


def test_nodes_come_in_the_order_of_their_numbers(imagine: Imagine) -> None:
    text = sample("amd/kfd/node2_mi300x.properties")
    bank = {f"{KFD_NODES}/10/mem_banks/0/properties": sample("amd/kfd/mem_bank_rx7900xtx.properties")}
    machine = imagine({**kfd_node(10, text), **kfd_node(2, text), **kfd_node(1, text), **bank})
    topology = read_topology(machine)
    assert topology is not None
    assert [(node.number, node.memory_bytes) for node in topology.nodes] == [(1, None), (2, None), (10, 25753026560)]


def test_what_a_container_may_not_read_is_counted(imagine: Imagine) -> None:
    machine = imagine({**kfd_node(0, sample("amd/kfd/node0_cpu.properties")), f"{KFD_NODES}/1/": ""})
    assert read_topology(machine) == Topology((), 1)


def test_a_machine_without_kfd_has_no_topology(imagine: Imagine) -> None:
    assert read_topology(imagine({})) is None


def test_a_page_of_html_is_no_node(imagine: Imagine) -> None:
    with pytest.raises(ValueError, match="no properties"):
        read_topology(imagine(kfd_node(1, "<html>\n<body>not found</body>")))


@pytest.mark.parametrize(
    ("number", "uuid"), [(0, None), (0xDC91284879207F2B, "GPU-dc91284879207f2b"), (1, "GPU-" + "0" * 15 + "1")]
)
def test_the_unique_id_is_the_name_that_rocm_knows(number: int, uuid: str | None) -> None:
    node = parse_node(1, {"simd_count": 4, "unique_id": number})
    assert node is not None
    assert node.uuid == uuid


lines = st.lists(st.tuples(st.sampled_from(["simd_count", "gfx_target_version", "location_id", "x"]), st.integers()))


@given(st.text() | lines.map(lambda pairs: "".join(f"{name} {number}\n" for name, number in pairs)))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        node = parse_node(1, parse_properties(text))
    except ValueError:
        return
    assert node is None or node.address.count(":") == 2
