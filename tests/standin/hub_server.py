"""The hub, Ollama's registry and GitHub's releases on loopback, as documented, with a CDN on a port of its own.

Large files are redirected to the CDN, as all three do. ``scripted`` replaces the answer of a path, for what goes
wrong; every request to either port is recorded.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from tests.standin.index_server import byte_range
from tests.standin.listener import Handler, Listener

LARGE = (".gguf", ".safetensors", ".bin", ".model")
HF_TOKEN = "hf_theRightOne"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"


@dataclass(frozen=True)
class Request:
    """One request: which of the two answered, the method, the path with its query, the headers in lower case."""

    site: str
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class Answer:
    """What is sent instead."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    media_type: str = "application/json"


@dataclass
class Repository:
    """A repository of the hub, at one commit under several names."""

    files: dict[str, Path]
    commit: str
    names: tuple[str, ...] = ("main",)
    gated: bool = False
    card: dict[str, Any] = field(default_factory=dict)


@dataclass
class Release:
    """A release of GitHub's."""

    tag: str
    assets: dict[str, bytes]
    prerelease: bool = True
    has_digests: bool = True


class HubServer:
    """All three sites under one address, ``root``."""

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.manifests: dict[str, bytes] = {}
        self.releases: dict[str, list[Release]] = {}
        self.blobs: dict[str, bytes] = {}
        self.scripted: dict[str, Answer] = {}
        self.registry_realm: str | None = None
        self.sends_ranges = True
        self.seen: list[Request] = []
        self._servers = [Listener(type("Site", (_Handler,), {"hub": self, "name": name})) for name in ("site", "cdn")]
        self.root, self.cdn = (server.root for server in self._servers)

    def add_repository(self, name: str, directory: Path, **more: Any) -> Repository:
        """Publish the files under ``directory``; the commit follows from their content."""
        files = {str(path.relative_to(directory)): path for path in sorted(directory.rglob("*")) if path.is_file()}
        content = b"".join(key.encode() + path.read_bytes() for key, path in files.items())
        found = self.repositories[name] = Repository(
            files, hashlib.sha1(content, usedforsecurity=False).hexdigest(), **more
        )
        return found

    def add_ollama(self, name: str, layers: list[tuple[str, bytes]]) -> dict[str, Any]:
        """Publish ``NAMESPACE/NAME:TAG`` made of layers, each a kind and its bytes; return the manifest."""
        place, _, tag = name.partition(":")
        config = json.dumps({"model_format": "gguf", "model_family": "llama"}).encode()
        manifest = {
            "schemaVersion": 2,
            "mediaType": DOCKER_MANIFEST,
            "config": self._blob(DOCKER_CONFIG, config),
            "layers": [self._blob(f"application/vnd.ollama.image.{kind}", data) for kind, data in layers],
        }
        self.manifests[f"/v2/{place}/manifests/{tag}"] = json.dumps(manifest).encode()
        return manifest

    def _blob(self, media_type: str, data: bytes) -> dict[str, Any]:
        digest = hashlib.sha256(data).hexdigest()
        self.blobs[digest] = data
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    def add_release(self, repository: str, tag: str, assets: dict[str, bytes], **more: Any) -> Release:
        """Publish a release; the one that is added last is the newest."""
        release = Release(tag, assets, **more)
        self.releases.setdefault(repository, []).insert(0, release)
        return release

    def requests(self, path: str, site: str = "site") -> list[Request]:
        """Return the requests to one path, whatever their query."""
        return [each for each in self.seen if each.site == site and each.path.partition("?")[0] == path]

    def tokens_seen(self, site: str) -> set[str]:
        """Return every Authorization that a site was shown."""
        return {
            each.headers["authorization"] for each in self.seen if each.site == site and "authorization" in each.headers
        }

    def close(self) -> None:
        for server in self._servers:
            server.stop()


@contextmanager
def serving_hub() -> Iterator[HubServer]:
    """Run the sites while the body runs."""
    hub = HubServer()
    try:
        yield hub
    finally:
        hub.close()


def model_info(name: str, repository: Repository) -> dict[str, Any]:
    """Return what the hub's API says of a repository when it is asked with ``blobs=true``."""
    return {
        "_id": "6583c4", "id": name, "modelId": name, "sha": repository.commit, "private": False,
        "gated": "manual" if repository.gated else False, "disabled": False, "tags": ["gguf", "region:us"],
        "cardData": repository.card, "siblings": [sibling(path, file) for path, file in repository.files.items()],
    }  # fmt: skip


def sibling(path: str, file: Path) -> dict[str, Any]:
    """Return one file as the hub lists it."""
    data = file.read_bytes()
    row = {"rfilename": path, "size": len(data), "blobId": git_blob(data)}
    if path.endswith(LARGE):
        sha256 = hashlib.sha256(data).hexdigest()
        pointer = f"version https://git-lfs.github.com/spec/v1\noid sha256:{sha256}\nsize {len(data)}\n".encode()
        row["blobId"] = git_blob(pointer)
        row["lfs"] = {"sha256": sha256, "size": len(data), "pointerSize": len(pointer)}
    return row


def tree_entry(row: dict[str, Any]) -> dict[str, Any]:
    """Return one file as the hub's other listing has it, which its own client reads."""
    entry = {"type": "file", "path": row["rfilename"], "size": row["size"], "oid": row["blobId"]}
    if large := row.get("lfs"):
        entry["lfs"] = {"oid": large["sha256"], "size": large["size"], "pointerSize": large["pointerSize"]}
    return entry


def git_blob(data: bytes) -> str:
    """Return git's name of some content."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def release_info(repository: str, release: Release, root: str) -> dict[str, Any]:
    """Return a release as GitHub's API describes it."""
    return {
        "tag_name": release.tag, "name": release.tag, "draft": False, "prerelease": release.prerelease,
        "assets": [
            {
                "name": name, "state": "uploaded", "size": len(data), "content_type": "application/gzip",
                "digest": f"sha256:{hashlib.sha256(data).hexdigest()}" if release.has_digests else None,
                "browser_download_url": f"{root}/{repository}/releases/download/{release.tag}/{name}",
            }
            for name, data in release.assets.items()
        ],
    }  # fmt: skip


class _Handler(Handler):
    hub: HubServer
    name: str

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.seen.append(Request(self.name, self.command, self.path, self.lower_headers()))
        path = unquote(self.path.partition("?")[0])
        parts = path.strip("/").split("/")
        scripted = self.hub.scripted.get(path)
        if scripted:
            self._send(scripted)
        elif self.name == "cdn":
            self._bytes(self.hub.blobs[parts[-1]], {"ETag": f'"{parts[-1]}"'})
        else:
            self._site(path, parts)

    def _site(self, path: str, parts: list[str]) -> None:
        if parts[:2] == ["api", "models"] and parts[4:5] == ["tree"]:
            self._tree("/".join(parts[2:4]), "/".join(parts[5:]))
        elif parts[:2] == ["api", "models"]:
            self._model_info("/".join(parts[2:4]), "/".join(parts[5:]) or "main")
        elif parts[0] == "v2":
            self._registry(path, parts)
        elif parts[0] == "repos":
            self._release(f"{parts[1]}/{parts[2]}", parts[3:])
        elif parts[2:4] == ["releases", "download"]:
            self._asset(f"{parts[0]}/{parts[1]}", parts[4], parts[5])
        elif parts[2:3] == ["resolve"]:
            self._resolve("/".join(parts[:2]), parts[3], "/".join(parts[4:]))
        elif parts[:2] == ["cache", "models"]:
            repository = self.hub.repositories["/".join(parts[2:4])]
            data = repository.files["/".join(parts[4:])].read_bytes()
            self._bytes(data, {"X-Repo-Commit": repository.commit, "ETag": f'"{git_blob(data)}"'})
        else:
            self._send(Answer(404, b"Not Found", media_type="text/plain"))

    def _repository(self, name: str, revision: str) -> Repository | None:
        """Return a repository, or answer that there is none."""
        repository = self.hub.repositories.get(name)
        if repository is None:
            error = b'{"error":"Invalid username or password."}'
            self._send(Answer(401, error, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"}))
        elif revision not in (*repository.names, repository.commit):
            error = json.dumps({"error": f"Invalid rev id: {revision}"}).encode()
            self._send(Answer(404, error, {"X-Error-Code": "RevisionNotFound"}))
            return None
        return repository

    def _model_info(self, name: str, revision: str) -> None:
        if repository := self._repository(name, revision):
            self._send(Answer(200, json.dumps(model_info(name, repository)).encode()))

    def _tree(self, name: str, revision: str) -> None:
        if repository := self._repository(name, revision):
            rows = [tree_entry(sibling(path, file)) for path, file in repository.files.items()]
            self._send(Answer(200, json.dumps(rows).encode()))

    def _resolve(self, name: str, revision: str, path: str) -> None:
        repository = self._repository(name, revision)
        if repository is None:
            return
        commit = {"X-Repo-Commit": repository.commit}
        token = self.headers.get("Authorization")
        if repository.gated and token != f"Bearer {HF_TOKEN}":
            self._send(Answer(403 if token else 401, b"Access is restricted", {"X-Error-Code": "GatedRepo"}))
        elif path not in repository.files:
            self._send(Answer(404, b"Entry not found", {"X-Error-Code": "EntryNotFound", **commit}))
        elif path.endswith(LARGE):
            data = repository.files[path].read_bytes()
            digest = hashlib.sha256(data).hexdigest()
            self.hub.blobs[digest] = data
            linked = {"X-Linked-Size": str(len(data)), "X-Linked-ETag": f'"{digest}"', "ETag": f'"{digest}"'}
            self._send(Answer(302, headers={**commit, **linked, "Location": f"{self.hub.cdn}/x/{digest}?sig=1"}))
        else:
            etag = {"ETag": f'"{git_blob(repository.files[path].read_bytes())}"'}
            self._send(Answer(307, headers={**commit, **etag, "Location": f"/cache/models/{name}/{quote(path)}"}))

    def _registry(self, path: str, parts: list[str]) -> None:
        hub = self.hub
        if hub.registry_realm and self.headers.get("Authorization") != "Bearer anybody":
            challenge = f'Bearer realm="{hub.registry_realm}",service="registry",scope="repository:{parts[2]}:pull"'
            self._send(Answer(401, b'{"errors":[{"code":"UNAUTHORIZED"}]}', {"WWW-Authenticate": challenge}))
        elif path in hub.manifests:
            self._send(Answer(200, hub.manifests[path], media_type=DOCKER_MANIFEST))
        elif parts[-2] == "blobs" and parts[-1].removeprefix("sha256:") in hub.blobs:
            self._send(Answer(307, headers={"Location": f"{hub.cdn}/x/{parts[-1].removeprefix('sha256:')}?sig=1"}))
        else:
            self._send(Answer(404, b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'))

    def _release(self, repository: str, what: list[str]) -> None:
        hub = self.hub
        rows = [(each.tag, release_info(repository, each, hub.root)) for each in hub.releases.get(repository, [])]
        found: Any = next((row for tag, row in rows if what[1:] == ["tags", tag]), None)
        if what == ["releases"] and rows:
            found = [row for _, row in rows]
        body = {"message": "Not Found", "status": "404"} if found is None else found
        self._send(Answer(404 if found is None else 200, json.dumps(body).encode()))

    def _asset(self, repository: str, tag: str, name: str) -> None:
        hub = self.hub
        data = next((each.assets[name] for each in hub.releases[repository] if each.tag == tag), b"")
        digest = hashlib.sha256(data).hexdigest()
        hub.blobs[digest] = data
        self._send(Answer(302, headers={"Location": f"{hub.cdn}/x/{digest}?sig=1"}))

    def _bytes(self, data: bytes, headers: dict[str, str]) -> None:
        asked = byte_range(self.headers.get("Range"), len(data)) if self.hub.sends_ranges else None
        start, end = asked or (0, len(data))
        headers = {**headers, "Accept-Ranges": "bytes"}
        if asked:
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(data)}"
        self._send(Answer(206 if asked else 200, data[start:end], headers, "application/octet-stream"))

    def _send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        own = {"Content-Type": answer.media_type, "Content-Length": str(len(answer.body))}
        for name, value in {**own, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)
