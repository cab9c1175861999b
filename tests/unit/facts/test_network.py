from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.request import getproxies_environment

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.facts.gpu.gpu_env import read_gpu_env
from provision.facts.network import has_ipv4_route, has_ipv6_route, no_proxy, proxies, read_offline
from provision.host.machine import Machine

HEADER = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"


@pytest.mark.cases("routes")
def test_routes(case: dict[str, Any], imagine: Callable[..., Machine]) -> None:
    files = {}
    if case["ipv4"] is not None:
        files["/proc/net/route"] = "".join(f"{line:<127}\n" for line in [HEADER, *case["ipv4"]])
    if case["ipv6"] is not None:
        files["/proc/net/ipv6_route"] = "".join(f"{line}\n" for line in case["ipv6"])
    assert read_offline(imagine(files)) is case["offline"]


def test_a_namespace_where_nothing_was_ever_set_up_has_an_empty_file() -> None:
    assert has_ipv4_route("") is False


@pytest.mark.parametrize("text", ["\n", "nonsense\n", f"{HEADER}\neth0\t0\n", f"{HEADER}\neth0\t0\t0\tup\n"])
def test_ipv4_routes_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        has_ipv4_route(text)


@pytest.mark.parametrize("text", ["nonsense\n", "0 0 0 0 0 0 0 0 up eth0\n", "0 0 0 0 0 0 0 0 1\n"])
def test_ipv6_routes_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        has_ipv6_route(text)


@given(st.text() | st.text(alphabet="0123456789abcdef \n\tIfaceeth"))
def test_any_text_is_routes_or_makes_no_sense(text: str) -> None:
    for has_route in (has_ipv4_route, has_ipv6_route):
        for whole in (text, HEADER + "\n" + text):
            with suppress(ValueError):
                assert has_route(whole) in (True, False)


@pytest.mark.cases("proxies")
def test_proxies(case: dict[str, Any]) -> None:
    assert proxies(case["env"]) == case["proxies"]
    assert no_proxy(case["env"]) == case["no_proxy"]


names = st.sampled_from(
    ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "REQUEST_METHOD"]
)


@given(st.dictionaries(names, st.sampled_from(["", "http://a:1", "http://b:2"])))
def test_the_same_variables_count_as_for_urllib(env: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]:
            patch.delenv(name, raising=False)
        patch.delenv("REQUEST_METHOD", raising=False)
        for name, value in env.items():
            patch.setenv(name, value)
        expected = getproxies_environment()
    assert proxies(env) == {name: expected[name] for name in ("http", "https", "all") if name in expected}


def test_variables_that_hide_or_change_gpus_are_kept_as_they_are() -> None:
    kept = {
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        "CUDA_VISIBLE_DEVICES": "",
        "GGML_VK_VISIBLE_DEVICES": "1",
        "HIP_VISIBLE_DEVICES": "0,1",
        "HSA_OVERRIDE_GFX_VERSION": "10.3.0",
        "HSA_OVERRIDE_GFX_VERSION_1": "11.0.0",
        "NVIDIA_VISIBLE_DEVICES": "void",
        "ONEAPI_DEVICE_SELECTOR": "level_zero:gpu",
        "ROCR_VISIBLE_DEVICES": "GPU-123",
        "VK_DRIVER_FILES": "/a.json",
        "VK_ICD_FILENAMES": "/b.json",
        "ZE_AFFINITY_MASK": "0.0",
    }
    others = {
        "HSA_OVERRIDE_GFX_VERSION_": "x",
        "HSA_OVERRIDE_GFX_VERSIONS": "x",
        "7": "x",
        "MY_CUDA_VISIBLE_DEVICES": "0",
    }
    assert read_gpu_env({**others, **dict(reversed(kept.items())), "PATH": "/bin"}) == kept
    assert read_gpu_env({}) == {}
