"""What fabric depends on, and every pinned set of wheels, against the published advisories.

They skip where no source of advisories answers. A source that knows nothing of a version that is known to be bad is
none: a mirror of the package index answers 404 to such questions, which would read as "no vulnerability".
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
WHEEL_SETS = sorted((ROOT / "profiles" / "wheels").glob("*.yaml"))
SERVICES = ("pypi", "osv")
KNOWN_TO_BE_BAD = "jinja2==2.4.1"
TIMEOUT_S = 5


def audit(requirements: list[str], service: str, place: Path) -> dict[str, list[str]] | None:
    """Return the ids of advisories by requirement; ``None`` where the service does not answer."""
    program = shutil.which("pip-audit", path=str(Path(sys.executable).parent)) or shutil.which("pip-audit")
    if program is None:
        pytest.skip("pip-audit is not installed")
    listed = place / "requirements.txt"
    listed.write_text("\n".join(requirements), encoding="utf-8")
    command = [program, "--requirement", str(listed), "--no-deps", "--disable-pip", "--format", "json"]
    command += ["--vulnerability-service", service, "--timeout", str(TIMEOUT_S), "--progress-spinner", "off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        rows: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except ValueError:
        return None
    return {f"{row['name']}=={row.get('version')}": [each["id"] for each in row.get("vulns", [])] for row in rows}


@cache
def _source(place: Path) -> str | None:
    return next(
        (service for service in SERVICES if any((audit([KNOWN_TO_BE_BAD], service, place) or {}).values())), None
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A service that knows of advisories."""
    found = _source(tmp_path_factory.mktemp("advisories"))
    if found is None:
        pytest.skip(f"no source of advisories answers here ({', '.join(SERVICES)}): nothing was audited")
    return found


def installed() -> Iterator[str]:
    """Yield fabric's own dependencies and theirs, as they are installed; not those of the tests."""
    left, seen = ["llm-fabric"], set[str]()
    while left:
        name = left.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:  # for another system or Python
            continue
        wanted = [Requirement(text) for text in found.requires or ()]
        left += [each.name for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
        if name != "llm-fabric":
            yield f"{name}=={found.version}"


def test_what_fabric_depends_on_is_listed() -> None:
    names = {each.partition("==")[0].lower() for each in installed()}
    assert names >= {"aiohttp", "urllib3", "jinja2", "pyyaml", "msgspec", "multidict"}
    assert "pytest" not in names


def test_no_dependency_of_fabric_has_a_known_hole(source: str, tmp_path: Path) -> None:
    found = audit(sorted(installed()), source, tmp_path)
    assert found, "the service answered a moment ago"
    assert {name: ids for name, ids in found.items() if ids} == {}


@pytest.mark.parametrize("wheel_set", WHEEL_SETS, ids=lambda path: path.stem)
def test_no_pinned_wheel_has_a_known_hole(source: str, tmp_path: Path, wheel_set: Path) -> None:
    wheels = yaml.safe_load(wheel_set.read_text(encoding="utf-8"))["wheels"]
    pinned = [f"{each['project']}=={re.sub(r'[+].*', '', each['version'])}" for each in wheels]
    found = audit(pinned, source, tmp_path)
    assert found, "the service answered a moment ago"
    assert {name: ids for name, ids in found.items() if ids} == {}
