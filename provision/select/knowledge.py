"""Everything that a choice rests on besides the facts and the wish, as one value. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from provision.domain.frozen import frozen
from provision.knowledge.builds import Build
from provision.knowledge.engine_files import EngineFile
from provision.knowledge.hardware import Hardware
from provision.knowledge.models import Catalog
from provision.knowledge.serving import Serving
from provision.knowledge.sizing import Sizing


@frozen
class Knowledge:
    """The data that a choice rests on.

    ``engines`` are the files of all engines by name, with the releases that this version can install; ``builds`` are
    those that others publish; ``serving`` is profiles/serving.yaml.
    """

    engines: Mapping[str, EngineFile]
    serving: Serving
    hardware: Hardware
    builds: tuple[Build, ...]
    catalog: Catalog
    sizing: Sizing
