"""All that ``fabric up --backend ollama`` asks for, on loopback: the release on GitHub and models of a registry."""

from __future__ import annotations

import hashlib
import shutil
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.standin.hub_server import HubServer, Release, serving_hub
from tests.standin.ollama_archive import ARCHIVE, SUMS, make_archive, packed, unpacked

ROOT = Path(__file__).parents[2]
REPOSITORY, TAG = "ollama/ollama", "v0.32.15"


@dataclass
class OllamaSite:
    """``archive`` is what the release offers; ``assets`` are data files that ask for less disk than the real ones."""

    hub: HubServer
    archive: bytes
    assets: Path

    @property
    def variables(self) -> dict[str, str]:
        """What makes fabric ask here."""
        sites = ("GITHUB", "GITHUB_API", "OLLAMA_REGISTRY")
        return {"STANDIN_ASSETS": str(self.assets), **{f"FABRIC_MIRROR_{name}": self.hub.root for name in sites}}

    def release(self, archive: bytes | None = None, sums: str | None = None, **more: Any) -> Release:
        """Publish the release again, with another archive, or other sums than its own."""
        data = self.archive if archive is None else archive
        text = f"{hashlib.sha256(data).hexdigest()}  ./{ARCHIVE}\n" if sums is None else sums
        self.hub.releases.pop(REPOSITORY, None)
        return self.hub.add_release(REPOSITORY, TAG, {ARCHIVE: data, SUMS: text.encode()}, **more)


@contextmanager
def serving_site(
    directory: Path, real: Path | None = None, xllamacpp: str | None = None, data_files: Path = ROOT
) -> Iterator[OllamaSite]:
    """Serve while the body runs. ``xllamacpp`` is an interpreter that has it: then answers are those of a model.

    ``data_files`` are those that its own differ from only in what is said of Ollama.
    """
    directory.mkdir(parents=True)
    archive = make_archive(directory, real, xllamacpp or sys.executable)
    with serving_hub() as hub:
        site = OllamaSite(hub, archive.read_bytes(), directory / "assets")
        write_assets(site.assets, data_files=data_files)
        site.release()
        yield site


def write_assets(directory: Path, installed_bytes: int = 1 << 20, data_files: Path = ROOT) -> None:
    """Write the data files, with releases of Ollama that take so much disk."""
    for name in ("profiles", "templates"):
        shutil.copytree(data_files / name, directory / name, dirs_exist_ok=True)
    profile = directory / "profiles" / "engines" / "ollama.yaml"
    document = yaml.safe_load(profile.read_text(encoding="utf-8"))
    for release in document["releases"]:
        release["installed_bytes"] = installed_bytes
    profile.write_text(yaml.safe_dump(document), encoding="utf-8")


def without_libraries(archive: bytes, directory: Path) -> bytes:
    """Return the archive of a bare program, as some packages have it."""
    whole, bare = directory / "whole.tar", directory / "bare.tar"
    whole.write_bytes(unpacked(archive))
    with tarfile.open(whole) as source, tarfile.open(bare, "w") as target:
        for member in source:
            if "lib" not in member.name.split("/"):
                target.addfile(member, source.extractfile(member) if member.isfile() else None)
    return packed(bare.read_bytes())
