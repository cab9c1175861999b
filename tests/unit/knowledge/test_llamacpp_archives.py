"""Which files of a release of llama.cpp each of its builds is made of."""

from __future__ import annotations

import pytest

from provision.artifacts.releases import Release, pick_asset
from provision.domain.artifacts import PinnedFile
from provision.domain.engine import EngineRelease, Method
from provision.knowledge.builds import load_builds
from provision.knowledge.engine_files import load_engine_file

TAG = "b11434"
# Everything that a release has, by ggml-org/llama.cpp's release workflow.
NAMES = (
    *(f"llama-{TAG}-bin-ubuntu-{arch}.tar.gz" for arch in ("x64", "arm64", "s390x", "vulkan-x64", "vulkan-arm64")),
    *(f"llama-{TAG}-bin-ubuntu-{api}-x64.tar.gz" for api in ("rocm-10.0", "sycl-fp32", "sycl-fp16", "openvino-2026")),
    *(f"{kind}-{TAG}-bin-ubuntu-cuda-{version}.tar.gz"
      for kind in ("llama", "cudart-llama") for version in ("12.8-x64", "13.4-x64", "13.4-arm64")),
    *(f"llama-{TAG}-bin-{system}.tar.gz" for system in ("macos-arm64", "macos-x64", "linux-arm64-snapdragon")),
    *(f"llama-{TAG}-bin-win-{kind}-x64.zip" for kind in ("cpu", "vulkan", "cuda-12.4", "cuda-13.4", "rocm-10.0")),
    "cudart-llama-bin-win-cuda-12.4-x64.zip", f"llama-{TAG}-ui.tar.gz", f"llama-{TAG}-xcframework.zip",
)  # fmt: skip
EXPECTED = {
    "cpu": ["llama-{}-bin-ubuntu-x64.tar.gz"],
    "vulkan": ["llama-{}-bin-ubuntu-vulkan-x64.tar.gz"],
    "cuda13-x64": ["llama-{}-bin-ubuntu-cuda-13.4-x64.tar.gz", "cudart-llama-{}-bin-ubuntu-cuda-13.4-x64.tar.gz"],
    "cuda12": ["llama-{}-bin-ubuntu-cuda-12.8-x64.tar.gz", "cudart-llama-{}-bin-ubuntu-cuda-12.8-x64.tar.gz"],
    "rocm": ["llama-{}-bin-ubuntu-rocm-10.0-x64.tar.gz"],
    "cpu-arm": ["llama-{}-bin-ubuntu-arm64.tar.gz"],
    "vulkan-arm": ["llama-{}-bin-ubuntu-vulkan-arm64.tar.gz"],
    "cuda13": ["llama-{}-bin-ubuntu-cuda-13.4-arm64.tar.gz", "cudart-llama-{}-bin-ubuntu-cuda-13.4-arm64.tar.gz"],
    "metal": ["llama-{}-bin-macos-arm64.tar.gz"],
    "macos-intel": ["llama-{}-bin-macos-x64.tar.gz"],
}
ARCHIVES = [each for each in load_engine_file("llamacpp").releases if each.method is Method.ARCHIVE]


@pytest.mark.parametrize("release", ARCHIVES, ids=lambda each: each.builds[0])
def test_each_build_is_made_of_its_own_archives(release: EngineRelease) -> None:
    assert release.assets is not None
    found = Release(release.assets.repository, TAG, tuple(PinnedFile(name, (), 1, None) for name in NAMES))
    picked = [pick_asset(found, name) for name in release.assets.names]
    assert [file.path if file else None for file in picked] == [
        name.format(TAG) for name in EXPECTED[release.builds[0]]
    ]


def test_every_build_that_upstream_offers_has_one() -> None:
    offered = {build.name for build in load_builds() if build.engine == "llamacpp"} - {"source"}
    assert {name for release in ARCHIVES for name in release.builds} == offered == set(EXPECTED)
