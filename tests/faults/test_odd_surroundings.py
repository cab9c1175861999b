"""A user, an environment and names that nobody thinks of: it works, or one line says what to change."""

from __future__ import annotations

import os
import resource
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.faults.another_user import another_user
from tests.faults.mounts import inside
from tests.faults.oracle import WISH, Oracle
from tests.standin.command import Fabric
from tests.unit.engines.conftest import tiny_gguf


@pytest.mark.faults
@pytest.mark.fault("umask")
@pytest.mark.parametrize("umask", [0o077, 0o000, 0o777], ids=oct)
def test_whatever_the_umask_all_is_for_the_user_alone(quick: Fabric, oracle: Oracle, umask: int) -> None:
    oracle.survived(quick, quick("up", *WISH, umask=umask), 0)
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in quick.prefix.iterdir() if path.name != "current"}
    modes[".."] = stat.S_IMODE(quick.prefix.parent.stat().st_mode)
    open_to_others = {name: oct(mode) for name, mode in modes.items() if mode & 0o077}
    assert open_to_others == {}
    oracle.nothing_left(quick)


@pytest.mark.fault("no-home")
@pytest.mark.parametrize("value", [None, "", "relative"])
def test_without_a_home_a_prefix_has_to_be_named(quick: Fabric, oracle: Oracle, value: str | None) -> None:
    without = {"HOME": value, "FABRIC_HOME": None, "XDG_DATA_HOME": None}
    oracle.met(quick("up", *WISH, env=without, cwd="/"), 64, ["HOME", "--home DIR", "FABRIC_HOME"])
    oracle.survived(quick, quick("up", *WISH, "--home", str(quick.prefix), env=without, cwd="/"), 0)
    oracle.nothing_left(quick)


@pytest.mark.fault("no-home")
def test_a_home_that_is_the_root_is_not_written_to(quick: Fabric, oracle: Oracle) -> None:
    before = sorted(Path("/").iterdir())
    oracle.survived(quick, quick("up", *WISH, env={"HOME": "/"}), 0)
    assert sorted(Path("/").iterdir()) == before
    oracle.nothing_left(quick)


@pytest.mark.fault("unknown-user")
def test_a_user_that_has_no_name_can_use_it(quick: Fabric, theirs: Path, oracle: Oracle) -> None:
    with another_user(quick, theirs) as unknown:
        oracle.met(unknown("up", *WISH, env={"HOME": None, "FABRIC_HOME": None}, cwd=unknown.home), 64, ["--home DIR"])
        oracle.survived(unknown, unknown("up", *WISH, env={"HOME": None}, cwd=unknown.home), 0)
        oracle.nothing_left(unknown)


@pytest.mark.fault("no-temporary-directory")
def test_a_temporary_directory_that_is_not_there_is_not_needed(quick: Fabric, oracle: Oracle) -> None:
    nowhere = dict.fromkeys(("TMPDIR", "TMP", "TEMP"), "/nowhere")
    oracle.survived(quick, quick("up", *WISH, env=nowhere), 0)
    oracle.nothing_left(quick)


ODD = {
    "new line": "a\nb",
    "dash": "-rf",
    "percent": "100%s%n",
    "dollar": "$HOME `id` $(id)",
    "quotes": "'\"\\",
    "star": "*?[a]",
    "colon": "a:b,c;d#e",
    "long": "x" * 200,
    "not UTF-8": os.fsdecode(b"\xff\xfe"),
    "combining": "e\u0301\u202e\u200b",
}


@pytest.mark.faults
@pytest.mark.fault("odd-names")
@pytest.mark.parametrize("name", ODD.values(), ids=ODD.keys())
def test_a_prefix_of_an_odd_name_works_or_is_refused_before_anything_is_made(
    quick: Fabric, oracle: Oracle, tmp_path: Path, name: str
) -> None:
    odd = replace(quick, prefix=tmp_path / name / "fabric")
    outcome = oracle.met(odd("up", *WISH))
    if outcome.returncode == 0:
        oracle.converges(odd)
        oracle.nothing_left(odd)
    else:
        assert not odd.prefix.exists(), outcome.said


@pytest.mark.faults
@pytest.mark.fault("odd-names")
@pytest.mark.parametrize("name", [name for key, name in ODD.items() if key != "long"])
def test_a_model_of_an_odd_name_works_or_is_refused(quick: Fabric, oracle: Oracle, tmp_path: Path, name: str) -> None:
    model = tmp_path / f"{name}.gguf"
    model.write_bytes(tiny_gguf(name="odd"))
    wish = (*WISH[:1], *WISH[3:], "--model", f"file:{model}")
    outcome = oracle.met(quick("up", *wish, "--json"))
    if outcome.returncode == 0:
        oracle.converges(quick, wish)
    quick.succeed("destroy", "--yes")
    assert model.exists()


@pytest.mark.faults
@pytest.mark.fault("odd-text")
@pytest.mark.parametrize("locale", ["C", "POSIX", "xx_YY.UTF-8", "de_DE.ISO-8859-1"])
def test_whatever_the_locale(quick: Fabric, oracle: Oracle, locale: str) -> None:
    spoken = {"LC_ALL": locale, "LANG": locale}
    oracle.survived(quick, quick("up", *WISH, env=spoken), 0)
    assert quick("status", env=spoken).returncode == 0
    oracle.nothing_left(quick)


@pytest.mark.fault("odd-text")
def test_a_name_that_the_locale_does_not_know_is_refused(quick: Fabric, oracle: Oracle) -> None:
    """Python is kept from taking UTF-8 in place of ASCII, as it does by itself."""
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    oracle.met(quick("up", *WISH, env=ascii_only), 64, ["LC_ALL=C.UTF-8"])
    assert not quick.prefix.exists()


SPECS = {
    "CRLF": (b"context: 512\r\nparallel: 2\r\n", 0, ""),
    "BOM": (b"\xef\xbb\xbfcontext: 512\n", 0, ""),
    "Latin-1": (b"profile: caf\xe9\n", 65, "UTF-8"),
    "UTF-16": ("context: 512\n".encode("utf-16"), 65, "UTF-8"),
    "NUL": (b"context: 5\x0012\n", 65, "line 1"),
    "a key twice": (b"context: 512\ncontext: 512\n", 65, "line 2"),
    "a tab": (b"context:\n\t512\n", 65, "line 2"),
    "merge markers": (b"<<<<<<< ours\ncontext: 512\n=======\ncontext: 600\n>>>>>>> theirs\n", 65, "line 2"),
    "empty": (b"", 0, ""),
}


@pytest.mark.fault("odd-text")
@pytest.mark.parametrize(("text", "code", "told"), SPECS.values(), ids=SPECS.keys())
def test_a_specification_in_odd_bytes(quick: Fabric, oracle: Oracle, text: bytes, code: int, told: str) -> None:
    (quick.home / "fabric.yaml").write_bytes(text)
    oracle.met(quick("plan", *WISH[1:]), code, [told])
    assert not quick.prefix.exists()


BOMBS = {
    "aliases": "a: &a [x, x]\n"
    + "".join(f"{b}: &{b} [*{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "an alias": "context: &c 512\nparallel: *c\n",
    "deep lists": "model: " + "[" * 5000,
    "deep mappings": "model: " + "{a: " * 5000,
    "a long number": f"context: {'9' * 5000}\n",
    "a long number in another base": f"context: 0x{'f' * 50_000}\n",
    "sexagesimal": f"context: 1{':59' * 10_000}\n",
    "a long exponent": "context: 1e999999999\n",
    "an object": "model: !!python/object/apply:os.system [id]\n",
    "a name": "model: !!python/name:os.system\n",
    "binary": "model: !!binary AAAA\n",
    "many keys": "".join(f"k{number}: 1\n" for number in range(7000)),
}


@pytest.mark.fault("yaml-bomb")
@pytest.mark.parametrize("text", BOMBS.values(), ids=BOMBS.keys())
def test_a_specification_that_grows_is_refused_at_once(quick: Fabric, oracle: Oracle, text: str) -> None:
    (quick.home / "fabric.yaml").write_text(text, encoding="utf-8")
    outcome = quick("plan", "--json", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30)))
    oracle.met(outcome, within_s=10)
    assert outcome.json["error"]["message"]
    assert not quick.prefix.exists()


@pytest.mark.faults
@pytest.mark.fault("no-sys")
@pytest.mark.parametrize("options", ["", "-o mode=000"], ids=["empty", "closed"])
def test_without_sys_what_is_not_known_is_not_guessed(quick: Fabric, oracle: Oracle, options: str) -> None:
    with inside(quick, f"mount -t tmpfs {options} none /sys", quick.home) as hidden:
        assert hidden.fabric.succeed("facts")["cpu"]["cores_logical"]
        oracle.survived(hidden.fabric, hidden.fabric("up", *WISH), 0)
        oracle.nothing_left(hidden.fabric)


@pytest.mark.faults
@pytest.mark.fault("no-shared-memory")
def test_without_shared_memory(quick: Fabric, oracle: Oracle) -> None:
    with inside(quick, "mount -t tmpfs -o ro,mode=000 none /dev/shm", quick.home) as hidden:
        oracle.survived(hidden.fabric, hidden.fabric("up", *WISH), 0)
        oracle.nothing_left(hidden.fabric)


@pytest.mark.faults
@pytest.mark.fault("tmp-read-only")
def test_a_read_only_tmp_is_not_needed(quick: Fabric, oracle: Oracle, tmp_path: Path) -> None:
    """Everything that the test needs lies in /tmp as well, so it is mounted in there again, to be written."""
    close = "mount --bind /tmp /tmp && mount -o remount,bind,ro /tmp"
    script = f'here=$PWD; mount --bind . /mnt && {close} && mount --bind /mnt "$here"'
    with inside(quick, script, tmp_path) as hidden:
        touch = [*hidden.fabric.program[:2], "touch", "/tmp/read-only"]  # noqa: S108 - it cannot be made
        assert subprocess.run(touch, check=False, stderr=subprocess.DEVNULL).returncode != 0
        oracle.survived(hidden.fabric, hidden.fabric("up", *WISH), 0)
        oracle.nothing_left(hidden.fabric)


@pytest.mark.faults
@pytest.mark.fault("no-proc")
def test_without_proc_nothing_is_started_that_could_not_be_found_again(quick: Fabric, oracle: Oracle) -> None:
    with inside(quick, "mount -t tmpfs none /proc", quick.home) as hidden:
        assert hidden.fabric("facts", "--json").returncode == 0
        assert hidden.fabric("plan", *WISH[1:]).returncode == 0
        oracle.met(hidden.fabric("up", *WISH), 1, ["/proc is not mounted"])
        assert quick.processes() == []
        assert hidden.fabric("status", "--json").returncode == 0
    oracle.converges(quick)
    oracle.nothing_left(quick)


@pytest.mark.faults
@pytest.mark.fault("no-proc")
def test_others_that_proc_hides_are_not_needed(quick: Fabric, oracle: Oracle) -> None:
    with inside(quick, "mount -t proc -o hidepid=2 proc /proc", quick.home) as hidden:
        oracle.survived(hidden.fabric, hidden.fabric("up", *WISH), 0)
        oracle.nothing_left(hidden.fabric)
