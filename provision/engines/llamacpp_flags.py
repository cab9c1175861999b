"""The command line of a ``llama-server``, whose options drift: written from what its own ``--help`` lists."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from provision.domain.frozen import frozen
from provision.domain.selection import Selection
from provision.domain.spec import AUTO
from provision.engines.engine import Placement
from provision.errors import FabricError

# Names begin at the left edge. In older builds they nearly do, and each has its placeholder: "-t N, --threads N".
_NAME = re.compile(r"(?P<name>-{1,2}[A-Za-z][\w.-]*)(?: (?P<value>[^\s,-][^\s]*?))?(?P<more>,\s*|(?=\s|$))")
_INDENT = re.compile(r" {0,4}(?=-)")
_REMOVED = "argument has been removed"  # still listed, and refused


class OptionsMissingError(FabricError):
    """A ``llama-server`` has none of the spellings of an option without which it cannot be used."""

    code = "engine-unfit"


@frozen
class Setting:
    """One thing that is wanted of a server: ``ways`` to write it, the best first, each an option and maybe its value.

    Where the program knows none of them, one that is not ``required`` is left out.
    """

    ways: tuple[tuple[str, ...], ...]
    required: bool = True


def parse_options(help_text: str) -> dict[str, bool]:
    """Return every option in the output of ``llama-server --help``, and whether a value follows it.

    Those that are listed as removed are left out.
    """
    found: dict[str, bool] = {}
    for names, takes_value, text in _entries(help_text):
        if _REMOVED not in text:
            found.update(dict.fromkeys(names, takes_value))
    return found


def _entries(help_text: str) -> Iterator[tuple[list[str], bool, str]]:
    """Yield the names, whether a value follows, and the explanation (its line breaks as spaces) of every option."""
    entry: tuple[list[str], bool, str] | None = None
    for line in help_text.splitlines():
        begun = _INDENT.match(line)
        if begun is not None:
            if entry is not None:
                yield entry
            entry = _names(line, begun.end())
        elif entry is not None:
            entry = (entry[0], entry[1], f"{entry[2]} {line.strip()}")
    if entry is not None:
        yield entry


def _names(line: str, start: int) -> tuple[list[str], bool, str]:
    names, takes_value, more = [], False, True
    while more and (match := _NAME.match(line, start)):
        names.append(match["name"])
        takes_value |= match["value"] is not None
        more, start = bool(match["more"]), match.end()
    return names, takes_value, line[start:].strip()


def arguments(options: Mapping[str, bool], settings: Sequence[Setting]) -> tuple[str, ...]:
    """Return the arguments for ``settings``, of the ways that a program with these ``options`` understands.

    Raises ``OptionsMissingError`` where it lacks required ones.
    """
    missing = _missing(options, settings)
    if missing:
        raise OptionsMissingError(
            f"This llama-server does not know {', '.join(missing)}.",
            "Use a newer llama.cpp, or let fabric install one.",
        )
    return tuple(word for setting in settings for word in _way(options, setting) or ())


def missing_options(options: Mapping[str, bool], selection: Selection) -> list[str]:
    """Return what a program with these ``options`` lacks to serve ``selection``, with a key or without."""
    anywhere = Path("/")
    return _missing(options, server_settings(selection, Placement(anywhere, anywhere, anywhere, anywhere, anywhere)))


def _missing(options: Mapping[str, bool], settings: Sequence[Setting]) -> list[str]:
    lacking = (setting for setting in settings if setting.required and _way(options, setting) is None)
    return [" or ".join(way[0] for way in setting.ways) for setting in lacking]


def _way(options: Mapping[str, bool], setting: Setting) -> tuple[str, ...] | None:
    return next((way for way in setting.ways if options.get(way[0]) is (len(way) > 1)), None)


def server_settings(selection: Selection, place: Placement) -> tuple[Setting, ...]:
    """Return what a server is started with.

    The context is one pool for all slots in llama.cpp, hence context times parallel. The prompt cache in main memory
    is off: its default of 8 GiB is more than many machines have. Origins other than this machine's are answered
    without CORS permission, and without credentials.
    """
    threads = str(selection.threads)
    key = (str(place.api_key),) if place.api_key else ()
    kv_types = () if selection.spec.kv_cache == AUTO else (selection.spec.kv_cache,)
    return (
        _value(str(place.model), "--model", "-m"),
        _value(selection.model.name, "--alias", "-a"),
        _value(selection.host, "--host"),
        _value(str(selection.port), "--port"),
        *(_value(file, "--api-key-file") for file in key),
        _value(str(selection.context * selection.parallel), "--ctx-size", "-c"),
        _value(str(selection.parallel), "--parallel", "-np"),
        _value(threads, "--threads", "-t"),
        _value(threads, "--threads-batch", "-tb"),
        _layers(selection.acceleration),
        *(_value(kind, f"--cache-type-{part}", f"-ct{part}") for part in "kv" for kind in kv_types),
        _value("localhost", "--cors-origins", required=False),
        _switch("--no-cors-credentials"),
        _value("0", "--cache-ram", "-cram", required=False),
        _switch("--no-ui", "--no-webui"),
        _switch("--no-slots"),
        _switch("--metrics"),
        _switch("--offline"),
    )


def _layers(acceleration: str) -> Setting:
    """On a GPU as many as fit, where the build can see that for itself, else all; without, no GPU is touched at all."""
    names = ("--n-gpu-layers", "--gpu-layers", "-ngl")
    if acceleration == "cpu":
        return Setting((("--device", "none"), *((name, "0") for name in names)), required=False)
    return Setting((("--fit", "on"), *((name, "999") for name in names)))


def _value(value: str, *names: str, required: bool = True) -> Setting:
    return Setting(tuple((name, value) for name in names), required)


def _switch(*names: str) -> Setting:
    return Setting(tuple((name,) for name in names), required=False)
