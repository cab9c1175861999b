"""Where processes listen, and which of that was declared."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import psutil
import pytest

from provision.host.listening_sockets import ListeningSocket, listens, sockets_of
from provision.host.process import tree
from provision.serve.audit import undeclared


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "::"])  # noqa: S104 - what is looked for
def test_what_a_process_listens_on_is_found(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        listener = socket.create_server((address, 0), family=family)
    except OSError:
        pytest.skip("there is no IPv6 here")
    with listener, socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        found = sockets_of([os.getpid()])
        assert found is not None
        assert [(each.address, each.port, each.pid) for each in found if each.port == port] == [
            (address, port, os.getpid())
        ]
        assert bound.getsockname()[1] not in {each.port for each in found}, "it listens not yet"


def test_a_process_listens_on_its_own_ports_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert listens(os.getpid(), port) is True
        assert listens(os.getppid(), port) is False

        def refused(*_: object) -> None:
            raise PermissionError

        monkeypatch.setattr(os, "listdir", refused)
        assert listens(os.getpid(), port) is None


def test_a_process_that_ended_listens_nowhere() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert sockets_of([child.pid]) == ()


def test_a_tree_is_what_psutil_says_it_is() -> None:
    script = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as child:
        process = psutil.Process(child.pid)
        while not process.children(recursive=True):
            pass
        assert sorted(tree(child.pid)) == sorted([child.pid, *(each.pid for each in process.children(recursive=True))])
        child.communicate(b"\n")
    assert tree(child.pid) == []


LOOPBACK, EVERYWHERE, MAPPED = "127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1"  # noqa: S104 - what is told apart


@pytest.mark.parametrize(
    ("host", "address", "port", "inner", "is_declared"),
    [
        (LOOPBACK, LOOPBACK, 8080, False, True),
        (LOOPBACK, MAPPED, 8080, False, True),
        ("localhost", LOOPBACK, 8080, False, True),
        (LOOPBACK, LOOPBACK, 8081, False, False),
        (LOOPBACK, LOOPBACK, 8081, True, True),
        (LOOPBACK, "::1", 8081, True, True),
        (LOOPBACK, EVERYWHERE, 8080, True, False),
        (LOOPBACK, "::", 8080, True, False),
        (LOOPBACK, "192.0.2.7", 8080, True, False),
        (EVERYWHERE, "::", 8080, False, True),
        (EVERYWHERE, EVERYWHERE, 8080, False, True),
        (EVERYWHERE, EVERYWHERE, 8081, True, False),
        (EVERYWHERE, LOOPBACK, 8081, False, False),
        ("::1", "::1", 8080, False, True),
        ("192.0.2.7", EVERYWHERE, 8080, False, False),
        ("no-such-host.invalid", LOOPBACK, 8080, False, False),
        (LOOPBACK, "fe80::1%lo", 8080, True, False),
    ],
)
def test_what_was_declared(host: str, address: str, port: int, inner: bool, is_declared: bool) -> None:
    found = undeclared([ListeningSocket(address, port, 1, "server")], host, 8080, inner=inner)
    assert (found == []) is is_declared
