"""Going back, and a flipped byte, with the real engine and the real model."""

from __future__ import annotations

import pytest

from provision.host.endpoint import EndpointClient
from tests.e2e.test_verify import flip
from tests.standin.command import Fabric

pytestmark = pytest.mark.engine


def context_of(base_url: str) -> int:
    """What the engine itself says that it serves."""
    props = EndpointClient(base_url, None).get("/props").json()
    context = props["default_generation_settings"]["n_ctx"]
    assert isinstance(context, int)
    return context


def test_an_older_context_comes_back_and_a_flipped_byte_of_the_model_is_found_and_fetched(fabric: Fabric) -> None:
    first = fabric.succeed("up", "--model", "smollm2-135m", "--context", "512")
    assert context_of(first["base_url"]) == 512
    second = fabric.succeed("up", "--model", "smollm2-135m", "--context", "1024")
    assert context_of(second["base_url"]) == 1024
    back = fabric.succeed("rollback", "--offline")
    assert (back["restores"], back["smoke"]["ok"], back["base_url"]) == (1, True, first["base_url"])
    assert context_of(back["base_url"]) == 512

    (model,) = (fabric.prefix / "models").iterdir()
    was = flip(model)
    found = fabric("verify", "--json")
    assert found.returncode == 1, found.said
    (problem,) = found.json["problems"]
    assert (problem["kind"], problem["path"]) == ("content", str(model))
    repaired = fabric.succeed("verify", "--repair")
    assert (repaired["ok"], repaired["restarted"]) == (True, True)
    assert model.read_bytes() == was
    assert fabric.succeed("smoke")["ok"] is True
    assert fabric.succeed("verify")["problems"] == []
    assert context_of(first["base_url"]) == 512
