"""The JSON schemas of the data files, for editors: made from the types that read them.

``python -m provision.knowledge.schema`` writes them into ``profiles/schema/``.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from provision import assets
from provision.knowledge.advisories import Advisories
from provision.knowledge.builds import Builds
from provision.knowledge.drivers import Drivers
from provision.knowledge.fixes import Fixes
from provision.knowledge.gpus import KnownGpus
from provision.knowledge.hardware import Hardware
from provision.knowledge.models import Catalog
from provision.knowledge.routes import Routes
from provision.knowledge.serving import Serving
from provision.knowledge.sizing import Sizing

FILES: dict[str, type[Any]] = {
    "advisories": Advisories,
    "builds": Builds,
    "drivers": Drivers,
    "fit": Sizing,
    "fixes": Fixes,
    "gpus": KnownGpus,
    "hardware": Hardware,
    "models": Catalog,
    "routes": Routes,
    "serving": Serving,
}


def schema_text(name: str) -> str:
    """Return the JSON schema of ``profiles/<name>.yaml``."""
    schema: dict[str, Any] = msgspec.json.schema(FILES[name])
    for definition in schema.get("$defs", {}).values():
        definition["description"] = " ".join(definition.get("description", "").split())
        if definition.get("type") == "object" and "properties" in definition:
            definition["additionalProperties"] = False
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}, indent=1) + "\n"


def main() -> None:
    """Write every schema."""
    directory = assets.ROOT / "profiles" / "schema"
    directory.mkdir(exist_ok=True)
    for name in FILES:
        (directory / f"{name}.json").write_text(schema_text(name), encoding="utf-8")


if __name__ == "__main__":
    main()
