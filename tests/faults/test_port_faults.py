"""Ports that somebody else has, takes in the last moment, or has in a way that is not seen at once."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.faults.oracle import WISH, Oracle
from tests.faults.scripted import ScriptedModel, scripted_model
from tests.standin.command import Fabric, eventually, free_port

pytestmark = pytest.mark.faults

# The port is known when the server loads; the test says when it may go on.
WAITS = """
with open(os.path.join(PLACE, "loading"), "w") as file:
    file.write(str(params.port))
for _ in range(1500):
    if os.path.exists(os.path.join(PLACE, "go")):
        break
    time.sleep(0.02)
"""


@contextmanager
def held(port: int, host: str = "127.0.0.1", how: str = "listens") -> Iterator[None]:
    """Have a port as another program would, which listens, shares it with whoever asks, or is only bound to it."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as holder:
        if how != "is bound":  # connections that were closed a moment ago are nobody's
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if how == "shares":
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((host, port))
        if how != "is bound":
            holder.listen()
        yield


def has_ipv6() -> bool:
    try:
        with held(0, "::1"):
            return True
    except OSError:
        return False


def port_when_loading(model: ScriptedModel) -> int:
    place = model.place / "loading"
    text = eventually(lambda: place.read_text(encoding="ascii") if place.exists() else "", timeout_s=20)
    return int(text)


@pytest.mark.fault("port-taken")
def test_a_port_that_is_lost_between_plan_and_start_is_given_up_for_another(
    quick: Fabric, oracle: Oracle, tmp_path: Path
) -> None:
    model = scripted_model(tmp_path, WAITS)
    running = quick.start("up", *model.wish, "--json")
    port = port_when_loading(model)
    with held(port):
        (model.place / "go").touch()
        up = oracle.met(running.finish(), 0, ["Somebody was faster and has the port now"])
        assert up.json["base_url"] != f"http://127.0.0.1:{port}/v1"
        assert oracle.converges(quick, model.wish)["pid"] == up.json["pid"]
    oracle.nothing_left(quick)


@pytest.mark.fault("port-taken")
def test_a_port_that_was_asked_for_and_is_lost_is_told_with_who_has_it(
    quick: Fabric, oracle: Oracle, tmp_path: Path
) -> None:
    model, port = scripted_model(tmp_path, WAITS), free_port()
    wish = (*model.wish, "--port", str(port))
    running = quick.start("up", *wish, "--json")
    assert port_when_loading(model) == port
    with held(port):
        (model.place / "go").touch()
        failed = oracle.met(running.finish(), 1, [f"process {os.getpid()}"])
        assert failed.json["error"]["code"] == "port-taken"
    oracle.converges(quick, wish)
    oracle.nothing_left(quick)


@pytest.mark.fault("port-taken")
@pytest.mark.parametrize(
    ("how", "owner"), [("is bound", "a program that cannot be seen from here"), ("shares", "process")]
)
def test_a_port_that_only_seems_free_is_not_used(quick: Fabric, oracle: Oracle, how: str, owner: str) -> None:
    port = free_port()
    wish = (*WISH, "--port", str(port))
    with held(port, how=how):
        failed = oracle.met(quick("up", *wish, "--json"), 1, [f"Port {port} is in use by", owner])
        assert failed.json["error"]["code"] == "port-taken"
        assert quick.processes() == []
    oracle.converges(quick, wish)
    oracle.nothing_left(quick)


@pytest.mark.fault("port-taken")
@pytest.mark.skipif(not has_ipv6(), reason="there is no IPv6 on loopback here")
def test_a_port_that_somebody_has_on_another_address_is_free_on_ours(quick: Fabric, oracle: Oracle) -> None:
    port = free_port()
    wish = (*WISH, "--port", str(port))
    with held(port, "::1"):
        oracle.converges(quick, wish)
    oracle.nothing_left(quick)
