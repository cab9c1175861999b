from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.gpu import Gpu
from provision.facts.gpu.amd_mask import mask, visible

# Four GPUs as in the examples of ROCm's runtime; the last is too old for a unique id.
UUIDS = ["GPU-babababababababa", "GPU-abbaabbaabbaabba", "GPU-babaabbaabbababa", None]


@pytest.mark.parametrize(
    ("env", "shown"),
    [
        ({}, (0, 1, 2, 3)),
        ({"ROCR_VISIBLE_DEVICES": ""}, ()),
        ({"ROCR_VISIBLE_DEVICES": "-1"}, ()),
        ({"ROCR_VISIBLE_DEVICES": "GPU-XX"}, ()),
        ({"ROCR_VISIBLE_DEVICES": "3,GPU-BABABABABABABABA,4"}, (3, 0)),
        ({"ROCR_VISIBLE_DEVICES": "1,GPU-ABBAABBAABBAABBA,GPU-XX"}, (1,)),
        ({"ROCR_VISIBLE_DEVICES": "3, gpu-babaabba ,GPU-XX"}, (3, 2)),
        ({"ROCR_VISIBLE_DEVICES": "GPU-BABA"}, ()),
        ({"ROCR_VISIBLE_DEVICES": "GPU-"}, ()),
        ({"ROCR_VISIBLE_DEVICES": "0,none,1"}, (0,)),
        ({"ROCR_VISIBLE_DEVICES": "0x2"}, (2,)),
        ({"HIP_VISIBLE_DEVICES": "1,0,1"}, (1, 0)),
        ({"HIP_VISIBLE_DEVICES": "-1"}, ()),
        ({"HIP_VISIBLE_DEVICES": "0, 1"}, (0,)),
        ({"HIP_VISIBLE_DEVICES": "2,"}, (2,)),
        ({"HIP_VISIBLE_DEVICES": "GPU-abbaabbaabbaabba"}, (1,)),
        ({"HIP_VISIBLE_DEVICES": "GPU-ABBAABBAABBAABBA"}, ()),
        ({"HIP_VISIBLE_DEVICES": "GPU-XX"}, (3,)),
        ({"HIP_VISIBLE_DEVICES": ""}, (0, 1, 2, 3)),
        ({"CUDA_VISIBLE_DEVICES": "2"}, (2,)),
        ({"CUDA_VISIBLE_DEVICES": "GPU-8932f937-d72c-4106-c12f-20bd9faed9f6"}, ()),
        ({"CUDA_VISIBLE_DEVICES": "2", "HIP_VISIBLE_DEVICES": "0"}, (0,)),
        ({"CUDA_VISIBLE_DEVICES": "2", "HIP_VISIBLE_DEVICES": ""}, (2,)),
        ({"ROCR_VISIBLE_DEVICES": "3,1", "HIP_VISIBLE_DEVICES": "1"}, (1,)),
        ({"ROCR_VISIBLE_DEVICES": "3,1", "HIP_VISIBLE_DEVICES": "2"}, ()),
    ],
)
def test_the_runtime_s_list_is_applied_before_hip_s(env: dict[str, str], shown: tuple[int, ...]) -> None:
    assert visible(UUIDS, env) == shown


def test_the_hidden_gpus_are_marked_and_stay_in_place() -> None:
    gpus = mask([Gpu(uuid=uuid) for uuid in UUIDS], {"HIP_VISIBLE_DEVICES": "2,0"})
    assert [(gpu.uuid, gpu.masked) for gpu in gpus] == list(zip(UUIDS, [False, True, False, True], strict=True))


entries = st.lists(st.sampled_from(["0", "1", "-1", "GPU-", "GPU-baba", "9" * 5000, " 2 ", "0b1", ""])).map(",".join)
names = st.sampled_from(["ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"])


@given(st.dictionaries(names, entries | st.text()), st.integers(0, 4))
def test_any_list_hides_some_of_them(env: dict[str, str], count: int) -> None:
    shown = visible(UUIDS[:count], env)
    assert len(set(shown)) == len(shown)
    assert set(shown) <= set(range(count))
