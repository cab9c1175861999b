from __future__ import annotations

from collections import Counter

import pytest

from provision import assets
from provision.errors import InvalidInputError
from provision.knowledge.gpus import KnownGpu, KnownGpus, load_intel
from provision.knowledge.load import check


def document() -> dict[str, object]:
    content: dict[str, object] = assets.profile("gpus")
    return content


@pytest.mark.parametrize(
    ("device_id", "known"),
    [
        (0x3E92, KnownGpu("Intel UHD Graphics 630", "gen9", True)),
        (0x0166, KnownGpu(None, "gen7", True)),
        (0x46A6, KnownGpu("Intel Iris Xe Graphics", "gen12", True)),
        (0x4905, KnownGpu("Intel Iris Xe MAX Graphics", "dg1", False)),
        (0x56A0, KnownGpu("Intel Arc A770", "alchemist", False)),
        (0x56C0, KnownGpu("Intel Data Center GPU Flex 170", "alchemist", False)),
        (0x7D55, KnownGpu("Intel Arc Graphics", "xe-lpg", True)),
        (0xB080, KnownGpu("Intel Arc B390", "xe3-lpg", True)),
        (0xE20B, KnownGpu("Intel Arc B580", "battlemage", False)),
        (0xE223, KnownGpu("Intel Arc Pro B70", "battlemage", False)),
    ],
)
def test_what_an_id_stands_for(device_id: int, known: KnownGpu) -> None:
    assert load_intel()[device_id] == known


def test_an_id_that_is_not_listed_is_not_known() -> None:
    assert 0xFFFE not in load_intel()


def test_no_id_stands_for_two() -> None:
    families = check(document(), KnownGpus, "profiles/gpus.yaml").intel
    ids = [number for family in families for group in (*family.names.values(), family.unnamed) for number in group]
    assert [number for number, count in Counter(ids).items() if count > 1] == []


@pytest.mark.parametrize(
    "intel",
    [
        [{"family": "gen9", "integrated": True, "unnamed": ["0x3e92"]}],
        [{"family": "gen9", "integrated": True, "names": {"UHD": ["3E92"]}}],
        [{"family": "gen9", "integrated": "yes"}],
        [{"family": "gen9", "integrated": True, "name": {}}],
    ],
    ids=["with a prefix", "upper case", "no boolean", "unknown key"],
)
def test_a_mistake_in_the_file_is_told(intel: list[object]) -> None:
    with pytest.raises(InvalidInputError, match=r"profiles/gpus.yaml cannot be used: .*\$\.intel"):
        check({**document(), "intel": intel}, KnownGpus, "profiles/gpus.yaml")
