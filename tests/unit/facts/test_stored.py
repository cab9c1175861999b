"""Facts files, captures and directories of them: what is read, and what is refused."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provision.domain.facts import Facts, Memory, OperatingSystem
from provision.errors import InvalidInputError
from provision.facts.stored import is_several, read_facts, read_machines

HOSTS = Path(__file__).parents[2] / "hosts"
FACTS = Facts(os=OperatingSystem(system="Linux", arch="x86_64"), memory=Memory(8 << 30, 6 << 30))


def write(path: Path, facts: Facts, schema: str = "fabric.facts/v1") -> Path:
    path.write_text(json.dumps({"schema": schema, **msgspec.to_builtins(facts)}), encoding="utf-8")
    return path


def test_a_facts_file_gives_the_facts_that_were_written(tmp_path: Path) -> None:
    assert read_facts(write(tmp_path / "a.json", FACTS)) == FACTS


def test_a_capture_is_replayed() -> None:
    assert read_facts(HOSTS / "linux-debian12-epyc").os.distribution == "debian"


def test_a_directory_holds_files_and_captures(tmp_path: Path) -> None:
    write(tmp_path / "b.json", FACTS)
    (tmp_path / "a").symlink_to(HOSTS / "linux-debian12-epyc")
    (tmp_path / "notes.txt").write_text("not a machine", encoding="utf-8")
    found = {machine.name: machine.facts for machine in read_machines([tmp_path])}
    assert list(found) == ["a", "b"]
    assert found["b"] == FACTS
    assert found["a"] is not None


def test_one_that_cannot_be_read_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text("<html>Sign in</html>", encoding="utf-8")
    write(tmp_path / "b.json", FACTS)
    first, second = read_machines([tmp_path])
    assert isinstance(first.error, InvalidInputError)
    assert "a.json" in first.error.message
    assert second.facts == FACTS


def test_an_empty_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    one, other = read_machines([tmp_path / "empty", write(tmp_path / "a.json", FACTS)])
    assert one.error is not None
    assert "neither facts files" in one.error.message
    assert other.facts == FACTS


def test_machines_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("lab", "home"):
        (tmp_path / name).mkdir()
        write(tmp_path / name / "facts.json", FACTS)
    names = [machine.name for machine in read_machines([tmp_path / "lab", tmp_path / "home"])]
    assert names == ["lab/facts", "home/facts"]


def test_several_machines_are_told_from_one(tmp_path: Path) -> None:
    one = write(tmp_path / "a.json", FACTS)
    assert not is_several([one])
    assert not is_several([HOSTS / "linux-debian12-epyc"])
    assert is_several([one, one])
    assert is_several([tmp_path])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "does not hold facts"),
        ("<html>", "does not hold facts"),
        ("[]", "does not hold facts"),
        ("{}", "does not hold facts"),
        ('{"os": {}}', "does not hold facts"),
        ('{"schema": "fabric.facts/v1"}', "does not hold facts"),
        ('{"schema": "fabric.facts/v1", "os": 7}', "does not hold facts"),
        ('{"schema": "fabric.facts/v2", "os": {}}', "fabric.facts/v2"),
        ('{"schema": "fabric.plan/v1", "os": {}}', "fabric.plan/v1"),
        ("[" * 100_000, "does not hold facts"),
    ],
)
def test_what_is_no_facts_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InvalidInputError, match=said):
        read_facts(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_what_editors_and_shells_of_windows_write_is_read(tmp_path: Path, encoding: str) -> None:
    path = write(tmp_path / "a.json", FACTS)
    path.write_text(path.read_text(encoding="utf-8"), encoding=encoding)
    assert read_facts(path) == FACTS


@pytest.mark.parametrize("number", ["1" + "0" * 400, "-1", str(1 << 63)])
def test_a_number_that_no_machine_has_is_refused(tmp_path: Path, number: str) -> None:
    path = tmp_path / "x.json"
    document = f'{{"schema": "fabric.facts/v1", "os": {{}}, "memory": {{"available_bytes": {number}}}}}'
    path.write_text(document, encoding="utf-8")
    with pytest.raises(InvalidInputError, match="does not hold facts"):
        read_facts(path)


def test_a_failed_answer_says_what_failed(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"schema": "fabric.facts/v1", "error": {"message": "the disk is gone"}}', encoding="utf-8")
    with pytest.raises(InvalidInputError, match="the disk is gone"):
        read_facts(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"nothing\.json.*No such file"):
        read_facts(tmp_path / "nothing.json")


def test_unknown_keys_of_a_later_version_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_text(
        json.dumps({"schema": "fabric.facts/v1", "os": {"system": "Linux", "mood": 1}, "new": []}), encoding="utf-8"
    )
    assert read_facts(path).os.system == "Linux"


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_noise_is_refused_or_read(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "noise.json"
    path.write_bytes(data)
    with contextlib.suppress(InvalidInputError):
        read_facts(path)
