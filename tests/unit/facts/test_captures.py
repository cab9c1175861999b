"""Every captured machine under tests/hosts, against what is known of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from provision.facts.detect import detect
from provision.host.replay import ReplayMachine

HOSTS = sorted(path for path in (Path(__file__).parents[2] / "hosts").iterdir() if path.is_dir())

# Every kind of machine that detection has to know: how the names of their captures end.
KINDS = (
    *("rtx4090", "2xrtx3090", "a100-mig", "a100-mig-empty", "h200", "rtx5090-igpu", "gtx1060-driver470"),
    *("gtx1080ti-driver580", "gtx770-kepler", "lib-mismatch", "nouveau", "no-driver", "vfio", "no-toolkit", "lost"),
    *("nvml-hangs", "nvml-crashes", "smi-html", "masked", "busy", "no-uvm", "wsl2-rtx3080", "no-lib-path"),
    *("wsl2-radeon8060s", "wsl1", "wsl2", "jetson-orin", "gb10", "8xmi300x", "mi210", "rx7900xtx", "no-permission"),
    *("rx7900xtx-igpu", "rx580", "hd7850-radeon", "strixhalo-bios512m", "strixhalo-carveout96g", "strixhalo-gtt96g"),
    *("rx7600-override", "rx7800xt-amdvlk", "no-icd", "no-loader", "vega64-llvmpipe", "arc-a770", "arc-b580"),
    *("uhd630", "virtio-gpu", "m1-8gb", "m4max-128gb", "wired-limit", "intel-mac-radeon5500m", "rosetta", "m2-docker"),
    *("raspberry-pi-5", "graviton3", "altra", "rk3588", "i7-3770", "celeron-j1900", "i7-12700k", "2xxeon-numa"),
    *("alpine3.22", "nixos25.05-rtx4070tis", "silverblue42-rx6800xt", "bazzite42-rog-ally", "rhel9-t4"),
    *("not-loaded", "docker-rx7900xtx-no-devices", "rx7900xtx-masked"),
    *("docker-4g-2cpu", "docker-v1-half-cpu", "kubernetes-l4", "kubernetes-1of4-l4", "no-proc", "no-sys"),
    *("centos6-xeon-e5", "nfs-home", "noexec-prefix", "live-tmpfs", "offline", "corporate-proxy"),
)


def differences(expected: object, actual: object, where: str = "facts") -> list[str]:
    """Return where ``actual`` differs from the subset that is ``expected``.

    Lists of mappings are compared element by element, each as a subset; other lists have to be equal.
    """
    if isinstance(expected, Mapping) and isinstance(actual, Mapping):
        return [line for key in expected for line in differences(expected[key], actual.get(key), f"{where}.{key}")]
    if isinstance(actual, tuple):
        actual = list(actual)
    if isinstance(expected, list) and isinstance(actual, list) and _is_table(expected) and len(expected) == len(actual):
        rows = enumerate(zip(expected, actual, strict=True))
        return [line for i, (one, other) in rows for line in differences(one, other, f"{where}[{i}]")]
    return [] if expected == actual else [f"{where}: expected {expected!r}, got {actual!r}"]


def _is_table(rows: Sequence[object]) -> bool:
    return bool(rows) and all(isinstance(row, Mapping) for row in rows)


@pytest.mark.parametrize("host", HOSTS, ids=lambda path: path.name)
def test_captured_machine(host: Path) -> None:
    expected: dict[str, Any] = json.loads((host / "expected.json").read_text(encoding="utf-8"))
    facts = detect(ReplayMachine(host, strict=True), "/prefix")
    assert differences(expected["facts"], asdict(facts)) == []
    assert sorted({finding.code for finding in facts.findings}) == expected["findings"]
    assert len(set(facts.findings)) == len(facts.findings)
    outcomes = {probe.name: probe.outcome.value for probe in facts.probes}
    assert differences(expected.get("probes", {}), outcomes, "probes") == []
    assert [name for name in expected.get("isa_has", ()) if name not in facts.cpu.isa] == []
    assert [name for name in expected.get("isa_lacks", ()) if name in facts.cpu.isa] == []
    assert facts.disk.path == "/prefix"


def test_a_wrong_expectation_is_noticed() -> None:
    actual = {"os": {"wsl": None}, "isa": ("a", "b")}
    assert differences({"os": {"wsl": None}, "isa": ["a", "b"]}, actual) == []
    assert differences({"os": {"wsl": 2}, "isa": ["a"]}, actual) == [
        "facts.os.wsl: expected 2, got None",
        "facts.isa: expected ['a'], got ['a', 'b']",
    ]


def test_gpus_are_compared_one_by_one_as_subsets() -> None:
    actual = {"gpus": ({"vendor": "amd", "apis": ("rocm",)}, {"vendor": "intel", "apis": ()})}
    assert differences({"gpus": [{"vendor": "amd", "apis": ["rocm"]}, {}]}, actual) == []
    assert differences({"gpus": [{"vendor": "amd"}, {"vendor": "nvidia"}]}, actual) == [
        "facts.gpus[1].vendor: expected 'nvidia', got 'intel'"
    ]
    for wrong in ([], [{"vendor": "amd"}]):
        assert len(differences({"gpus": wrong}, actual)) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_machine_is_there(kind: str) -> None:
    assert [host.name for host in HOSTS if host.name.endswith(f"-{kind}")]


def test_there_are_enough_machines() -> None:
    systems = Counter(host.name.split("-")[0] for host in HOSTS)
    assert systems["linux"] >= 40
    assert systems["darwin"] >= 5


@pytest.mark.parametrize("host", HOSTS, ids=lambda path: path.name)
def test_a_capture_says_where_it_comes_from(host: Path) -> None:
    platform: dict[str, Any] = json.loads((host / "platform.json").read_text(encoding="utf-8"))
    assert platform["note"].startswith(("Composed", "Taken"))
