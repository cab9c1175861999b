from __future__ import annotations

import re
from pathlib import Path

import pytest

from provision.host.redaction import Identity, Redactor

ALICE = Identity(users=("alicex",), homes=("/home/alicex",), hosts=("pelican7.corp.acme-widgets.example",))
GPU = "6f3c1a52-0b7e-4c11-9d40-5a2e6b81c0d3"
DOCKER = "f2ca1bb6c7e907d06dafe4687e579fce76b37e4e93b7605022da52e6ccc26fd2"


def redact(text: str, identity: Identity = ALICE) -> str:
    return Redactor(identity).answer(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/alicex/.local", "/home/user/.local"),
        ("/home/bob and /home/alicex and /home/bob", "/home/user2 and /home/user and /home/user2"),
        ("/Users/alicex/Library", "/Users/user/Library"),
        (r"C:\Users\alicex\x", r"C:\Users\user\x"),
        (r"/home/jane\040doe/x", "/home/user2/x"),
        ("owner=alicex;", "owner=user;"),
        ("vg_alicex-root", "vg_user-root"),
        ("/media/alicex/disk", "/media/user/disk"),
        ("/run/media/zoe/disk", "/run/media/user2/disk"),
        ("alicexandra", "alicexandra"),
        ("on pelican7.corp.acme-widgets.example", "on host"),
        ("on PELICAN7 and pelican7", "on PELICAN7 and host2"),
        ("ldap.corp.acme-widgets.example", "ldap.host3"),
        ("http://bob:pw@proxy:3128/", "http://redacted@proxy:3128/"),
        ("http://bob:p@s/s,w@proxy:3128", "http://redacted@proxy:3128"),
        ("https://x.example/a?token=abc&b=1", "https://x.example/a?token=redacted&b=1"),
        ("https://x.example/a?X-Amz-Signature=abc", "https://x.example/a?X-Amz-Signature=redacted"),
        ('{"api_key": "abc", "n_tokens": 12}', '{"api_key": "redacted", "n_tokens": 12}'),
        ("HF_TOKEN=hf_x", "HF_TOKEN=redacted"),
        ("got hf_abcdefghijklmnopqrst", "got redacted"),
        ("Authorization: Bearer abcdefgh", "Authorization: Bearer redacted"),
        ("BOS token = 1", "BOS token = 1"),
        (f"GPU-{GPU}", "GPU-00000001-0000-0000-0000-000000000000"),
        (f"MIG-{GPU}", "MIG-00000001-0000-0000-0000-000000000000"),
        (f"MIG-GPU-{GPU}/7/0", "MIG-GPU-00000001-0000-0000-0000-000000000000/7/0"),
        (f"{GPU} {GPU.upper()}", " ".join(["00000001-0000-0000-0000-000000000000"] * 2)),
        ("00000000-0300-0000-0000-000000000000", "00000000-0300-0000-0000-000000000000"),
        ("8680a056-0800-0000-0300-000000000000", "8680a056-0800-0000-0300-000000000000"),
        ("Uuid: GPU-7f2a41c9d0e35b68", "Uuid: GPU-0000000100000000"),
        ("Uuid: GPU-XX", "Uuid: GPU-XX"),
        ("unique_id 9163010478712937320", "unique_id 4294967296"),
        ("unique_id 0", "unique_id 0"),
        ('"Unique ID": "0x7f2a41c9d0e35b68"', '"Unique ID": "0x0000000100000000"'),
        ("\t<serial>1324021000000</serial>", "\t<serial>redacted</serial>"),
        ("\t<serial>N/A</serial>", "\t<serial>N/A</serial>"),
        ("Serial\t\t: 10000000a1b2c3d4\nModel: x", "Serial\t\t: redacted\nModel: x"),
        ('"asic_serial": "0x1234", "x": 1', '"asic_serial": "redacted", "x": 1'),
        ("Serial Number: Unknown", "Serial Number: Unknown"),
        ("<process_name>/usr/bin/secret-game</process_name>", "<process_name>redacted</process_name>"),
        ("addr=10.1.2.3,", "addr=192.0.2.1,"),
        ("10.1.2.3 10.1.2.4 10.1.2.3/8", "192.0.2.1 192.0.2.2 192.0.2.1/8"),
        ("127.0.0.1 0.0.0.0 255.255.255.0", "127.0.0.1 0.0.0.0 255.255.255.0"),
        ("5.15.167.4-microsoft-standard-WSL2", "5.15.167.4-microsoft-standard-WSL2"),
        ("conformanceVersion = 1.3.6.0", "conformanceVersion = 1.3.6.0"),
        ("libcuda.so.535.183.1.2 570.133.07", "libcuda.so.535.183.1.2 570.133.07"),
        ("fe80::1c2d:3eff:fe4f:5a6b [2a02:908::5]:80", "2001:db8::1 [2001:db8::2]:80"),
        ("::1 0::/ 0000:01:00.0 10de:2684", "::1 0::/ 0000:01:00.0 10de:2684"),
        ("link/ether 3c:7c:3f:aa:bb:cc", "link/ether 00:00:5e:00:53:01"),
        ("00:00:00:00:00:00 ff:ff:ff:ff:ff:ff", "00:00:00:00:00:00 ff:ff:ff:ff:ff:ff"),
        ("enx3c7c3faabbcc", "enx00005e005301"),
        (f"/docker/{DOCKER}", f"/docker/{1:064d}"),
        ("103079215104 bytes", "103079215104 bytes"),
        ("flags: fpu vme sse4_2 avx2", "flags: fpu vme sse4_2 avx2"),
    ],
)
def test_a_value_gets_a_stand_in_of_its_form(text: str, expected: str) -> None:
    assert redact(text) == expected


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        (
            "/proc/self/cgroup",
            "0::/system.slice/docker-4fd2a1b30c9e.scope\n",
            f"0::/system.slice/docker-{1:012d}.scope\n",
        ),
        ("/proc/1/environ", "SECRET=x\0container=podman\0PATH=/bin\0", "container=podman\0"),
        ("/proc/sys/kernel/hostname", "pelican7\n", "redacted\n"),
        ("/sys/class/dmi/id/product_serial", "ABC123\n", "redacted\n"),
        ("/sys/x/unique_id", "7f2a41c9d0e35b68\n", "0000000100000000\n"),
        (
            "/proc/self/mountinfo",
            "36 35 0:30 / /mnt rw - nfs4 nas.acme:/vol/alicex rw,vers=4.2,addr=10.0.0.1,clientaddr=10.0.0.2\n",
            "36 35 0:30 / /mnt rw - nfs4 host:/share rw,vers=4.2,addr=redacted,clientaddr=redacted\n",
        ),
        (
            "/proc/self/mountinfo",
            "36 35 0:30 / /mnt rw - cifs //nas/alice rw,username=alicex,domain=ACME,uid=1000\n",
            "36 35 0:30 / /mnt rw - cifs //host/share rw,username=redacted,domain=redacted,uid=1000\n",
        ),
        (
            "/proc/self/mountinfo",
            "59 40 0:52 / /mnt/c rw - 9p C:\\134 rw,aname=drvfs;path=C:\\;uid=1000;symlinkroot=/mnt/\n",
            "59 40 0:52 / /mnt/c rw - 9p redacted rw,aname=drvfs;path=redacted;uid=1000;symlinkroot=redacted\n",
        ),
        (
            "/proc/self/mountinfo",
            "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n",
            "27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n",
        ),
        ("/proc/mounts", "nas:/vol /mnt nfs rw,addr=10.0.0.1 0 0\n", "host:/share /mnt nfs rw,addr=redacted 0 0\n"),
        (
            "/proc/net/route",
            "Iface\tDestination\tGateway\tFlags\tMask\neth0\t00000000\t0101A8C0\t0003\t00FFFFFF\neth0\t0000FEA9\t00000000\t0001\t0000FFFF\n",
            "Iface\tDestination\tGateway\tFlags\tMask\neth0\t00000000\t010200C0\t0003\t00FFFFFF\neth0\t0000FEA9\t00000000\t0001\t0000FFFF\n",
        ),
        (
            "/proc/net/ipv6_route",
            f"2a020908000000000000000000000000 40 {'0' * 32} 00 fe8000000000000012345678abcdef01 80200001 eth0\n",
            f"20010db8{1:024d} 40 {'0' * 32} 00 fe80{1:028d} 80200001 eth0\n",
        ),
    ],
)
def test_files_of_known_formats(path: str, text: str, expected: str) -> None:
    assert Redactor(ALICE).file(path, text) == expected


def test_a_path_keeps_its_parts() -> None:
    path = Redactor(ALICE).path("/sys/fs/cgroup/docker-4fd2a1b30c9e.scope/0000:01:00.0/home/alicex/10.0.0.1")
    assert path == f"/sys/fs/cgroup/docker-{1:012d}.scope/0000:01:00.0/home/user/192.0.2.1"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("USER", "alicex", "user"),
        ("HOME", "/home/alicex", "/home/user"),
        ("OPENAI_API_KEY", "x", "redacted"),
        ("https_proxy", "bob:pw@proxy:3128", "redacted@proxy:3128"),
        ("https_proxy", "http://bob:p/w@proxy:3128", "http://redacted@proxy:3128"),
        ("CUDA_VISIBLE_DEVICES", "0,1", "0,1"),
        ("CUDA_VISIBLE_DEVICES", "", ""),
    ],
)
def test_variables(name: str, value: str, expected: str) -> None:
    assert Redactor(ALICE).value(name, value) == expected


def test_what_belongs_together_still_does() -> None:
    redactor = Redactor(ALICE)
    kfd = redactor.answer("unique_id 9163010478712937320")
    rocminfo = redactor.answer(f"Uuid: GPU-{9163010478712937320:016x}")
    assert f"GPU-{int(kfd.split()[1]):016x}" == rocminfo.split()[1]
    whole, short = redactor.answer(f"GPU-{GPU}"), redactor.answer(f"GPU-{GPU[:8]}")
    assert whole.startswith(short)
    assert redactor.answer(GPU) == whole.removeprefix("GPU-"), "Vulkan tells it without the prefix"
    assert redactor.answer("GPU-9a9a9a9a-0b7e-4c11-9d40-5a2e6b81c0d3") != whole


def test_what_the_environment_tells_is_learnt() -> None:
    env = {
        "SUDO_USER": "alicex",
        "HTTPS_PROXY": "http://svc-fabric:hunter2!@egress.acme-widgets.example:3128",
        "no_proxy": "localhost,.intra.acme-widgets.example,10.0.0.0/8",
        "SOME_TOKEN": "Tr0ub4dor&3x",
    }
    told = "alicex svc-fabric hunter2! egress.acme-widgets.example db.intra.acme-widgets.example Tr0ub4dor&3x localhost"
    redacted = redact(told, Identity().learnt(env))
    assert redacted == "user redacted redacted host db.host2 redacted localhost"


@pytest.mark.parametrize(
    "identity",
    [
        Identity(users=("root",), homes=("/root",), hosts=("localhost",)),
        Identity(users=("max",), homes=("/max",), hosts=("vm",)),
        Identity(users=("ubuntu",), homes=("/",), hosts=("debian",)),
        Identity(users=("a",), homes=("/app",), hosts=("b",)),
        Identity(users=("nvidia",), homes=("/var/lib/nvidia",), hosts=("gpu",), secrets=("test", "a", "memory")),
        Identity(users=("1000",), homes=("/usr",), hosts=("42",)),
    ],
)
def test_ordinary_words_stay(identity: Identity) -> None:
    text = (
        "ID=ubuntu max memory.max nvidia 1000 user-1000.slice /usr/lib a b test debian /app vm gpu localhost "
        "/root/.local /var/lib/systemd/linger/root"
    )
    assert redact(text, identity) == text


def test_an_ordinary_user_is_replaced_where_users_stand() -> None:
    redactor = Redactor(Identity(users=("max",), homes=("/data/people/max",)))
    assert (
        redactor.answer("/data/people/max/x max /data/people/maxine") == "/data/people/user/x max /data/people/maxine"
    )
    assert redactor.answer("/home/max /var/lib/systemd/linger/max") == "/home/user /var/lib/systemd/linger/user"
    assert redactor.value("USER", "max") == "user"


SAMPLES = sorted(
    path
    for path in (Path(__file__).parents[2] / "samples").rglob("*")
    if path.is_file() and not path.name.startswith("help_")  # never captured, and its examples look like secrets
)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.name)
def test_what_tools_print_of_devices_stays(sample: Path) -> None:
    """Of real outputs, only UUIDs and serial numbers change: no size, version, address on the bus or name."""
    text = sample.read_text(encoding="utf-8", errors="replace")
    redacted = redact(text)
    changed = [(a, b) for a, b in zip(text.splitlines(), redacted.splitlines(), strict=True) if a != b]
    identifying = re.compile(r"uuid|serial|GPU-|MIG-|docker|home/|Users/|process_name|linger/", re.IGNORECASE)
    assert [pair for pair in changed if not identifying.search(pair[0])] == []
