from __future__ import annotations

from pathlib import Path

import pytest

from provision.artifacts.mirrors import Mirrors, choose_mirrors
from provision.errors import InvalidInputError, UsageError

HUB = "https://huggingface.co/api/models/a/b"


def test_the_sites_are_the_public_ones_unless_somebody_says_otherwise() -> None:
    assert choose_mirrors({}, {"HF_ENDPOINT": "", "FABRIC_MIRROR_GITHUB": ""}) == Mirrors()


def test_what_is_nearest_to_the_user_wins() -> None:
    env = {"HF_ENDPOINT": "https://endpoint.example"}
    assert choose_mirrors({}, env).huggingface == "https://endpoint.example"
    env["MODEL_ENDPOINT"] = "https://model-endpoint.example/"
    assert choose_mirrors({}, env).huggingface == "https://model-endpoint.example"
    spec = {"huggingface": "https://spec.example/hub/", "ollama_registry": "http://127.0.0.1:5000"}
    assert choose_mirrors(spec, env).huggingface == "https://spec.example/hub"
    env["FABRIC_MIRROR_HUGGINGFACE"] = "https://own.example"
    chosen = choose_mirrors(spec, env)
    assert (chosen.huggingface, chosen.ollama_registry) == ("https://own.example", "http://127.0.0.1:5000")
    assert chosen.from_spec == {"ollama_registry"}
    assert choose_mirrors({}, {"FABRIC_MIRROR_GITHUB_API": "https://g.example"}).github_api == "https://g.example"


def test_a_file_of_a_site_is_fetched_from_its_mirror_and_has_the_address_of_the_site() -> None:
    mirrors = Mirrors(huggingface="https://m.example/hub", ollama_registry="http://127.0.0.1:5000")
    own = "https://huggingface.co/a/b/resolve/1/x.gguf"
    assert mirrors.mirrored(own) == "https://m.example/hub/a/b/resolve/1/x.gguf"
    assert mirrors.upstream("hf", mirrors.mirrored(own)) == own
    for other in ("https://huggingface.co.evil.example/x", "https://github.com/a", "https://m.example/hubx/a"):
        assert mirrors.mirrored(other) == mirrors.upstream("hf", other) == other
    assert mirrors.upstream("https", "https://m.example/hub/x") == "https://m.example/hub/x", "the user's own address"


@pytest.mark.parametrize(
    "base",
    ["", "mirror.example", "http://mirror.example", "ftp://m.example", "https://", "https://m.example?x=1",
     "https://m.example#x", "https://m.example:0", "https://m.example:x", "https://[::1", "https://m.exa mple",
     "https://me:secret@m.example", "file:///tmp", 5, None],
)  # fmt: skip
def test_an_address_that_is_none_is_refused_and_never_shown_with_its_login(base: object) -> None:
    with pytest.raises(InvalidInputError, match=r"install\.mirrors\.github") as caught:
        choose_mirrors({"github": base}, {})  # type: ignore[dict-item]
    assert "secret" not in f"{caught.value.message} {caught.value.hint}"
    if isinstance(base, str) and base:
        with pytest.raises(UsageError, match="HF_ENDPOINT"):
            choose_mirrors({}, {"HF_ENDPOINT": base})


def test_any_address_can_have_one_that_stands_in_for_it() -> None:
    spec = {"https://files.example": "https://spec.example/f/", "https://more.example/a": "https://spec.example/a"}
    chosen = choose_mirrors(
        spec, {"FABRIC_MIRRORS": "https://files.example=https://own.example https://z.example=https://y.example"}
    )
    assert chosen.mirrored("https://files.example/x.whl") == "https://own.example/x.whl", "the user's own is nearer"
    assert chosen.mirrored("https://more.example/a/x") == "https://spec.example/a/x"
    assert chosen.mirrored("https://more.example/b/x") == "https://more.example/b/x"
    assert chosen.upstream("index", "https://own.example/x.whl") == "https://files.example/x.whl"
    assert chosen.upstream("https", "https://own.example/x.gguf") == "https://own.example/x.gguf"
    assert chosen.from_spec == frozenset()


@pytest.mark.parametrize("said", ["https://a.example", "a=https://b.example", "https://a.example=b", "x"])
def test_what_the_variable_has_wrong_is_told(said: str) -> None:
    with pytest.raises(UsageError, match="FABRIC_MIRRORS"):
        choose_mirrors({}, {"FABRIC_MIRRORS": said})
    with pytest.raises(InvalidInputError, match=r"install\.mirrors"):
        choose_mirrors({"ftp://a.example": "https://b.example"}, {})


def test_an_unknown_site_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(InvalidInputError, match="'huggingface'"):
        choose_mirrors({"hugingface": "https://m.example"}, {})


@pytest.mark.parametrize(
    ("url", "token"),
    [
        (HUB, "hf_x"),
        ("https://huggingface.co:443/a", "hf_x"),
        ("https://HuggingFace.co/a", "hf_x"),
        ("http://huggingface.co/a", None),
        ("https://huggingface.co:8443/a", None),
        ("https://cdn-lfs.huggingface.co/a", None),
        ("https://huggingface.co.evil.example/a", None),
        ("https://huggingface.co@evil.example/a", None),
        ("https://evil.example/huggingface.co", None),
        ("https://api.github.com/repos", "gh_x"),
        ("https://github.com/o/r/releases/download/t/a", None),
        ("https://registry.ollama.ai/v2", None),
    ],
)
def test_a_token_is_for_its_own_site_alone(url: str, token: str | None) -> None:
    assert Mirrors().token_for(url, {"HF_TOKEN": "hf_x\n", "GITHUB_TOKEN": "gh_x"}) == token


def test_a_mirror_of_the_users_own_gets_the_token_and_one_of_a_spec_does_not() -> None:
    env = {"HF_TOKEN": "hf_x", "GH_TOKEN": "gh_x"}
    own = {**env, "HF_ENDPOINT": "https://m.example", "FABRIC_MIRROR_GITHUB_API": "https://g.example"}
    chosen = choose_mirrors({}, own)
    assert chosen.token_for("https://m.example/a", own) == "hf_x"
    assert chosen.token_for("https://g.example/a", own) == "gh_x"
    assert chosen.token_for(HUB, own) is None
    theirs = choose_mirrors({"huggingface": "https://m.example", "github_api": "https://g.example"}, env)
    assert theirs.headers_for("https://m.example/a", env) == {}
    assert theirs.headers_for("https://g.example/a", env) == {}


def test_two_sites_on_one_host_get_each_its_own_token() -> None:
    env = {"HF_TOKEN": "hf_x", "GH_TOKEN": "gh_x", "HF_ENDPOINT": "https://m.example/hub"}
    chosen = choose_mirrors({}, env | {"FABRIC_MIRROR_GITHUB_API": "https://m.example/github"})
    assert chosen.token_for("https://m.example/hub/api/models/a/b", env) == "hf_x"
    assert chosen.token_for("https://m.example/github/repos/a/b", env) == "gh_x"
    assert chosen.token_for("https://m.example/hubris", env) is None
    assert chosen.token_for("https://m.example/", env) is None


def test_the_token_is_found_where_the_hubs_own_programs_keep_it(tmp_path: Path) -> None:
    def stored(*parts: str) -> str:
        place = tmp_path.joinpath(*parts)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(f"from-{parts[0]}\n", encoding="ascii")
        return str(place)

    stored("home", ".cache", "huggingface", "token")
    stored("xdg", "huggingface", "token")
    stored("hf", "token")
    env = {"HOME": str(tmp_path / "home")}
    assert Mirrors().token_for(HUB, env) == "from-home"
    env["XDG_CACHE_HOME"] = str(tmp_path / "xdg")
    assert Mirrors().token_for(HUB, env) == "from-xdg"
    env["HF_HOME"] = str(tmp_path / "hf")
    assert Mirrors().token_for(HUB, env) == "from-hf"
    env["HF_TOKEN_PATH"] = stored("path")
    assert Mirrors().token_for(HUB, env) == "from-path"
    env["HF_TOKEN"] = "from-variable"
    assert Mirrors().headers_for(HUB, env) == {"Authorization": "Bearer from-variable"}


def test_no_token_is_none(tmp_path: Path) -> None:
    assert Mirrors().token_for(HUB, {}) is None
    assert Mirrors().token_for(HUB, {"HOME": str(tmp_path), "HF_TOKEN": " "}) is None


@pytest.mark.parametrize("token", ["two words", "a\nX-Evil: 1", "ü", "x" * 5000])
def test_a_token_that_would_break_a_header_is_refused_and_not_shown(token: str) -> None:
    with pytest.raises(UsageError) as caught:
        Mirrors().token_for(HUB, {"HF_TOKEN": token})
    assert token not in f"{caught.value.message} {caught.value.hint}"
