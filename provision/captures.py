"""Taking this machine along: a redacted capture of what was read, and the bundle that a bug report needs."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from provision import __version__
from provision.domain.facts import Facts
from provision.domain.frozen import frozen
from provision.errors import RefusedError
from provision.facts.detect import detect
from provision.host.capture import CapturingMachine
from provision.host.capture_files import encode
from provision.host.layout import Layout
from provision.host.machine import Machine
from provision.host.reading import read_private
from provision.host.redaction import Identity, Redactor, read_identity
from provision.host.secret import stored_key
from provision.serve.observation import Server

LOG_LINES = 200
CAPTURE = "capture"


@frozen
class Taken:
    """The facts of a machine, the files of a redacted capture of it, and what redacts all else in the same way."""

    facts: Facts
    files: Mapping[str, bytes]
    redactor: Redactor


def take(machine: Machine, layout: Layout, env: Mapping[str, str]) -> Taken:
    """Detect ``machine`` and keep what was read. ``env`` tells what must not be told of this user."""
    capturing = CapturingMachine(machine)
    facts = detect(capturing, str(layout.prefix))
    redactor = Redactor(_identity(layout, env))
    note = f"Captured by fabric {__version__}; names, addresses and serial numbers are taken out."
    capture = capturing.capture(str(layout.prefix), note).redacted(redactor)
    return Taken(facts, encode(capture), redactor)


def bundle_files(taken: Taken, layout: Layout, documents: Mapping[str, Mapping[str, Any]]) -> dict[str, bytes]:
    """Return what a bug report holds: the capture, ``documents`` by their verb, the server's state and log."""
    files = {f"{CAPTURE}/{name}": data for name, data in taken.files.items()}
    version = {"fabric": __version__, "python": platform.python_version()}
    for name, document in {"fabric": version, **documents}.items():
        schema = f"fabric.{name}/v1"
        files[f"{name}.json"] = _json({"schema": schema, **taken.redactor.document(msgspec.to_builtins(document))})
    return {**files, **_server_files(taken.redactor, layout)}


def _server_files(redactor: Redactor, layout: Layout) -> dict[str, bytes]:
    """Return what the server left in the prefix; what is damaged is told as it is, without its secrets."""
    log = "\n".join(Server(layout, None).log.last_lines(LOG_LINES)).encode()
    found = {"state.json": _read(layout.state), "runtime.json": _read(layout.runtime), "server.log": log}
    # Only words for people are taken out here: the sums of released files are no secret, and tell which they are.
    return {
        f"server/{name}": redactor.text(data.decode("utf-8", "replace")).encode()
        for name, data in found.items()
        if data
    }


def _read(path: Path) -> bytes:
    try:
        return read_private(path) or b""
    except OSError as error:
        return f"cannot be read: {error.strerror}".encode()
    except RefusedError as error:
        return f"not read: {error.message}".encode()


def _json(document: Any) -> bytes:
    return json.dumps(document, indent=2, default=str).encode() + b"\n"


def _identity(layout: Layout, env: Mapping[str, str]) -> Identity:
    identity, key = read_identity(env), stored_key(layout)
    return replace(identity, secrets=(*identity.secrets, key)) if key else identity
