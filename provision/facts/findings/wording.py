"""Words of findings: names, sizes and versions as a person reads them."""

from __future__ import annotations

from collections.abc import Sequence

from provision.domain.gpu import VENDOR_NAMES, Gpu

MAX_CHARACTERS = 160
MAX_NAMED = 3
SIGNAL = "ended by signal"  # in the words of every probe that runs a program


def plain(text: str, most: int = MAX_CHARACTERS) -> str:
    """Return what a machine said as one short line: what it holds may end in a terminal."""
    shown = " ".join("".join(letter if letter.isprintable() else " " for letter in text[: 4 * most]).split())
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"


def names(gpus: Sequence[Gpu]) -> str:
    """Return what GPUs are called, each with its address; the first few of many."""
    shown = [_name(gpu) for gpu in gpus[:MAX_NAMED]]
    more = len(gpus) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def _name(gpu: Gpu) -> str:
    vendor = VENDOR_NAMES.get(gpu.vendor or "")
    name = plain(gpu.name or "") or " ".join(filter(None, (vendor, "GPU", plain(gpu.device_id or ""))))
    address = plain(gpu.pci or "")
    return f"{name} ({address})" if address else name


def quoted(text: str) -> str:
    """Return what a machine said as one word of a shell's command line."""
    import shlex

    return shlex.quote("".join(letter for letter in text if letter.isprintable()))
