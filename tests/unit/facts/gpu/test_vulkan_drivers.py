"""The loader and the manifests of the drivers, as files."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.facts import Facts, Libc, OperatingSystem
from provision.domain.gpu import Vulkan
from provision.facts.gpu.vulkan import drop_unsuited, read_devices
from provision.facts.gpu.vulkan_drivers import manifest_paths, parse_manifest, read_loader
from provision.host.machine import LocalMachine, Machine

Imagine = Callable[..., Machine]

SAMPLE = Path(__file__).parents[3] / "samples" / "vulkan" / "icd_radeon.json"
SO_FAR = Facts(os=OperatingSystem(arch="x86_64", libc=Libc("glibc", "2.36")))
LOADER = "/lib/x86_64-linux-gnu/libvulkan.so.1"
RADV = "/usr/lib/x86_64-linux-gnu/libvulkan_radeon.so"
RADV_MANIFEST = "/usr/share/vulkan/icd.d/radeon_icd.x86_64.json"


def manifest(library: str, **more: str) -> str:
    return json.dumps({"ICD": {"library_path": library, **more}, "file_format_version": "1.0.1"})


def test_the_loader_and_a_driver_are_found(imagine: Imagine) -> None:
    files = {LOADER: "", RADV: "", RADV_MANIFEST: SAMPLE.read_text(encoding="utf-8")}
    assert read_loader(imagine(files), SO_FAR) == Vulkan(LOADER, (RADV_MANIFEST,))
    assert read_loader(imagine({RADV_MANIFEST: files[RADV_MANIFEST]}), SO_FAR) is None
    assert read_loader(imagine({LOADER: ""}), SO_FAR) == Vulkan(LOADER)


@pytest.mark.parametrize(
    ("path", "text", "found"),
    [
        ("/etc/vulkan/icd.d/nvidia_icd.json", manifest("libGLX_nvidia.so.0"), True),
        ("/etc/vulkan/icd.d/nvidia_icd.json", manifest("libGLX_other.so.0"), False),
        ("/etc/vulkan/icd.d/a.json", manifest("../../../opt/driver/libvulkan.so"), True),
        ("/etc/vulkan/icd.d/a.json", manifest("./libvulkan.so"), False),
        ("/etc/vulkan/icd.d/a.i686.json", manifest("/opt/driver/libvulkan.so"), False),
        ("/etc/vulkan/icd.d/a.json", manifest("/opt/driver/libvulkan.so", library_arch="32"), False),
        ("/etc/vulkan/icd.d/a.json", manifest("/usr/lib32/libvulkan.so"), False),
        ("/etc/vulkan/icd.d/a.json", "{", False),
        ("/etc/vulkan/icd.d/a.txt", manifest("/opt/driver/libvulkan.so"), False),
        ("/elsewhere/a.json", manifest("/opt/driver/libvulkan.so"), False),
    ],
)
def test_a_driver_counts_where_its_library_can_be_loaded(path: str, text: str, found: bool, imagine: Imagine) -> None:
    files = {
        "/opt/driver/libvulkan.so": "",
        "/usr/lib32/libvulkan.so": "",
        "/usr/lib/libGLX_nvidia.so.0": "",
        path: text,
    }
    vulkan = read_loader(imagine(files), SO_FAR)
    assert (vulkan is not None and vulkan.drivers == (path,)) is found


PLACES = ("/home/me/.config", "/etc/xdg", "/etc", "/home/me/.local/share", "/usr/local/share", "/usr/share", "/x", "/y")
EVERYWHERE = {f"{place}/vulkan/icd.d/{place.count('/')}.json": "" for place in PLACES} | {
    "/d/b.json": "",
    "/d/a.json": "",
}


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({}, ("/etc/xdg", "/etc", "/usr/local/share", "/usr/share")),
        ({"HOME": "/home/me"}, PLACES[:6]),
        ({"XDG_DATA_HOME": "/x", "XDG_DATA_DIRS": "/y:relative", "XDG_CONFIG_DIRS": "/z"}, ("/etc", "/x", "/y")),
        ({"VK_DRIVER_FILES": "/d:/e.json", "VK_ICD_FILENAMES": "/f.json"}, ("/d/a.json", "/d/b.json", "/e.json")),
        ({"VK_ICD_FILENAMES": "/f.json", "VK_ADD_DRIVER_FILES": "/g.json"}, ("/f.json",)),
        ({"VK_ADD_DRIVER_FILES": "/d/b.json", "XDG_DATA_DIRS": "/y"}, ("/d/b.json", "/etc/xdg", "/etc", "/y")),
    ],
)
def test_manifests_are_looked_for_as_the_loader_does(
    env: dict[str, str], expected: tuple[str, ...], imagine: Imagine
) -> None:
    found = manifest_paths(imagine(EVERYWHERE, env=env))
    assert tuple(re.sub(r"/vulkan/icd\.d/.*", "", path) for path in found) == expected


@given(st.text() | st.text(alphabet='[]{}":,ICDlibrary_path\n 0'))
def test_any_text_is_a_manifest_or_an_error(text: str) -> None:
    with suppress(ValueError):
        assert parse_manifest(text).library


def test_a_deeply_nested_manifest_is_an_error() -> None:
    with pytest.raises(ValueError, match="deep"):
        parse_manifest("[" * 1_000_000)


def test_the_real_program_s_software_device_is_dropped() -> None:
    machine = LocalMachine()
    devices = read_devices(machine)
    if not devices:
        pytest.skip("vulkaninfo is not installed here, or finds no device")
    software = [each for each in drop_unsuited(devices, ()) if (each.name or "").startswith("llvmpipe")]
    if not software:
        pytest.skip("Mesa's software driver is not installed here")
    assert {each.dropped for each in software} == {"software"}
    found = read_loader(machine, Facts(os=OperatingSystem(arch=machine.platform.machine, libc=Libc("glibc"))))
    assert found is not None
    assert found.loader is not None
    assert any("lvp_icd" in path for path in found.drivers)
