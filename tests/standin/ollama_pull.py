"""How the stand-in fetches a model from a registry on loopback: upstream's requests, texts, partial files and order."""

from __future__ import annotations

import hashlib
import http.client
import json
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.standin.ollama_disk import MANIFEST, Disk, Name, RefusalError

Tell = Callable[[dict[str, Any]], None]
LOOPBACK = ("127.0.0.1", "localhost")
CHUNK_BYTES = 1 << 14
TRIES = 6
TIMEOUT_S = 30.0
_downloads: dict[str, threading.Lock] = {}


class PullError(Exception):
    """What the stream tells as ``{"error": …}``."""


class Pull:
    """One pull. ``tell`` sends a line to the client, and raises ``OSError`` where the client has gone."""

    def __init__(self, disk: Disk, name: Name, insecure: bool, tell: Tell) -> None:
        self.disk, self.name, self.insecure, self.tell = disk, name, insecure, tell
        self.token = ""

    def run(self) -> None:
        self.tell({"status": "pulling manifest"})
        try:
            data = self._manifest()
        except (PullError, OSError, ValueError) as error:
            raise PullError(f"pull model manifest: {error}") from error
        document = json.loads(data)
        config = document.get("config") or {}
        layers = [*document["layers"], *([config] if config.get("digest") else [])]
        old = next((kept for kept in self.disk.all() if kept.name == self.name), None)
        fresh = [layer["digest"] for layer in layers if self._download(layer["digest"])]
        self.tell({"status": "verifying sha256 digest"})
        for digest in fresh:
            self._verify(digest)
        self.tell({"status": "writing manifest"})
        self.disk.write(self.name, data)
        if old:
            self.tell({"status": "removing unused layers"})
            self.disk.remove_unused(old)
        self.tell({"status": "success"})

    def _manifest(self) -> bytes:
        path = f"/v2/{self.name.namespace}/{self.name.model}/manifests/{self.name.tag}"
        status, _, body = self._ask("GET", self.name.host, path, {"Accept": MANIFEST})
        if status == 404:
            raise PullError("file does not exist")
        if status >= 400:
            raise PullError(f"{status}: {body.decode()}")
        return body

    def _ask(self, method: str, host: str, path: str, headers: dict[str, str]) -> tuple[int, Any, bytes]:
        url = f"https://{self.name.host}{path}"
        if host.partition(":")[0] not in LOOPBACK:
            raise PullError(f'Get "{url}": dial tcp: lookup {host.partition(":")[0]}: no such host')
        if not self.insecure:
            raise PullError(f'Get "{url}": http: server gave HTTP response to HTTPS client')
        status, got, body = self._exchange(method, host, path, headers)
        if status == 401:
            self.token = self._login(host, got.get("Www-Authenticate", ""))
            status, got, body = self._exchange(method, host, path, headers)
            if status == 401:
                raise PullError("unauthorized: access denied")
        return status, got, body

    def _login(self, host: str, challenge: str) -> str:
        found = re.search(r'realm="([^"]*)"', challenge)
        realm = urlsplit(found.group(1) if found else "")
        if realm.netloc != host:
            raise PullError(f'realm host "{realm.netloc}" does not match original host "{host}"')
        status, _, body = self._exchange("GET", host, realm.path, {})
        if status >= 400:
            raise PullError(f"{status}: {body.decode()}" if body else str(status))
        return str(json.loads(body)["token"])

    def _exchange(self, method: str, host: str, path: str, headers: dict[str, str]) -> tuple[int, Any, bytes]:
        connection = http.client.HTTPConnection(host, timeout=TIMEOUT_S)
        sent = {**headers, **({"Authorization": f"Bearer {self.token}"} if self.token else {})}
        try:
            connection.request(method, path, headers={"User-Agent": "ollama/0.32.15 (amd64 linux)", **sent})
            answer = connection.getresponse()
            return answer.status, answer.headers, b"" if method == "HEAD" else answer.read()
        except (OSError, http.client.HTTPException) as error:
            raise PullError(f'{method.title()} "http://{host}{path}": {str(error) or "EOF"}') from error
        finally:
            connection.close()

    def _download(self, digest: str) -> bool:
        """Fetch one blob; ``False`` where it was there, which upstream does not hash again.

        Upstream has one download of a blob however many ask for it; here the others wait for it.
        """
        with _downloads.setdefault(digest, threading.Lock()):
            return self._download_alone(digest)

    def _download_alone(self, digest: str) -> bool:
        try:
            target = self.disk.blob(digest)
        except RefusalError as error:
            raise PullError(error.text) from error
        if target.exists():
            self._progress(digest, target.stat().st_size, target.stat().st_size)
            return False
        path = f"/v2/{self.name.namespace}/{self.name.model}/blobs/{digest}"
        part = _Part(target)
        if not part.known:
            status, headers, _ = self._ask("HEAD", self.name.host, path, {})
            if status >= 400:
                raise PullError("file does not exist" if status == 404 else f"{status}: ")
            part.begin(int(headers["Content-Length"]))
        status, headers, _ = self._ask("GET", self.name.host, path, {})
        location = headers.get("Location")
        if status not in (200, 307):
            raise PullError(f"unexpected status code {status}")
        if not location:
            raise PullError("http: no Location header in response")
        self._fetch(digest, location, part)
        part.finish()
        return True

    def _fetch(self, digest: str, location: str, part: _Part) -> None:
        trouble: Exception | None = None
        for _ in range(TRIES):
            try:
                for data in self._ranges(location, part):
                    part.write(data)
                    self._progress(digest, part.total, part.completed)
                    if part.completed == part.total:
                        return
            except http.client.HTTPException as error:
                trouble = error
            if part.completed == part.total:
                return
        raise PullError(f"max retries exceeded: {trouble or 'unexpected EOF'}")

    def _ranges(self, location: str, part: _Part) -> Iterator[bytes]:
        url = urlsplit(location)
        connection = http.client.HTTPConnection(url.netloc, timeout=TIMEOUT_S)
        try:
            connection.request("GET", url.path, headers={"Range": f"bytes={part.completed}-{part.total - 1}"})
            answer = connection.getresponse()
            while data := answer.read(CHUNK_BYTES):
                yield data
        finally:
            connection.close()

    def _progress(self, digest: str, total: int, completed: int) -> None:
        self.tell({"status": f"pulling {digest[7:19]}", "digest": digest, "total": total, "completed": completed})

    def _verify(self, digest: str) -> None:
        path = self.disk.blob(digest)
        found = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
        if found != digest:
            path.unlink()
            raise PullError(f"digest mismatch, file must be downloaded again: want {digest}, got {found}")


class _Part:
    """``<blob>-partial``, as long as the blob from the start, and ``-partial-0``, which says how much of it is true."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.file = target.with_name(f"{target.name}-partial")
        self.note = target.with_name(f"{target.name}-partial-0")
        self.known = self.note.exists()
        said = json.loads(self.note.read_bytes()) if self.known else {"Size": 0, "Completed": 0}
        self.total, self.completed = said["Size"], said["Completed"]

    def begin(self, total: int) -> None:
        self.total = total
        self._note()
        with self.file.open("wb") as file:
            file.truncate(total)

    def write(self, data: bytes) -> None:
        with self.file.open("r+b") as file:
            file.seek(self.completed)
            file.write(data[: self.total - self.completed])
        self.completed = min(self.total, self.completed + len(data))
        self._note()

    def finish(self) -> None:
        self.note.unlink()
        self.file.rename(self.target)

    def _note(self) -> None:
        said = {"N": 0, "Offset": 0, "Size": self.total, "Completed": self.completed}
        self.note.write_text(json.dumps(said), encoding="utf-8")
