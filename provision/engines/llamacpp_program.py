"""What a ``llama-server`` program says about itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from provision.domain.frozen import frozen
from provision.domain.gpu import ListedDevice
from provision.domain.units import MIB

# With a semantic version since 2026; before that the build was the version.
_VERSION = re.compile(
    r"^version: (?:(?P<version>[0-9][\w.+-]{0,60}) \(build (?P<build>\d{1,9}), commit (?P<commit>\w{1,60})\)"
    r"|(?P<old_build>\d{1,9}) \((?P<old_commit>\w{1,60})\))[ \t\r]*$",
    re.MULTILINE,
)
_UNKNOWN = "unknown"

_HEADING = re.compile(r"^Available devices:[ \t\r]*$", re.MULTILINE)
_DEVICE = re.compile(r"[ \t]+(\S{1,100}): (.{0,300}) \(([0-9]{1,12}) MiB, ([0-9]{1,12}) MiB free\)")
_NONE = "(none)"
_APIS: Mapping[str, str] = {
    "CUDA": "cuda",
    "ROCm": "rocm",
    "Vulkan": "vulkan",
    "SYCL": "level-zero",
    "Metal": "metal",
    "MTL": "metal",  # since llama.cpp numbers Metal's devices
}


@frozen
class ServerVersion:
    """``build`` counts the commits up to this one. Who builds without the history has 0 or 1, and maybe no commit."""

    build: int
    commit: str | None
    version: str | None = None


def parse_version(text: str) -> ServerVersion | None:
    """Parse what ``--version`` prints, on stderr, in either form; ``None`` where it is another program's."""
    match = _VERSION.search(text)
    if match is None:
        return None
    commit = match["commit"] or match["old_commit"]
    return ServerVersion(
        int(match["build"] or match["old_build"]), None if commit == _UNKNOWN else commit, match["version"]
    )


def parse_devices(text: str) -> tuple[ListedDevice, ...]:
    """Parse the output of ``llama-server --list-devices``, with or without the log before it.

    Raises ``ValueError`` where there is no list, or one in another format.
    """
    start = _HEADING.search(text)
    if start is None:
        raise ValueError("it has no list of devices")
    return tuple(_devices(text[start.end() :]))


def _devices(text: str) -> Iterator[ListedDevice]:
    for line in text.splitlines():
        if not line.startswith((" ", "\t")) or line.strip() in ("", _NONE):  # not indented: log lines that come late
            continue
        match = _DEVICE.fullmatch(line.rstrip())
        if match is None:
            raise ValueError(f"no device: {line.strip()[:100]}")
        api = _APIS.get(match[1].rstrip("0123456789"))
        yield ListedDevice(match[1], api, match[2], int(match[3]) * MIB, int(match[4]) * MIB)
