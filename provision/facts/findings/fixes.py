"""The fix for a finding on this very host. Its knowledge is read from the profiles only when there is one to fix."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from provision.domain.facts import Facts
from provision.domain.gpu import Gpu
from provision.facts.findings.wording import quoted
from provision.knowledge.versions import numbers

DRIVER = "driver"  # the tag that says that the version of the kernel driver is known


def fix_for(facts: Facts, code: str, gpus: Sequence[Gpu] = (), tags: Iterable[str] = (), **words: object) -> str:
    """Return what to do about ``code`` on this host: lines, each a command, or a comment that begins with ``# ``.

    ``gpus`` are those that it is about, the first of which names the vendor. ``words`` fill the placeholders that
    are not about the GPU; what comes from the machine has to be quoted for a shell (``quoted``).
    """
    from provision.knowledge.fixes import choose_fix, load_fixes

    first = gpus[0] if gpus else Gpu()
    version = numbers(first.driver)
    chosen = choose_fix(load_fixes(), code, facts.os, first.vendor, (*tags, *([DRIVER] if version else [])))
    branch = version[0] if version else ""
    known = {"pci": quoted(first.pci or "0"), "branch": branch, "group": group(gpus), **words}
    return chosen.do.format(**known).strip()


def group(gpus: Sequence[Gpu]) -> str:
    """Return the group that may open the device nodes; ``render`` is what udev gives them where nothing is known."""
    return quoted(next((gpu.access_group for gpu in gpus if gpu.access_group), "render"))


def group_tags(gpus: Sequence[Gpu]) -> tuple[str, ...]:
    """Return what is special about that group: only root is in it, or it has a number and no name."""
    name = group(gpus)
    if name in ("root", "0"):
        return ("root",)
    return ("numeric",) if name.isdecimal() else ()
