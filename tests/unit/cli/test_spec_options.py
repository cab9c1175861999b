from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from provision.cli.main import VERBS, globals_last, load
from provision.cli.wish import Wish, with_wish
from provision.domain.lock import Lock, wish_of
from provision.domain.spec import ACCELERATIONS, BACKENDS, KV_CACHE_TYPES, SERVICES, SERVING, SOURCES, Install, Spec
from provision.plan.lock_file import wished

WORD = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=20)
SPECS = st.builds(
    Spec,
    backend=st.sampled_from(BACKENDS),
    acceleration=st.sampled_from(ACCELERATIONS),
    model=WORD.map(lambda word: f"file:{word}") | st.just("auto"),
    context=st.none() | st.integers(256, 1 << 20),
    parallel=st.integers(1, 64),
    threads=st.none() | st.integers(1, 256),
    host=st.sampled_from(["127.0.0.1", "localhost", "::1", "0.0.0.0"]),  # noqa: S104
    port=st.none() | st.integers(0, 65535),
    api_key_env=st.none() | st.from_regex(r"[A-Z][A-Z0-9_]{0,10}", fullmatch=True),
    require_gpu=st.booleans(),
    base_url=st.none() | st.just("http://127.0.0.1:1234/v1"),
    kv_cache=st.sampled_from(KV_CACHE_TYPES),
    keep_alive=st.none() | st.integers(-1, 3600),
    service=st.sampled_from(SERVICES),
    linger=st.booleans(),
    install=st.builds(
        Install,
        sources=st.lists(st.sampled_from(SOURCES), unique=True).map(tuple),
        program=st.none() | WORD.map(lambda word: str(Path("/", word))),
        mirrors=st.dictionaries(st.sampled_from(["github", "huggingface"]), st.just("https://mirror.example/x=y")),
    ),
)


def offered(verb: str) -> set[str]:
    return {name for option in load(verb).params for name in option.opts}


def test_lock_offers_nothing_that_only_up_and_plan_can_do() -> None:
    ways = {"--offline", "--locked", "--refresh", "--timeout"}
    assert ways <= offered("up") & offered("plan")
    assert not ways & offered("lock")
    assert {"--model", "--mirror", "--file", "--check"} <= offered("lock")


@given(SPECS)
def test_a_lock_is_made_for_what_decides_what_is_installed(spec: Spec) -> None:
    served = Spec(threads=3, host="0.0.0.0", port=99, api_key_env="KEY", base_url="http://x/v1", keep_alive=9)  # noqa: S104
    served = replace(served, service="systemd", linger=True)
    changed = {name: getattr(served, name) for name in SERVING}
    other = replace(spec, **changed, install=replace(spec.install, mirrors={"github": "https://m.example"}))
    assert wish_of(other) == wish_of(spec)
    assert wish_of(replace(spec, context=(spec.context or 0) + 1)) != wish_of(spec)
    assert wish_of(replace(spec, install=Install(("build", "build")))) != wish_of(spec)


@given(SPECS, SPECS)
def test_what_a_lock_was_made_for_is_wished_for_again(spec: Spec, asked: Spec) -> None:
    again = wished(Lock(wish_of(spec)), "fabric.lock")
    assert again == spec.deciding
    both = asked.with_deciding_part_of(again)
    assert both.deciding == again
    assert both == replace(spec, **{name: getattr(asked, name) for name in SERVING}, install=both.install)
    assert both.install == replace(spec.install, mirrors=asked.install.mirrors)


def parsed(options: list[str]) -> Spec:
    """Read options as ``fabric up`` does."""
    seen: list[Wish] = []

    @with_wish
    def command(first: Any, wish: Wish) -> None:
        seen.append(wish)

    def entry(**options: Any) -> None:
        command(None, **options)

    import inspect

    entry.__signature__ = inspect.Signature(list(inspect.signature(command).parameters.values())[1:])  # type: ignore[attr-defined]
    app = typer.Typer()
    app.command()(entry)
    result = CliRunner().invoke(app, options, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return seen[0].spec


@settings(max_examples=60)
@given(SPECS)
def test_the_options_of_a_spec_say_exactly_that_spec(spec: Spec) -> None:
    assert parsed(spec.options()) == spec


def test_nothing_to_say_is_no_option() -> None:
    assert Spec().options() == []


@pytest.mark.parametrize("field", [f.name for f in fields(Spec) if f.name not in ("version", "install")])
def test_every_field_is_an_option_of_up(field: str) -> None:
    option = "--" + field.replace("_", "-")
    value = [] if field in ("require_gpu", "linger") else ["7"]
    assert getattr(parsed([option, *value]), field) != getattr(Spec(), field)


@pytest.mark.parametrize(
    ("given_words", "expected"),
    [
        (["--home", "/x", "up"], ["up", "--home", "/x"]),
        (["--home=/x", "--json", "up", "--port", "1"], ["up", "--port", "1", "--home=/x", "--json"]),
        (["up", "--home", "/x"], ["up", "--home", "/x"]),
        (["--version"], ["--version"]),
        (["--home"], ["--home"]),
        ([], []),
    ],
)
def test_global_options_may_stand_before_the_verb(given_words: list[str], expected: list[str]) -> None:
    assert globals_last(given_words) == expected


def test_every_verb_of_the_contract_is_there() -> None:
    contract = {
        "up",
        "down",
        "destroy",
        "plan",
        "apply",
        "status",
        "doctor",
        "facts",
        "config",
        "smoke",
        "bench",
        "logs",
    }
    assert contract | {"models"} <= set(VERBS)
