"""A name server that lies: real questions and answers, in a network of its own where nobody else can be asked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RESOLVER = Path("/etc/resolv.conf")

# Inside: a name server that answers with the next address each time, and a web server on each of them.
REBINDS = """
import socket, struct, sys, threading
sys.path.insert(0, {root!r})
from provision.errors import RefusedError
from provision.host.request import request
from provision.host.transport import Transport
from tests.standin.artifact_server import Answer, redirect
from tests.standin.listener import Handler, Listener

OUTSIDE, METADATA = "93.184.216.34", "169.254.169.254"
ANSWERS = {answers!r}
seen = []

class Site(Handler):
    def do_GET(self):
        seen.append((self.server.socket.getsockname()[0], self.path, self.headers["Authorization"]))
        if self.path == "/moved":
            self.answer_whole(302, b"", {{"Location": "http://rebound.test:8080/target"}})
        else:
            self.answer_whole(200, b"content", {{}})

class On(Listener):
    def server_bind(self):
        self.server_address = (ADDRESS, 8080)
        super().server_bind()

def name_server(sock):
    turns = list(ANSWERS)
    while True:
        asked, client = sock.recvfrom(512)
        kind = struct.unpack("!H", asked[-4:-2])[0]
        address = turns.pop(0) if kind == 1 and len(turns) > 1 else turns[0]
        answer = b"\\xc0\\x0c" + struct.pack("!HHIH", 1, 1, 0, 4) + socket.inet_aton(address) if kind == 1 else b""
        head = asked[:2] + struct.pack("!HHHHH", 0x8180, 1, 1 if kind == 1 else 0, 0, 0)
        sock.sendto(head + asked[12:] + answer, client)

names = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
names.bind(("127.0.0.1", 53))
threading.Thread(target=name_server, args=(names,), daemon=True).start()
for ADDRESS in (OUTSIDE, METADATA, "127.0.0.1"):
    On(Site)
transport = Transport({{}}, trusted_hosts=("rebound.test",))
url = "http://rebound.test:8080/{path}"
token = {{"Authorization": "Bearer canary"}}
try:
    pool = transport.pool(url)
    body = request(pool, url, transport, token).read()
    print("answered", body.decode(), [place for place, _, _ in seen])
except RefusedError as error:
    print("refused", error.exit_code, [place for place, _, _ in seen])
"""
NETWORK = (
    "mount --bind resolv.conf /etc/resolv.conf && ip link set lo up && ip addr add 93.184.216.34/32 dev lo && "
    'ip addr add 169.254.169.254/32 dev lo && exec "$0" inside.py'
)
OUTSIDE, METADATA = "93.184.216.34", "169.254.169.254"


def inside(place: Path, answers: list[str], path: str) -> str:
    (place / "resolv.conf").write_text("nameserver 127.0.0.1\noptions timeout:1 attempts:1\n", encoding="ascii")
    (place / "inside.py").write_text(REBINDS.format(root=str(ROOT), answers=answers, path=path), encoding="utf-8")
    command = ["unshare", "-nm", "sh", "-c", NETWORK, sys.executable]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.fault("dns-rebinding")
@pytest.mark.parametrize(
    ("answers", "path", "said"),
    [
        ([OUTSIDE], "file", f"answered content ['{OUTSIDE}']"),
        ([METADATA], "file", "refused 77 []"),
        ([OUTSIDE, METADATA], "moved", f"refused 77 ['{OUTSIDE}']"),
        ([METADATA, OUTSIDE], "moved", "refused 77 []"),
    ],
    ids=["an honest one", "to where no host is", "after the first answer", "before it"],
)
def test_where_a_name_leads_is_seen_on_the_connection_and_nothing_is_sent_there(
    tmp_path: Path, answers: list[str], path: str, said: str
) -> None:
    assert inside(tmp_path, answers, path) == said
