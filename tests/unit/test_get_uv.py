"""Getting uv with a bare Python, from places as odd as pip allows."""

from __future__ import annotations

import ast
import hashlib
import http.server
import json
import os
import platform
import shutil
import ssl
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock
from urllib.request import Request

import pytest

from provision.artifacts import bare_web, get_uv
from tests.standin.index_server import Fault, serving

PACKAGE = Path(get_uv.__file__).parent
PINS = PACKAGE.parents[1] / "profiles" / "uv.json"
PROGRAM = b"#!/bin/sh\necho uv 0.0.1\n"
WHEEL = "uv-0.0.1-py3-none-any.whl"


BASE_PYTHON = str(Path(sys.base_prefix, "bin", "python3"))


def has_pip() -> bool:
    return subprocess.run([BASE_PYTHON, "-c", "import pip"], check=False, capture_output=True).returncode == 0


@dataclass(frozen=True)
class Setup:
    """A copy of the script with a pin of its own, the wheel that fits it, and where the program shall go."""

    script: Path
    wheel: Path
    target: Path

    def run(self, **env: str) -> subprocess.CompletedProcess[str]:
        """Run the script with a bare Python and nothing else in its environment."""
        base = {"PATH": os.environ["PATH"], "PIP_CONFIG_FILE": os.devnull}
        argv = [sys.executable, "-I", "-S", "-B", str(self.script), str(self.target)]
        return subprocess.run(argv, env={**base, **env}, capture_output=True, text=True, check=False, timeout=60)

    def write_page(self, folder: Path, link: str) -> None:
        """Make a page with one link, among others, in a folder."""
        folder.mkdir(parents=True)
        page = f"<!DOCTYPE html>\n<a href='uv-0.0.0.tar.gz'>old</a>\n<A class=x\nHREF=\"{link}\">{WHEEL}</A>\n"
        (folder / "index.html").write_text(page, encoding="utf-8")


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    wheel = tmp_path / "linkß, all of them" / WHEEL
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("uv-0.0.1.data/scripts/uv", PROGRAM)
        archive.writestr("uv-0.0.1.dist-info/METADATA", "Metadata-Version: 2.1\nName: uv\nVersion: 0.0.1\n")
        archive.writestr("uv-0.0.1.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    package = tmp_path / "checkout" / "provision" / "artifacts"
    package.mkdir(parents=True)
    for name in ("get_uv.py", "bare_web.py", "pip_settings.py"):
        shutil.copy(PACKAGE / name, package / name)
    (package / "ensurepip.py").write_text("raise ImportError\n", encoding="utf-8")  # a minimal Debian has none
    pin = {
        "system": platform.system(),
        "machine": platform.machine(),
        "libc": None,
        "filename": WHEEL,
        "sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
        "size_bytes": wheel.stat().st_size,
    }
    (tmp_path / "checkout" / "profiles").mkdir()
    pins = tmp_path / "checkout" / "profiles" / "uv.json"
    pins.write_text(json.dumps({"version": "0.0.1", "wheels": [pin]}), encoding="utf-8")
    return Setup(package / "get_uv.py", wheel, tmp_path / "out")


def assert_installed(setup: Setup, done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    assert (setup.target / "uv").read_bytes() == PROGRAM
    assert os.access(setup.target / "uv", os.X_OK)
    assert sorted(path.name for path in setup.target.iterdir()) == ["uv", WHEEL], "something was left beside it"


def test_it_comes_from_an_index(setup: Setup) -> None:
    with serving({WHEEL: setup.wheel}) as index:
        assert_installed(setup, setup.run(PIP_INDEX_URL=index.index_url))


@pytest.mark.parametrize("name", ["UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL"])
def test_it_comes_from_uvs_own_index_settings(setup: Setup, name: str) -> None:
    with serving({WHEEL: setup.wheel}) as index:
        address = f"company={index.index_url}" if name == "UV_INDEX" else index.index_url
        assert_installed(setup, setup.run(**{name: address}))


def test_it_comes_from_a_folder_of_links(setup: Setup, tmp_path: Path) -> None:
    links = tmp_path / "links"  # pip splits at spaces
    shutil.copytree(setup.wheel.parent, links)
    assert_installed(setup, setup.run(PIP_FIND_LINKS=f"/nowhere/at/all {links}"))


def test_it_comes_from_a_file_address(setup: Setup) -> None:
    assert_installed(setup, setup.run(PIP_FIND_LINKS=setup.wheel.parent.as_uri()))


def test_it_comes_from_a_page_of_an_index_on_disk(setup: Setup, tmp_path: Path) -> None:
    setup.write_page(tmp_path / "simple" / "uv", f"../../{setup.wheel.parent.as_uri().rpartition('/')[2]}/{WHEEL}#x=y")
    assert_installed(setup, setup.run(PIP_INDEX_URL=(tmp_path / "simple").as_uri()))


def test_what_lies_there_already_is_not_fetched(setup: Setup) -> None:
    setup.target.mkdir()
    shutil.copy(setup.wheel, setup.target)
    assert_installed(setup, setup.run(PIP_INDEX_URL="http://127.0.0.1:9/simple"))


def test_an_index_without_it_is_passed_over(setup: Setup, tmp_path: Path) -> None:
    with serving({}) as empty, serving({WHEEL: setup.wheel}) as index:
        missing = (tmp_path / "no such index").as_uri()
        env = {"PIP_INDEX_URL": missing, "PIP_EXTRA_INDEX_URL": f"{empty.index_url} {index.index_url}"}
        assert_installed(setup, setup.run(**env))


def test_an_altered_file_is_refused_with_both_hashes(setup: Setup) -> None:
    pinned = hashlib.sha256(setup.wheel.read_bytes()).hexdigest()
    data = bytearray(setup.wheel.read_bytes())
    data[50] ^= 0xFF
    with serving({WHEEL: setup.wheel}) as index:
        index.faults[WHEEL] = Fault(flip_at=50)
        done = setup.run(PIP_INDEX_URL=index.index_url)
    assert done.returncode == get_uv.REFUSED
    assert pinned in done.stderr
    assert hashlib.sha256(data).hexdigest() in done.stderr
    assert not list(setup.target.iterdir())


@pytest.mark.parametrize("fault", [(WHEEL, Fault(times=1, cut_after=100)), ("/simple", Fault(times=1, status=503))])
def test_what_fails_once_is_tried_once_more(setup: Setup, fault: tuple[str, Fault]) -> None:
    with serving({WHEEL: setup.wheel}) as index:
        index.faults.update([fault])
        assert_installed(setup, setup.run(PIP_INDEX_URL=index.index_url))


def test_a_transfer_that_stays_broken_is_unreachable(setup: Setup) -> None:
    with serving({WHEEL: setup.wheel}) as index:
        index.faults[WHEEL] = Fault(cut_after=100)
        done = setup.run(PIP_INDEX_URL=index.index_url)
    assert done.returncode == get_uv.UNREACHABLE
    assert "cut short" in done.stderr
    assert not list(setup.target.iterdir())


def test_without_any_index_it_says_so_by_its_status(setup: Setup, tmp_path: Path) -> None:
    assert setup.run().returncode == get_uv.NO_INDEX_CONFIGURED
    assert setup.run(PIP_FIND_LINKS=str(tmp_path)).returncode == get_uv.NO_INDEX_CONFIGURED
    no_other = setup.run(PIP_FIND_LINKS=str(tmp_path), PIP_NO_INDEX="1")
    assert no_other.returncode == get_uv.UNREACHABLE, "no index is a wish, too"


def test_a_dead_index_is_one_line(setup: Setup) -> None:
    done = setup.run(PIP_INDEX_URL="http://127.0.0.1:9/simple")
    assert done.returncode == get_uv.UNREACHABLE
    assert len(done.stderr.splitlines()) == 1
    assert "http://127.0.0.1:9/simple: [Errno" in done.stderr


def test_a_place_that_cannot_be_written_is_one_line(setup: Setup) -> None:
    with serving({WHEEL: setup.wheel}) as index:
        done = replace(setup, target=setup.wheel / "below a file").run(PIP_INDEX_URL=index.index_url)
    assert done.returncode == get_uv.CANNOT_CREATE
    assert len(done.stderr.splitlines()) == 1


def test_a_password_in_the_address_is_sent_and_not_shown(setup: Setup) -> None:
    with serving({WHEEL: setup.wheel}) as index:
        address = index.index_url.replace("http://", "http://user:s3cr%40t@")
        assert_installed(setup, setup.run(PIP_INDEX_URL=address))
        assert {seen.headers["authorization"] for seen in index.seen} == {"Basic dXNlcjpzM2NyQHQ="}
    done = setup.run(PIP_INDEX_URL="http://user:s3cr%40t@127.0.0.1:9/simple", UV_INDEX=str(setup.target / "no"))
    assert done.returncode == 0, "the wheel was there"
    shutil.rmtree(setup.target)
    done = setup.run(PIP_INDEX_URL="http://user:s3cr%40t@127.0.0.1:9/simple")
    assert "s3cr" not in done.stderr
    assert "127.0.0.1:9" in done.stderr


@pytest.mark.skipif(not has_pip(), reason="the interpreter behind this environment has no pip")
def test_pip_helps_where_the_index_wants_a_login_that_only_pip_knows(setup: Setup, tmp_path: Path) -> None:
    (tmp_path / ".netrc").write_text("machine 127.0.0.1 login user password s3cret\n", encoding="utf-8")
    (tmp_path / ".netrc").chmod(0o600)
    asked: list[str] = []
    with answering(partial(LoginRequired, folder=setup.wheel.parent, asked=asked)) as port:
        env = {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": f"http://127.0.0.1:{port}/simple", "HOME": str(tmp_path)}
        assert setup.run(**env).returncode == get_uv.UNREACHABLE
        argv = [BASE_PYTHON, "-I", "-B", str(setup.script), str(setup.target)]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert (setup.target / "uv").read_bytes() == PROGRAM
    assert asked[-1] == f"/simple/uv/{WHEEL}"


class Proxy(http.server.BaseHTTPRequestHandler):
    """Answers for every host, as a proxy does, from a folder."""

    def __init__(self, *arguments: Any, folder: Path, asked: list[str]) -> None:
        self.folder, self.asked = folder, asked
        super().__init__(*arguments)

    def log_message(self, *_: Any, **__: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.asked.append(self.path)
        name = self.path.rpartition("/")[2]
        body = (self.folder / name).read_bytes() if name else f'<a href="{WHEEL}">it</a>'.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(body)


@contextmanager
def answering(handler: Any, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve on loopback; yield the port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a refused certificate is meant
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class LoginRequired(Proxy):
    """Answers only who gives a password."""

    def do_GET(self) -> None:
        if "Authorization" in self.headers:
            super().do_GET()
        else:
            self.send_response(401)
            self.send_header("WWW-Authenticate", 'Basic realm="company"')
            self.end_headers()


def test_pips_proxy_is_asked_rather_than_the_machines(setup: Setup) -> None:
    asked: list[str] = []
    with answering(partial(Proxy, folder=setup.wheel.parent, asked=asked)) as port:
        env = {"PIP_INDEX_URL": "http://index.invalid/simple", "PIP_PROXY": f"http://127.0.0.1:{port}"}
        assert_installed(setup, setup.run(**env, HTTP_PROXY="http://127.0.0.1:9"))
    assert asked == ["http://index.invalid/simple/uv/", f"http://index.invalid/simple/uv/{WHEEL}"]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a certificate authority and a certificate for localhost."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not here to make certificates")
    folder = tmp_path_factory.mktemp("authority")
    extensions = "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\nauthorityKeyIdentifier=keyid\n"
    (folder / "extensions").write_text(extensions, encoding="utf-8")
    usage = "-addext keyUsage=critical,keyCertSign"  # from Python 3.13 on certificates are checked to the letter
    for line in (
        f"req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=authority {usage}",
        "req -newkey rsa:2048 -nodes -keyout key.pem -out request.pem -subj /CN=localhost",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out cert.pem",
    ):
        subprocess.run([openssl, *line.split()], cwd=folder, check=True, capture_output=True)
    return folder


def test_pips_certificate_and_trusted_hosts_open_https(setup: Setup, authority: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "cert.pem", authority / "key.pem")
    with answering(partial(Proxy, folder=setup.wheel.parent, asked=[]), context) as port:
        index = {"PIP_INDEX_URL": f"https://localhost:{port}/simple"}
        refused = setup.run(**index)
        assert refused.returncode == get_uv.UNREACHABLE
        assert "certificate verify failed" in refused.stderr
        missing = setup.run(**index, PIP_CERT="/no/such.pem")
        assert "the certificate /no/such.pem is not there" in missing.stderr
        assert_installed(setup, setup.run(**index, PIP_TRUSTED_HOST="localhost"))
        shutil.rmtree(setup.target)
        other = str(authority / "cert.pem")
        assert_installed(setup, setup.run(**index, PIP_CERT=str(authority / "ca.pem"), SSL_CERT_FILE=other))


def test_a_login_for_https_is_not_sent_by_http_and_no_page_is_read_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    class Opener:
        def open(self, request: Request, timeout: float) -> Any:
            asked.append((request.full_url, request.unredirected_hdrs.get("Authorization")))
            return answer

    asked: list[tuple[str, str | None]] = []
    answer = MagicMock()
    answer.__enter__.return_value = answer
    answer.headers.get_content_type.return_value = "application/json"
    answer.read.return_value = b"{}"
    monkeypatch.setattr("urllib.request.build_opener", lambda *_: Opener())
    web = bare_web.Web({}, ())
    web.open("https://me:word@index.example/simple/uv/")
    web.open("https://index.example/uv.whl")
    web.open("http://index.example/uv.whl")
    login = "Basic bWU6d29yZA=="
    assert [told for _, told in asked] == [login, login, None]
    web.read_page("https://index.example/simple/uv/", "uv.whl")
    answer.read.assert_called_once_with(bare_web.MAX_BYTES)


PAGE = '<base href="https://files.example/a/"><a href="b%2Bc/uv-1+x.whl?token=1&amp;s=2#sha256=0">uv-1+x.whl</a>'


@pytest.mark.parametrize(
    ("page", "kind", "filename", "expected"),
    [
        (PAGE, "text/html", "uv-1+x.whl", "https://files.example/a/b%2Bc/uv-1+x.whl?token=1&s=2#sha256=0"),
        (PAGE, "text/html", "uv-1+x.wh", None),
        (
            '{"files": [{"url": "../uv-1%2Bx.whl", "filename": "?"}]}',
            "application/x+json",
            "uv-1+x.whl",
            "../uv-1%2Bx.whl",
        ),
        ("{}", "application/json", "uv-1+x.whl", None),
        ("", "text/html", "uv-1+x.whl", None),
    ],
)
def test_links_are_found_by_file_name(page: str, kind: str, filename: str, expected: str | None) -> None:
    assert bare_web.find_link(page, kind, filename) == expected


@pytest.mark.parametrize(
    ("system", "machine", "libc", "fitting"),
    [
        ("Linux", "x86_64", "glibc", ["manylinux_2_17_x86_64.manylinux2014_x86_64"]),
        ("Linux", "x86_64", "", ["musllinux_1_1_x86_64"]),
        ("Linux", "aarch64", "", ["manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64"]),
        (
            "Linux",
            "aarch64",
            "glibc",
            ["manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64", "manylinux_2_28_aarch64"],
        ),
        ("Darwin", "arm64", "", ["macosx_11_0_arm64"]),
        ("Darwin", "x86_64", "", ["macosx_10_12_x86_64"]),
    ],
)
def test_every_platform_has_its_wheel(system: str, machine: str, libc: str, fitting: list[str]) -> None:
    pins = json.loads(PINS.read_text(encoding="utf-8"))
    found = get_uv.pinned_wheels(pins["wheels"], system, machine, libc)
    assert [wheel["filename"] for wheel in found] == [f"uv-{pins['version']}-py3-none-{tags}.whl" for tags in fitting]


def test_a_platform_without_a_pin_goes_on_without(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        get_uv.pinned_wheels(json.loads(PINS.read_text(encoding="utf-8"))["wheels"], "Linux", "m68k", "glibc")
    assert ended.value.code == get_uv.NO_INDEX_CONFIGURED
    assert "no uv is pinned for Linux on m68k" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["get_uv.py", "bare_web.py", "pip_settings.py"])
def test_what_runs_before_anything_is_installed_is_old_python(name: str) -> None:
    tree = ast.parse((PACKAGE / name).read_text(encoding="utf-8"), feature_version=(3, 8))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in imported} <= {
        *sys.stdlib_module_names,
        "provision",
        "bare_web",
        "pip_settings",
    }
