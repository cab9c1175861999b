"""``auto``: the tier of this machine from a hub, and what happens where the hub does not answer."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.e2e.conftest import RUNNER
from tests.e2e.model_places import FILE, REPOSITORY, Places
from tests.standin.command import NOBODY, Fabric, Outcome, free_port
from tests.standin.engine import ROOT
from tests.standin.index_server import IndexServer

pytestmark = pytest.mark.engine

TIER = "middling-135m"


@pytest.fixture(scope="module")
def assets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data files with two tiers: what the package index has, and a model on the hub for every machine of 1 GB."""
    place = tmp_path_factory.mktemp("assets")
    for name in ("profiles", "templates"):
        shutil.copytree(ROOT / name, place / name)
    file = place / "profiles" / "models.yaml"
    document = yaml.safe_load(file.read_text(encoding="utf-8"))
    smallest = document["models"][0]
    on_hub = {"reference": f"hf:{REPOSITORY}:{FILE}", "format": "gguf", "quantization": "Q4_1"}
    tier = {**smallest, "name": TIER, "tier_gb": 1}
    tier["engines"] = {"llamacpp": {**on_hub, "size_bytes": 150_000_000, "estimated": True}}
    document["models"] = [smallest, tier]
    file.write_text(yaml.safe_dump(document), encoding="utf-8")
    serving = place / "profiles" / "serving.yaml"
    serving.write_text(yaml.safe_dump({**yaml.safe_load(serving.read_text()), "port": free_port()}), encoding="utf-8")
    return place


@pytest.fixture
def fabric(prefix: Path, home: Path, index: IndexServer, assets: Path, places: Places) -> Iterator[Fabric]:
    variables = {**places.variables, "STANDIN_ASSETS": str(assets)}
    command = Fabric(prefix, home, index.index_url, (sys.executable, str(RUNNER)), variables)
    yield command
    command.cleanup()


def without_hub(fabric: Fabric, *arguments: str) -> Outcome:
    return fabric("up", "--json", *arguments, env={"FABRIC_MIRROR_HUGGINGFACE": NOBODY})


def test_the_tier_that_fits_is_served_at_its_real_size(fabric: Fabric, places: Places) -> None:
    plan = fabric.succeed("plan")
    assert plan["model"]["name"] == TIER
    assert plan["model"]["size_bytes"] == places.gguf.stat().st_size, "not the estimate of the catalogue"
    up = fabric.succeed("up")
    assert (up["model"], up["smoke"]["ok"]) == (TIER, True)
    asked = len(places.hub.seen)
    again = fabric.succeed("up")
    assert (again["changed"], again["pid"], len(places.hub.seen)) == (False, up["pid"], asked)


def test_without_the_hub_the_embedded_default_is_served_and_told_until_a_refresh(
    fabric: Fabric, places: Places
) -> None:
    first = without_hub(fabric)
    assert first.returncode == 0, first.said
    assert (first.json["model"], first.json["smoke"]["ok"]) == ("smollm2-135m", True)
    assert f"Cannot look up the model {TIER}" in first.stderr
    assert "Connection refused" in first.stderr
    assert "Going on with" in first.stderr
    assert "smollm2-135m" in first.stderr.partition("Going on with")[2]
    places.hub.seen.clear()
    second = fabric("up", "--json")
    assert (second.returncode, second.json["changed"], second.json["pid"]) == (0, False, first.json["pid"])
    assert places.hub.seen == [], "nobody is asked, though the hub answers again"
    refreshed = fabric.succeed("up", "--refresh")
    assert (refreshed["model"], refreshed["changed"], refreshed["smoke"]["ok"]) == (TIER, True, True)
    assert fabric.succeed("up")["pid"] == refreshed["pid"]


@pytest.mark.parametrize("model", [TIER, f"hf:{REPOSITORY}"])
def test_a_model_that_was_named_is_not_replaced_by_another(fabric: Fabric, model: str) -> None:
    outcome = without_hub(fabric, "--model", model)
    assert outcome.returncode == 69, outcome.said
    assert "Connection refused" in outcome.json["error"]["message"]
    assert fabric.succeed("status")["state"] in ("absent", "stopped")


def test_a_refresh_without_the_hub_serves_on(fabric: Fabric, places: Places) -> None:
    up = fabric.succeed("up", "--no-smoke")
    outcome = without_hub(fabric, "--refresh", "--no-smoke")
    assert outcome.returncode == 0, outcome.said
    assert outcome.json["smoke"] is None
    assert outcome.json["model"] == "smollm2-135m"
    assert f"Cannot look up the model {TIER}" in outcome.stderr
    assert up["model"] == TIER


def test_a_saved_plan_that_chooses_anew_is_applied_as_it_was_shown(
    fabric: Fabric, places: Places, tmp_path: Path
) -> None:
    saved = tmp_path / "plan.json"
    assert without_hub(fabric).json["model"] == "smollm2-135m"
    planned = fabric.succeed("plan", "--refresh", "--out", str(saved))
    assert planned["model"]["name"] == TIER
    applied = fabric.succeed("apply", str(saved))
    assert (applied["model"], applied["changed"], applied["smoke"]["ok"]) == (TIER, True, True)
    assert fabric.succeed("up")["pid"] == applied["pid"], "and it is kept"
