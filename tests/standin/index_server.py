"""A package index on loopback that does what a test tells it to, good or bad.

It serves the pages of PEP 503 and PEP 691, wheel files with ranges, and their metadata (PEP 658). A fault
changes the answers for one file, for all (``*``) or for the pages (``/simple``); every request is recorded.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.standin.listener import Handler, Listener

JSON_PAGE = "application/vnd.pypi.simple.v1+json"
CHUNK_BYTES = 1 << 16


@dataclass
class Fault:
    """What goes wrong with one file. The first ``times`` requests for it are hit; ``None`` means all.

    ``cut_after``: the body ends after so many bytes, though the headers promise more. ``flip_at``: this byte of
    the file is another. ``status`` and ``headers``: this answer instead. ``no_ranges``: always the whole file.
    ``content_range``: this header instead of the true one. ``stall_after``: silence after so many bytes.
    ``html``: a web page instead, with status 200. ``location``: a redirect. ``bytes_per_s``: a slow line.
    """

    times: int | None = None
    cut_after: int | None = None
    flip_at: int | None = None
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    no_ranges: bool = False
    content_range: str | None = None
    stall_after: int | None = None
    html: bool = False
    location: str | None = None
    bytes_per_s: int | None = None


@dataclass(frozen=True)
class Seen:
    """One request: the method, the path and the headers (lower-case names)."""

    method: str
    path: str
    headers: dict[str, str]


class IndexServer:
    """Serves the wheels in ``files`` (name to path), each under its project's page."""

    def __init__(self, files: dict[str, Path]) -> None:
        self._published = files
        self.files = dict(files)
        self.faults: dict[str, Fault] = {}
        self.seen: list[Seen] = []
        self.released = threading.Event()
        self._hashes: dict[str, str] = {}
        self._lock = threading.Lock()
        self._listener = Listener(_Handler, self)

    @property
    def root(self) -> str:
        """The address without a path."""
        return self._listener.root

    @property
    def index_url(self) -> str:
        """What goes into ``PIP_INDEX_URL``."""
        return f"{self.root}/simple"

    def file_url(self, name: str) -> str:
        """The address of one file."""
        return f"{self.root}/files/{name}"

    def sha256(self, name: str) -> str:
        """The checksum of a file as it is on the disk, whatever its faults."""
        if name not in self._hashes:
            with self.files[name].open("rb") as file:
                digest = hashlib.sha256()
                while data := file.read(1 << 20):
                    digest.update(data)
            self._hashes[name] = digest.hexdigest()
        return self._hashes[name]

    def requests_for(self, name: str) -> list[Seen]:
        """The requests for one file so far."""
        return [seen for seen in self.seen if seen.path == f"/files/{name}"]

    def recover(self) -> None:
        """End all that a test has made go wrong: what it took away is there again, and stalled answers go on."""
        self.files = dict(self._published)
        self.faults.clear()
        self.released.set()

    def close(self) -> None:
        """Let stalled answers go and stop."""
        self.released.set()
        self._listener.stop()

    def fault_for(self, name: str) -> Fault:
        """Return the fault that hits the next answer, and count it."""
        with self._lock:
            fault = self.faults.get(name) or self.faults.get("*")
            if fault is None or fault.times == 0:
                return Fault()
            if fault.times is not None:
                fault.times -= 1
            return fault


@contextmanager
def serving(files: dict[str, Path]) -> Iterator[IndexServer]:
    """Run an index while the body runs."""
    index = IndexServer(files)
    try:
        yield index
    finally:
        index.close()


class _Handler(Handler):
    server: Listener

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        index = self.server.site
        path = unquote(self.path.partition("?")[0])
        index.seen.append(Seen(self.command, path, self.lower_headers()))
        kind, _, name = path.strip("/").partition("/")
        if kind == "simple" and name:
            self._page(name)
        elif kind == "files" and name.endswith(".metadata"):
            self._whole(metadata_of(index.files[name.removesuffix(".metadata")]), "text/plain")
        elif kind == "files" and name in index.files:
            self._file(index.files[name], index.fault_for(name))
        else:
            self._whole(b"no such page", "text/plain", 404)

    def _page(self, project: str) -> None:
        index = self.server.site
        fault = index.fault_for("/simple")
        if fault.stall_after is not None:
            index.released.wait(60)
        if fault.status:
            self._whole(b"the index is ill", "text/plain", fault.status, fault.headers)
            return
        found = {name: path for name, path in index.files.items() if _project(name) == project}
        if not found:
            self._whole(b"no such project", "text/plain", 404)
        elif JSON_PAGE in self.headers.get("Accept", ""):
            self._whole(json.dumps(_json_page(index, project, found)).encode(), JSON_PAGE)
        else:
            self._whole(_html_page(index, found).encode(), "text/html")

    def _whole(self, body: bytes, kind: str, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.answer_whole(status, body, {"Content-Type": kind, **(headers or {})})

    def _file(self, path: Path, fault: Fault) -> None:
        if fault.status or fault.location:
            headers = {**fault.headers, **({"Location": fault.location} if fault.location else {})}
            self._whole(b"not now", "text/plain", fault.status or 302, headers)
            return
        if fault.html:
            self._whole(b"<html><body>Please log in to this network.</body></html>", "text/html")
            return
        size = path.stat().st_size
        asked = None if fault.no_ranges else byte_range(self.headers.get("Range"), size)
        start, end = asked or (0, size)
        self.send_response(206 if asked else 200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(end - start))
        if asked:
            self.send_header("Content-Range", fault.content_range or f"bytes {start}-{end - 1}/{size}")
        if not fault.no_ranges:
            self.send_header("Accept-Ranges", "bytes")
        self.end_headers()
        if self.command != "HEAD":
            self._send(path, start, end, fault)

    def _send(self, path: Path, start: int, end: int, fault: Fault) -> None:
        sent = 0
        with path.open("rb") as file:
            file.seek(start)
            while start + sent < end:
                data = bytearray(file.read(min(CHUNK_BYTES, end - start - sent)))
                at = (fault.flip_at if fault.flip_at is not None else -1) - start - sent
                if 0 <= at < len(data):
                    data[at] ^= 0xFF
                for limit in (fault.cut_after, fault.stall_after):
                    if limit is not None:
                        data = data[: max(0, limit - sent)]
                self.wfile.write(data)
                sent += len(data)
                if fault.cut_after is not None and sent >= fault.cut_after:
                    self.close_connection = True
                    return
                if fault.stall_after is not None and sent >= fault.stall_after:
                    self.wfile.flush()
                    self.server.site.released.wait(60)
                    self.close_connection = True
                    return
                if fault.bytes_per_s:
                    time.sleep(len(data) / fault.bytes_per_s)


def metadata_of(wheel: Path) -> bytes:
    """Return the METADATA file of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        name = next(name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        return archive.read(name)


def _project(filename: str) -> str:
    return filename.partition("-")[0].replace("_", "-").replace(".", "-").lower()


def byte_range(header: str | None, size: int) -> tuple[int, int] | None:
    """Return (start, end) of ``bytes=A-B``, ``bytes=A-`` or ``bytes=-N``; ``None`` where there is no range."""
    if not header or not header.startswith("bytes="):
        return None
    first, _, last = header.removeprefix("bytes=").partition("-")
    if not first:
        return max(0, size - int(last)), size
    return int(first), min(size, int(last) + 1 if last else size)


def _json_page(index: IndexServer, project: str, found: dict[str, Path]) -> dict[str, Any]:
    files = [
        {
            "filename": name,
            "url": index.file_url(name),
            "hashes": {"sha256": index.sha256(name)},
            "size": path.stat().st_size,
            **_metadata_told(path),
        }
        for name, path in found.items()
    ]
    return {"meta": {"api-version": "1.1"}, "name": project, "versions": [], "files": files}


def _metadata_told(path: Path) -> dict[str, Any]:
    """Only wheels have metadata that can be had alone."""
    if path.suffix != ".whl":
        return {}
    metadata = metadata_of(path)
    asked = re.search(rb"^Requires-Python: *(\S.*?)\s*$", metadata, flags=re.MULTILINE)
    told: dict[str, Any] = {"core-metadata": {"sha256": hashlib.sha256(metadata).hexdigest()}}
    return {**told, "requires-python": asked[1].decode()} if asked else told


def _html_page(index: IndexServer, found: dict[str, Path]) -> str:
    links = (
        f'<a href="{html.escape(index.file_url(name))}#sha256={index.sha256(name)}" data-core-metadata="true">'
        f"{html.escape(name)}</a><br>"
        for name in found
    )
    return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>"
