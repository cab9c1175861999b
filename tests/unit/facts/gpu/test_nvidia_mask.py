from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.gpu import Gpu, GpuInstance, GpuMemory, GpuState, Obstacle
from provision.facts.gpu.nvidia_mask import mask, may_hide


def gpu(number: int, name: str = "RTX 3090", uuid: str | None = None, **facts: object) -> Gpu:
    known: dict[str, object] = {
        "vendor": "nvidia",
        "name": name,
        "pci": f"0000:{number:02x}:00.0",
        "arch": "8.6",
        "state": GpuState.USABLE,
        "apis": ("cuda",),
        "memory": GpuMemory("dedicated", 24),
        "uuid": uuid or f"GPU-{number}{number}{number}{number}-c4b5",
    }
    return Gpu(**{**known, **facts})  # type: ignore[arg-type]


def signs(gpus: Sequence[Gpu]) -> str:
    """Return one sign for each GPU: hidden, not hidden, not known."""
    return "".join({True: "x", False: ".", None: "?"}[each.masked] for each in gpus)


EQUAL = (gpu(0), gpu(1), gpu(2))
UNEQUAL = (gpu(0, "GTX 1060"), gpu(1), gpu(2))
BROKEN_FIRST = (gpu(0, apis=(), state=GpuState.DRIVER, obstacle=Obstacle.LOST), gpu(1), gpu(2))
PARTS = (GpuInstance("MIG-aaaa-1"), GpuInstance("MIG-bbbb-2"))
PARTITIONED = (gpu(0, partitioned=True, instances=PARTS), gpu(1))
BY_ADDRESS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


@pytest.mark.parametrize(
    ("visible", "masked"),
    [
        ("", "xxx"),
        ("-1", "xxx"),
        ("none", "xxx"),
        ("NoDevFiles", "xxx"),
        ("0", ".xx"),
        ("2,1", "x.."),
        (" 0 , 2 ", ".x."),
        ("0,1,2", "..."),
        ("0,2,-1,1", ".x."),  # the guide's own example
        ("3", "xxx"),
        ("0,7,1", ".xx"),
        ("1,1", "x.x"),
        ("0x1", "xxx"),
        ("99999999999999999999", "xxx"),
        ("GPU-1111-c4b5", "x.x"),
        ("GPU-22", "xx."),
        ("GPU-", "xxx"),
        ("GPU-9999", "xxx"),
        ("GPU-2222,0", ".x."),
        ("1111-c4b5", "xxx"),
        ("MIG-aaaa", "xxx"),
        ("MIG-GPU-1111-c4b5/1/0", "x.x"),
    ],
)
def test_equal_cards(visible: str, masked: str) -> None:
    gpus = mask(EQUAL, {"CUDA_VISIBLE_DEVICES": visible})
    assert signs(gpus) == masked


@pytest.mark.parametrize(("visible", "masked"), [("0", ".xx"), ("2", "xx."), ("1,2", "x..")])
def test_unequal_cards_in_the_order_of_their_addresses(visible: str, masked: str) -> None:
    gpus = mask(UNEQUAL, {"CUDA_VISIBLE_DEVICES": visible, **BY_ADDRESS})
    assert signs(gpus) == masked


@pytest.mark.parametrize(("visible", "masked"), [("0,1,2", "..."), ("", "xxx"), ("5", "xxx"), ("GPU-00", ".xx")])
def test_unequal_cards_where_the_order_does_not_matter(visible: str, masked: str) -> None:
    gpus = mask(UNEQUAL, {"CUDA_VISIBLE_DEVICES": visible})
    assert signs(gpus) == masked


@pytest.mark.parametrize("order", [{}, {"CUDA_DEVICE_ORDER": "FASTEST_FIRST"}])
def test_a_number_among_unequal_cards_is_not_guessed(order: Mapping[str, str]) -> None:
    with pytest.raises(ValueError, match="CUDA_DEVICE_ORDER=PCI_BUS_ID"):
        mask(UNEQUAL, {"CUDA_VISIBLE_DEVICES": "0", **order})


def test_what_may_be_hidden_is_not_known() -> None:
    assert signs(may_hide(UNEQUAL)) == "???"
    assert signs(may_hide(BROKEN_FIRST)) == ".??"  # CUDA does not count it


def test_a_uuid_is_not_guessed_where_one_is_unknown() -> None:
    nameless = (gpu(0), Gpu(vendor="nvidia", apis=("cuda",)))
    with pytest.raises(ValueError, match="not every GPU's is known"):
        mask(nameless, {"CUDA_VISIBLE_DEVICES": "GPU-abcd"})
    assert [each.masked for each in mask(nameless, {"CUDA_VISIBLE_DEVICES": "GPU-0000"})] == [False, True]


def test_cuda_counts_only_what_it_can_use() -> None:
    gpus = mask(BROKEN_FIRST, {"CUDA_VISIBLE_DEVICES": "0"})
    assert [each.masked for each in gpus] == [False, False, True]


def test_only_the_instances_that_are_named_stay() -> None:
    card, other = mask(PARTITIONED, {"CUDA_VISIBLE_DEVICES": "MIG-bbbb-2"})
    assert (card.instances, card.masked, other.masked) == (PARTS[1:], False, True)
    card, other = mask(PARTITIONED, {"CUDA_VISIBLE_DEVICES": "GPU-0000"})
    assert (card.instances, card.masked, other.masked) == (PARTS, False, True)


def test_nothing_is_hidden_where_nothing_is_set() -> None:
    assert mask(UNEQUAL, {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}) == UNEQUAL


@pytest.mark.parametrize("value", ["none", "void"])
def test_what_the_container_was_not_given_is_hidden_and_what_works_is_not(value: str) -> None:
    """Device lists generated for CDI set the variable to void beside the devices that they bring."""
    missing = gpu(0, apis=(), state=GpuState.DRIVER, obstacle=Obstacle.NO_DEVICE_NODES)
    env = {"NVIDIA_VISIBLE_DEVICES": value}
    assert [each.masked for each in mask((missing, gpu(1)), env, in_container=True)] == [True, False]
    assert [each.masked for each in mask((missing, gpu(1)), env, in_container=False)] == [False, False]


@given(st.text(alphabet="0123456789,-GPUMI/cb x"), st.sampled_from(["PCI_BUS_ID", "FASTEST_FIRST", ""]))
def test_whatever_is_listed_the_cards_stay_the_same(visible: str, order: str) -> None:
    for gpus in (EQUAL, UNEQUAL, BROKEN_FIRST, PARTITIONED, ()):
        try:
            found = mask(gpus, {"CUDA_VISIBLE_DEVICES": visible, "CUDA_DEVICE_ORDER": order})
        except ValueError:
            continue
        assert [each.uuid for each in found] == [each.uuid for each in gpus]
