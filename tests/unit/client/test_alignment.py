"""Who may know of engines: the table of routes and its readers; not the port, not a client, not what is above."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT

ENGINE = re.compile(r"ollama|vllm|llama|lm_?studio", re.IGNORECASE)
OTHERS = re.compile(r"vllm|llama_?cpp|xllama|lm_?studio", re.IGNORECASE)
CLIENT = ROOT / "provision" / "client"
TABLE = ("endpoints", "names", "routing")  # which backend a name leads to, and what that calls the model
IDENTIFIERS = ("id", "name", "asname", "attr", "arg", "module", "names")


def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def named(tree: ast.Module, pattern: re.Pattern[str]) -> list[str]:
    """Return the engines in identifiers and texts; comments and docstrings may explain what they like."""
    bodies = [body for node in ast.walk(tree) if isinstance(body := getattr(node, "body", None), list)]
    lines = [line.value for body in bodies for line in body if isinstance(line, ast.Expr)]
    explained = {id(text) for text in lines if isinstance(text, ast.Constant)}
    return [
        word for node in ast.walk(tree) if id(node) not in explained for word in words(node) if pattern.search(word)
    ]


def words(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.value
    for field in IDENTIFIERS:
        found = getattr(node, field, None)
        yield from (word for word in (found if isinstance(found, list) else [found]) if isinstance(word, str))


def imported(tree: ast.Module) -> set[str]:
    """Return every module of ours that is imported, also for types alone; names in a package may be modules."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return {name for name in found if name.startswith("provision.")}


def below(package: str, names: set[str]) -> set[str]:
    return {name for name in names if name == package or name.startswith(f"{package}.")}


CORE = sorted(path for path in CLIENT.glob("*.py") if path.stem not in TABLE)
SHIM = sorted((ROOT / "provision" / "inference").glob("*.py"))
USERS = sorted(
    path
    for path in (ROOT / "provision").rglob("*.py")
    if path.parent != CLIENT and path not in SHIM and below("provision.client", imported(parsed(path)))
)


def of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", [*CORE, *USERS], ids=of)
def test_no_client_and_nothing_above_names_an_engine(path: Path) -> None:
    assert named(parsed(path), ENGINE) == []


@pytest.mark.parametrize("path", SHIM, ids=of)
def test_what_speaks_like_one_engine_names_no_other(path: Path) -> None:
    assert named(parsed(path), OTHERS) == []


@pytest.mark.parametrize("path", [*CORE, *USERS, *SHIM, *(CLIENT / f"{name}.py" for name in TABLE)], ids=of)
def test_nobody_of_them_imports_an_engine(path: Path) -> None:
    assert not below("provision.engines", imported(parsed(path)))


def test_the_port_knows_no_implementation() -> None:
    modules = {name for name in below("provision", imported(parsed(CLIENT / "port.py"))) if name.count(".") == 2}
    assert modules == {"provision.client.answers"}
    assert not below("provision", imported(parsed(CLIENT / "answers.py")))


def test_only_the_client_that_routes_asks_the_table() -> None:
    table = {f"provision.client.{name}" for name in TABLE}
    asking = {path.stem for path in CORE if table & imported(parsed(path))}
    assert asking == {"__init__", "options", "routed"} & asking
    assert "routed" in asking


def test_somebody_is_looked_at() -> None:
    assert len(CORE) > 10
    assert len(SHIM) > 5
    assert "route.py" in {path.name for path in USERS}
    assert all((CLIENT / f"{name}.py").exists() for name in TABLE)


@pytest.mark.parametrize(
    "code",
    [
        "x = 'vllm'",
        "import ollama",
        "from a.ollama_name import b",
        "lm_studio = 1",
        "x.llama",
        "f'{x} llama.cpp'",
        "def f(vllm): 'about'",
        "class Ollama: ...",
        "f(ollama=1)",
        "import a as vllm",
        "global_ = {'xllamacpp': 1}",
    ],
)
def test_the_eye_sees_a_name_wherever_it_stands(code: str) -> None:
    assert named(ast.parse(code), ENGINE)


@pytest.mark.parametrize(
    "code", ["'''about vllm'''", "def f():\n    '''as Ollama does'''", "x = 1\n'''of llama.cpp'''", "x = 1  # vllm"]
)
def test_what_explains_may_say_it(code: str) -> None:
    assert not named(ast.parse(code), ENGINE)


HEAVY = (
    "typer",
    "rich",
    "jinja2",
    "yaml",
    "urllib3",
    "aiohttp",
    "psutil",
    "tenacity",
    "importlib.metadata",
    "http.client",
)
OURS = ("provision.engines", "provision.knowledge", "provision.cli", "provision.select", "provision.client.routing")


def test_importing_it_loads_little() -> None:
    code = "import sys, provision.client; print(*sys.modules)"
    listed = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    loaded = set(listed.split())
    assert not loaded & {*HEAVY, *OURS}
    foreign = {name.partition(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    assert foreign - {"__main__"} <= {"msgspec", "provision", "typing_extensions"} | site_hooks()


def site_hooks() -> set[str]:
    """Return what this interpreter loads before anything is asked of it, such as editable installations."""
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(*sys.modules)"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return {name.partition(".")[0] for name in bare.stdout.split()}
