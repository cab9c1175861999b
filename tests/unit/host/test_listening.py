"""Who listens on this machine, by the kernel's own tables, against sockets that were opened for it."""

from __future__ import annotations

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provision.domain.server import INSTANCE_VARIABLE
from provision.host import listening, ports, socket_table
from provision.host.listening import Listener, listeners
from provision.host.socket_table import TcpSocket

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def row(address: str, port: int, state: str = "0A") -> str:
    return (
        f"   0: {address}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 1 1\n"
    )


ADDRESSES = {
    "127.0.0.1": True,
    "127.3.2.1": True,
    "0.0.0.0": True,  # noqa: S104 - not a bind
    "192.168.1.7": False,
    "1.0.0.127": False,
    "::": True,
    "::1": True,
    "::2": False,
    "::ffff:127.0.0.1": True,
    "::ffff:192.168.1.7": False,
    "2001:db8::1": False,
    "100::": False,
}


def packed(address: str) -> bytes:
    return socket.inet_pton(socket.AF_INET6 if ":" in address else socket.AF_INET, address)


@pytest.mark.parametrize(("address", "reached"), ADDRESSES.items())
def test_only_what_loopback_reaches_counts(address: str, reached: bool) -> None:
    data = packed(address)
    words = [int.from_bytes(data[at : at + 4], sys.byteorder) for at in range(0, len(data), 4)]
    table = HEADER + row("".join(f"{word:08X}" for word in words), 11434)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    told = struct.pack(">BBBBHH16s", family, 10, 0, 0, 11434, 0, data) + struct.pack("=44xI", 1)
    found = TcpSocket(data, 11434, 1)
    assert [*socket_table.listed(table), socket_table.entry(told)] == [found, found]
    assert listening.by_loopback(found.address) is reached


def test_connections_are_no_listeners() -> None:
    table = HEADER + row("0100007F", 80, "01") + row("0100007F", 8080) + row("0100007F", 81, "06")
    assert [each.port for each in socket_table.listed(table)] == [8080]


@given(st.text() | st.text().map(lambda text: HEADER + text) | st.from_regex(r"x\n0: [0-9A-F]*:\S* \S+ 0A( \S*){7}"))
def test_no_table_is_too_strange(text: str) -> None:
    assert all(each.port >= 0 for each in socket_table.listed(text))


@pytest.fixture
def opened() -> Iterator[dict[str, int]]:
    with ExitStack() as stack:
        found = {}
        for host in ("127.0.0.1", "0.0.0.0", "::1", "::"):  # noqa: S104 - closed again at once
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            try:
                listener = stack.enter_context(socket.create_server((host, 0), family=family))
            except OSError:  # this machine has no IPv6
                continue
            found[host] = listener.getsockname()[1]
        yield found


@pytest.mark.parametrize("source", ["kernel", "tables", "connecting"])
def test_listeners_of_every_kind_are_found_with_their_process(
    opened: dict[str, int], source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source != "kernel":
        monkeypatch.setattr(socket_table, "_SOCK_DIAG", 4711)  # a protocol that no kernel has
    if source == "connecting":
        monkeypatch.setattr(socket_table, "TABLES", ("/nowhere",))
    bound_only = socket.socket()
    bound_only.bind(("127.0.0.1", 0))
    with bound_only:
        wanted = (*opened.values(), bound_only.getsockname()[1], ports.pick_free("127.0.0.1"))
        found = listeners(wanted)
    me = f"{psutil.Process().name()} (process {os.getpid()})"
    assert found == tuple(Listener(port, me, INSTANCE_VARIABLE in os.environ) for port in opened.values())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these")
def test_the_kernel_and_its_tables_agree(opened: dict[str, int]) -> None:
    told = socket_table.told_by_kernel()
    if told is None:
        pytest.skip("this kernel does not tell")
    tables = [Path(path).read_text(encoding="ascii") for path in socket_table.TABLES if Path(path).exists()]
    listed = {each for table in tables for each in socket_table.listed(table)}
    for found in (set(told), listed):
        assert set(opened.values()) <= {each.port for each in found}
    ours = set(opened.values())
    assert {each for each in told if each.port in ours} == {each for each in listed if each.port in ours}


def test_what_cannot_be_seen_of_a_process_is_left_out(opened: dict[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: str) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil, "net_connections", refuse)
    port = opened["127.0.0.1"]
    assert listeners((port,)) == (Listener(port),)


def test_a_program_that_a_fabric_started_is_known_by_its_instance() -> None:
    code = (
        "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); s.accept()"
    )
    env = {**os.environ, INSTANCE_VARIABLE: "0123"}
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=env) as child:
        assert child.stdout is not None
        port = int(child.stdout.readline())
        (found,) = listeners((port,))
        child.kill()
    assert found.ours
    assert found.owner == f"{found.owner.split(' ')[0]} (process {child.pid})" if found.owner else False


def test_a_server_on_ipv6_alone_is_asked_as_well() -> None:
    if not ports.is_free("::1", 0):
        pytest.skip("this machine has no IPv6 loopback")
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        code = (
            "import sys; from provision.host.listening import ask; r = ask(int(sys.argv[1]), '/x'); "
            "print(r.status, r.body.decode())"
        )
        argv = [sys.executable, "-c", code, str(listener.getsockname()[1])]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as child:
            accepted, _ = listener.accept()
            with accepted:
                asked = accepted.recv(4096)
                accepted.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nhi")
            said, _ = child.communicate(timeout=20)
    assert asked.startswith(b"GET /x HTTP/1.0\r\n")
    assert said.split() == ["200", "hi"]


def test_nobody_there_is_an_answer() -> None:
    assert listening.ask(ports.pick_free("127.0.0.1"), "/").status == 0
