"""A plan names what carrying it out may touch: the system calls of a whole ``up`` are held to that."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from provision.host.layout import MARKER
from tests.standin.command import Fabric, eventually

# What every change may touch besides what its plan names.
BOOKKEEPING = (MARKER, "lock", "lock.holder", "state.json", "state.json.1", "journal.jsonl", "staging", "partial")
WRITING = "creat,rename,renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,symlinkat,link,linkat,truncate"
CALL = re.compile(r"\d+ +(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)")
NAMED = re.compile(r'(?:(?:AT_FDCWD|\d+)(?:<(?P<directory>[^>]*)>)?, )?"(?P<path>(?:[^"\\]|\\.)*)"')
OPENED_TO_WRITE = re.compile(r"O_(WRONLY|RDWR|CREAT)")


def touched(trace: Path, prefix: Path) -> Iterator[str]:
    """Yield what was written, made, renamed or removed below ``prefix``, relative to it."""
    for line in trace.read_text(encoding="utf-8", errors="replace").splitlines():
        call = CALL.match(line)
        if call is None or call["result"].startswith("-"):
            continue
        if call["name"].startswith("open") and not OPENED_TO_WRITE.search(call["arguments"]):
            continue
        for named in NAMED.finditer(call["arguments"]):
            path = Path(_decoded(named["directory"] or "/"), _decoded(named["path"]))
            if path.is_relative_to(prefix) and path != prefix:
                yield str(path.relative_to(prefix))


def _decoded(text: str) -> str:
    return text.encode("latin-1", "replace").decode("unicode_escape").encode("latin-1").decode("utf-8", "replace")


def is_named(path: str, named: tuple[str, ...]) -> bool:
    """Tell whether ``path`` is one of these, in one of them, or one of them on its way to its name."""
    parts = Path(path).parts
    staged = [re.sub(r"^\.(.*)\.tmp-.*$", r"\1", part) for part in parts]
    whole = ["/".join(staged[: count + 1]) for count in range(len(staged))]
    return any(part in named for part in whole) or any(name.startswith(f"{path}/") for name in named)


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not here")
@pytest.mark.parametrize("before", [None, ("up",), ("down",), ("damage",)], ids=["first", "change", "start", "repair"])
def test_carrying_out_a_plan_touches_only_what_it_names(
    quick: Fabric, tmp_path: Path, before: tuple[str, ...] | None
) -> None:
    options = ("--port", "0") if before is None else ("--context", "512", "--port", "0")
    if before is not None:
        quick.succeed("up", "--no-smoke", "--port", "0")
    if before == ("down",):
        quick.succeed("up", "--no-smoke", *options)
        quick.succeed("down")
    if before == ("damage",):
        (engine,) = (quick.prefix / "engines").iterdir()
        next(engine.rglob("METADATA")).unlink()
        (engine / "mine").write_text("mine", encoding="utf-8")
    plan = quick.succeed("plan", *options)
    trace, told = tmp_path / "trace", tmp_path / "told"
    strace = ("strace", "-f", "-y", "-o", str(trace), "-e", f"trace=open,openat,{WRITING}")
    traced = Fabric(quick.prefix, quick.home, quick.index_url, (*strace, *quick.program), quick.variables)
    with told.open("w") as output:
        running = traced.start("up", "--no-smoke", "--json", *options, stdout=output)
        assert eventually(lambda: told.read_text().endswith("}\n"), timeout_s=100), "no end of `up`"
        quick.succeed("down")  # or the trace of the server has no end
        assert running.finish(30).returncode == 0
    named = tuple(path for change in plan["changes"] for path in change["paths"])
    seen = set(touched(trace, quick.prefix))
    assert any(path.startswith("run") for path in seen), "the trace was understood"
    assert before != ("damage",) or any(path.startswith("kept") for path in seen)
    assert sorted(path for path in seen if not is_named(path, (*named, *BOOKKEEPING))) == []
