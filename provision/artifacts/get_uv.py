"""Fetch the pinned ``uv`` with nothing but a Python: for machines that have neither uv nor, maybe, pip and venv.

    python3 get_uv.py DIRECTORY

leaves there the program ``uv`` and the checked wheel that it came in.

The wheel is taken from the directory if it lies there already, else from the places that uv or pip are configured
with, else from the index that this Python's pip asks by default; only the pinned SHA-256 makes it good. Exit status:
0 done, 3 not found and no index is configured, 69 no configured place has it or answers, 73 the directory cannot be
written, 77 the file is not the pinned one. Runs on Python 3.8 and later.
"""

from __future__ import annotations

import errno
import hashlib
import http.client
import importlib
import json
import os
import platform
import re
import subprocess
import sys
import time
import zipfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, List, Mapping, NoReturn, Optional, Tuple, TypeVar

if TYPE_CHECKING:
    from provision.artifacts.bare_web import Web, without_login
    from provision.artifacts.pip_settings import PackageSettings, read_local, uv_environment
else:  # run as a script, it finds its neighbours and nothing else
    sys.path.insert(0, str(Path(__file__).parent))
    from bare_web import Web, without_login
    from pip_settings import PackageSettings, read_local, uv_environment

Pin = Mapping[str, Any]
T = TypeVar("T")

PINS = Path(__file__).parents[2] / "profiles" / "uv.json"
PAUSE_S = 0.5
NO_INDEX_CONFIGURED, UNREACHABLE, CANNOT_CREATE, REFUSED = 3, 69, 73, 77
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
TROUBLE = (OSError, ValueError, ImportError, http.client.HTTPException)  # bad networks, addresses, pages; no ssl


def main() -> None:
    """Leave uv in the directory given as the only argument."""
    directory = Path(sys.argv[1])
    pins = json.loads(PINS.read_text(encoding="utf-8"))
    fitting = pinned_wheels(pins["wheels"], platform.system(), platform.machine(), platform.libc_ver()[0])
    try:
        directory.mkdir(parents=True, exist_ok=True)
        wheel, trouble, status = lying_in(directory, fitting), "", 0
        if wheel is None:
            wheel, trouble, status = fetch(fitting, directory)
        if wheel is None:
            ask_pip(directory, pins["version"])
            wheel = lying_in(directory, fitting)
        if wheel is None:
            stop(status, trouble)
        take_out(wheel, directory)
    except OSError as error:
        stop(CANNOT_CREATE, "cannot write to {}: {}; free some space or allow it".format(directory, error.strerror))


def pinned_wheels(wheels: List[Pin], system: str, machine: str, libc: str) -> List[Pin]:
    """Return the pinned wheels that run on this kind of machine, best first. ``libc`` is empty for musl."""
    same = [wheel for wheel in wheels if (wheel["system"], wheel["machine"]) == (system, machine)]
    fitting = [wheel for wheel in same if wheel["libc"] in (libc or "musl", None)]
    if not fitting:
        stop(NO_INDEX_CONFIGURED, "no uv is pinned for {} on {}".format(system, machine))
    return fitting


def lying_in(directory: Path, fitting: List[Pin]) -> Optional[Pin]:
    """Return the wheel that is in the directory already."""
    return next((wheel for wheel in fitting if (directory / wheel["filename"]).is_file()), None)


def fetch(fitting: List[Pin], directory: Path) -> Tuple[Optional[Pin], str, int]:
    """Fetch a fitting wheel into the directory; return which, or else why not and the exit status for it."""
    settings = read_local(os.environ)
    env = {**os.environ, **uv_environment(settings, os.environ)}
    web = Web(env, settings.trusted_hosts)
    names = {wheel["filename"]: wheel for wheel in fitting}
    troubles: List[str] = []
    for is_index, place in places(settings, env):
        try:
            found = patiently(partial(web.fetch, place, is_index, names, directory))
        except TROUBLE as error:
            if getattr(error, "errno", None) in NO_ROOM:
                raise
            reason = error if hasattr(error, "code") else getattr(error, "reason", error)
            troubles.append("{}: {}".format(without_login(place), reason))
            continue
        if found:
            return names[found], "", 0
        troubles.append("not at {}".format(without_login(place)))
    named = settings.no_index or env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL")
    message = "cannot fetch {}: {}; check the network and pip's settings: index, proxy, certificate"
    message = message.format(fitting[0]["filename"], "; ".join(troubles) or "no package index is named")
    return None, message, UNREACHABLE if named else NO_INDEX_CONFIGURED


def ask_pip(directory: Path, version: str) -> None:
    """Let pip fetch the wheel where there is one: it knows more ways to log in, and more certificates."""
    quiet = partial(subprocess.call, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    python = sys.executable
    if not can_import("pip"):
        python = str(directory / "pip" / "bin" / "python")
        if not can_import("ensurepip") or quiet([sys.executable, "-m", "venv", str(directory / "pip")]) != 0:
            return
    options = "-qq --no-input --no-cache-dir --disable-pip-version-check --no-deps --only-binary :all: --retries 0"
    argv = [python, "-m", "pip", "download", *options.split(), "--dest", str(directory), "uv==" + version]
    # pip asks rustc for its version, and rustc may be a stub that writes to the user's home
    quiet(argv, env={**os.environ, "RUSTUP_HOME": str(directory / "rustup"), "PIP_REQUIRE_VIRTUALENV": "0"})


def can_import(name: str) -> bool:
    """Return whether this Python has a module."""
    try:
        importlib.import_module(name)
    except ImportError:
        return False
    return True


def places(settings: PackageSettings, env: Mapping[str, str]) -> Iterator[Tuple[bool, str]]:
    """Yield ``(is an index, place)``: links first, then indexes. ``env`` says it in uv's words."""
    for place in filter(None, env.get("UV_FIND_LINKS", "").split(",")):
        yield False, place
    if settings.no_index:
        return
    default = env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL") or default_index() or ""
    for place in [default, *env.get("UV_INDEX", "").split(), *env.get("UV_EXTRA_INDEX_URL", "").split()]:
        if place:
            yield True, re.sub("^[A-Za-z0-9_.-]+=", "", place)  # uv's indexes may have names


def default_index() -> Optional[str]:
    """Return the index that this Python's pip asks when nobody names another; ``None`` without pip."""
    try:
        index: str = importlib.import_module("pip._internal.models.index").PyPI.simple_url
    except (ImportError, AttributeError):
        return None
    return index


def patiently(action: Callable[[], T]) -> T:
    """Do something on the network, and once more where it failed for what may pass."""
    try:
        return action()
    except (OSError, http.client.HTTPException) as error:
        if getattr(error, "code", 500) < 500 or getattr(error, "errno", None) in NO_ROOM:
            raise
        time.sleep(PAUSE_S)
        return action()


def take_out(wheel: Pin, directory: Path) -> None:
    """Check the wheel in the directory and put its program beside it in one step."""
    path, staged = directory / wheel["filename"], directory / ".uv.{}".format(os.getpid())
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != wheel["sha256"]:
        path.unlink()
        message = "refused: {} is not the pinned file: its SHA-256 is {}, pinned is {}; nothing of it was kept"
        stop(REFUSED, message.format(path.name, found, wheel["sha256"]))
    with zipfile.ZipFile(str(path)) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".data/scripts/uv"))
        staged.write_bytes(archive.read(member))
    staged.chmod(0o755)
    staged.replace(directory / "uv")


def stop(status: int, message: str) -> NoReturn:
    """End with one line on stderr."""
    sys.stderr.write(message + "\n")
    sys.exit(status)


if __name__ == "__main__":
    main()
