"""Which names in an archive are safe, and which of them would be the same file on some system."""

from __future__ import annotations

import re
import unicodedata

from provision.artifacts.archive.member import BadArchiveError, Kind, Limits, Member, shown

_DRIVE = re.compile(r"[A-Za-z]:")
_NO_TEXT = ("Cc", "Cs")  # control characters, and what was not UTF-8

Parts = tuple[str, ...]


class Names:
    """Every name that was unpacked so far, ``strip`` leading directories taken away."""

    def __init__(self, limits: Limits, strip: int) -> None:
        self._limits = limits
        self._strip = strip
        self._top: Parts | None = None
        self._known: dict[str, tuple[str, Kind]] = {}

    def place(self, member: Member) -> Parts:
        """Return where ``member`` goes, from the top of the new tree; empty for what is stripped.

        Raises ``BadArchiveError`` for an unsafe name, for one that is taken or lies below something that is no
        directory, and for a link that leads outside.
        """
        parts = self._stripped(member.name, member.kind)
        for depth in range(1, len(parts)):
            self._register(parts[:depth], Kind.DIRECTORY, member.name)
        if parts:
            self._register(parts, member.kind, member.name)
        if member.kind is Kind.LINK:
            check_link(parts, member.target, self._limits)
        return parts

    def file(self, name: str) -> Parts:
        """Return where the file that a hard link names was unpacked. Raises ``BadArchiveError`` if it was not."""
        parts = self._stripped(name, Kind.HARD_LINK)
        if self._known.get(_folded("/".join(parts))) != ("/".join(parts), Kind.FILE):
            raise BadArchiveError(f"is unsafe: it has a hard link to {shown(name)}, which is no file unpacked before")
        return parts

    def _stripped(self, name: str, kind: Kind) -> Parts:
        parts = safe_parts(name.removesuffix("/") if kind is Kind.DIRECTORY else name, self._limits)
        top, rest = parts[: self._strip], parts[self._strip :]
        if not rest and kind is Kind.DIRECTORY:
            return ()
        self._top = self._top or top
        if not rest or top != self._top:
            raise BadArchiveError(f"is not laid out as expected: {shown(name)} is beside its top directory")
        return rest

    def _register(self, parts: Parts, kind: Kind, name: str) -> None:
        path = "/".join(parts)
        folded = _folded(path)
        known, known_kind = self._known.get(folded, ("", kind))
        if not known:
            if len(self._known) >= self._limits.members:
                raise BadArchiveError(f"holds more than the {self._limits.members} files that are believable")
            self._known[folded] = path, kind
        elif known != path:
            raise BadArchiveError(f"is unsafe: {shown(known)} and {shown(path)} are the same name on some systems")
        elif not (kind is known_kind is Kind.DIRECTORY):
            raise BadArchiveError(
                f"is unsafe: {shown(name)} cannot be there, because {shown(path)} is a {known_kind.value} already"
            )


def safe_parts(name: str, limits: Limits) -> Parts:
    """Return the directories and the name that make up ``name``. Raises ``BadArchiveError`` where it is not safe."""
    why = _why_unsafe(name, limits)
    if why:
        raise BadArchiveError(f"is unsafe: {shown(name)} is {why}")
    return tuple(part for part in name.split("/") if part != ".")


def _why_unsafe(name: str, limits: Limits) -> str:
    parts = name.split("/")
    cases = {
        "an empty name": not name,
        "an absolute name": name.startswith("/") or _DRIVE.match(name) is not None,
        "a name with a backslash": "\\" in name,
        "a name that is no text": any(unicodedata.category(each) in _NO_TEXT for each in name),
        "a name that leads out of its directory": ".." in parts,
        "a name with an empty part": "" in parts,
        "a name that is too long": _size(name) > limits.name_bytes or max(map(_size, parts)) > limits.part_bytes,
        "a name with too many directories": len(parts) > limits.depth,
    }
    return next((why for why, holds in cases.items() if holds), "")


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def check_link(parts: Parts, target: str, limits: Limits) -> None:
    """Raise ``BadArchiveError`` where the symbolic link at ``parts`` could lead out of the tree.

    Its ``..`` may only come first, and not more of them than there are directories around it. These are no links
    themselves, because nothing is unpacked below a link; from there a path only goes down, or on to another link that
    keeps the same rule. So whatever is linked to whatever, the end is inside.
    """
    steps = [step for step in target.split("/") if step not in ("", ".")]
    up = next((number for number, step in enumerate(steps) if step != ".."), len(steps))
    why = _why_unsafe("/".join(steps[up:]) or "-", limits)
    outside = target.startswith("/") or not target or up > len(parts) - 1
    if why or outside or _size(target) > limits.name_bytes:
        raise BadArchiveError(f"is unsafe: the link {shown('/'.join(parts))} leads to {shown(target)}")


def _folded(path: str) -> str:
    """Return what two names have in common that are the same file on some system (macOS, an odd mount)."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", path).casefold())
