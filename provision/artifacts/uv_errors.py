"""What ``uv`` says when it fails, as errors of the contract: its exit status tells nothing, its words do."""

from __future__ import annotations

import signal
from collections.abc import Sequence

from provision.errors import FabricError, UnreachableError
from provision.host.files import no_space
from provision.host.program import CommandResult
from provision.host.web_errors import PROXY_LOGIN_HINT

_SHOWN_NAMES = 3
_NETWORK_SIGNS = ("error sending request", "failed to fetch", "dns error", "connect", "timed out", "network")
_LIMIT_SIGNS = ("too many open files", "cannot allocate memory", "resource temporarily unavailable")
_PROXY_LOGIN_SIGN = "proxy auth"  # "proxy authorization required" of a tunnel, "407 Proxy Authentication Required" else


def explain(result: CommandResult, what: str, staging: str) -> FabricError:
    """Return why uv could not do ``what``; ``staging`` is the directory that it writes to."""
    said = " ".join(result.stderr.split())[-600:] or f"uv ended with {result.returncode}"
    if _is_any_in(said, "no space left") or result.returncode == -signal.SIGXFSZ:
        return no_space(f"to {what}", staging)
    if result.returncode < 0 or _is_any_in(said, *_LIMIT_SIGNS):
        return FabricError(f"Cannot {what}: {said}.", "Something limits what may be used here; see `ulimit -a`.")
    if _is_any_in(said, _PROXY_LOGIN_SIGN):
        return UnreachableError(f"Cannot {what}: the proxy wants a login ({said}).", PROXY_LOGIN_HINT)
    if _is_any_in(said, *_NETWORK_SIGNS):
        return UnreachableError(
            f"Cannot {what}: the package index does not answer ({said}).",
            "Check the network and the proxy. A mirror is named as for pip: PIP_INDEX_URL, or pip's configuration.",
        )
    return UnreachableError(f"Cannot {what}: {said}", "The package index that pip is configured with was asked.")


def no_python(python: str, result: CommandResult) -> FabricError:
    """Return why there is no interpreter of this version."""
    said = " ".join(result.stderr.split())[:300]
    return UnreachableError(
        f"There is no Python {python} here, and none can be fetched ({said}).",
        f"Install Python {python}, or name a mirror that uv can get it from: UV_PYTHON_INSTALL_MIRROR.",
    )


def shortly(names: Sequence[str]) -> str:
    """Name the first few, and how many more there are."""
    shown = ", ".join(names[:_SHOWN_NAMES])
    return shown if len(names) <= _SHOWN_NAMES else f"{shown} and {len(names) - _SHOWN_NAMES} more"


def _is_any_in(said: str, *signs: str) -> bool:
    return any(sign in said.lower() for sign in signs)
