"""The whole way on a real minimal Debian: a Python without pip, venv and ensurepip, no libgomp, no certificates.

The system is made once by debootstrap and kept (``FABRIC_TEST_CACHE``, else the system's temporary directory). It is
entered in namespaces of its own, so that whatever happens there ends with the test.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.checkout import copy_checkout
from tests.e2e.test_bootstrap import default_index

RELEASE = "bookworm"
TOOLS = ("debootstrap", "unshare", "mount", "chroot")
ENTER = """
mount -t proc proc "$0/proc" && mount --bind /dev "$0/dev" &&
exec chroot "$0" /usr/bin/env -i PATH=/usr/bin:/bin HOME=/home/newcomer "$@"
"""
VISIT = """
python3 -c 'import pip' 2>/dev/null || python3 -c 'import ensurepip' 2>/dev/null || echo "neither pip nor ensurepip"
cd /
"/home/newcomer/my checkout/bootstrap.sh" --port 0 && echo "first $?"
"/home/newcomer/my checkout/bootstrap.sh" && echo "second $?"
"/home/newcomer/my checkout/bootstrap.sh" uninstall && echo "uninstall $?"
"""


@pytest.fixture(scope="module")
def debian() -> Path:
    """The root of a minimal Debian with ``python3``."""
    if sys.platform != "linux" or os.getuid() != 0:
        pytest.skip("only root on Linux can enter another system")
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    missing = [tool for tool in TOOLS if not shutil.which(tool, path=path)]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")
    kept = Path(os.environ.get("FABRIC_TEST_CACHE") or tempfile.gettempdir())
    root = kept / f"fabric-test-debian-{RELEASE}"
    if not (root / "whole").exists():
        shutil.rmtree(root, ignore_errors=True)
        argv = ["debootstrap", "--variant=minbase", "--include=python3", RELEASE, str(root)]
        done = subprocess.run(argv, capture_output=True, text=True, check=False, env={**os.environ, "PATH": path})
        if done.returncode:
            pytest.skip(f"debootstrap failed: {' '.join((done.stdout + done.stderr).splitlines()[-2:])}")
        (root / "whole").touch()
    return root


@pytest.fixture
def newcomers_debian(debian: Path) -> Iterator[Path]:
    """The same with a checkout, name resolution, and a pip configuration that names an index."""
    copy_checkout(debian / "home" / "newcomer" / "my checkout")
    for name in ("resolv.conf", "hosts"):
        shutil.copyfile(f"/etc/{name}", debian / "etc" / name)
    configuration = f"[global]\nindex-url = {default_index()}\n"
    certificate = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE") or "/etc/ssl/certs/ca-certificates.crt"
    if Path(certificate).is_file():
        shutil.copyfile(certificate, debian / "etc" / "company.pem")
        configuration += "cert = /etc/company.pem\n"
    (debian / "etc" / "pip.conf").write_text(configuration, encoding="utf-8")
    yield debian
    shutil.rmtree(debian / "home" / "newcomer")


def files_of(root: Path) -> set[str]:
    """Return all paths of a system, but Python's own bytecode."""
    return {str(path) for path in root.rglob("*") if "__pycache__" not in path.parts}


@pytest.mark.engine
@pytest.mark.timeout(900)
def test_from_a_bare_python_to_a_served_model_and_back(newcomers_debian: Path) -> None:
    before = files_of(newcomers_debian)
    enter = ["unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child"]
    done = subprocess.run(
        [*enter, "sh", "-c", ENTER, str(newcomers_debian), "sh", "-c", VISIT],
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    lines = done.stdout.splitlines()
    assert lines[0] == "neither pip nor ensurepip"
    assert [line for line in lines if line.startswith(("first", "second", "uninstall"))] == [
        "first 0",
        "second 0",
        "uninstall 0",
    ], said
    assert sum(line.startswith("base_url  http://127.0.0.1:") for line in lines) == 2, said
    assert "Nothing to change." in lines, said
    assert files_of(newcomers_debian) == before
