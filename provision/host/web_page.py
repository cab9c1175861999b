"""Recognising a web page where a file was expected."""

from __future__ import annotations

from provision.errors import UnreachableError
from provision.host.address import redact

FIRST_BYTES = 512
_STARTS = (b"<!doctype html", b"<html", b"<head", b"<body", b"<script")


def looks_like_a_page(first: bytes) -> bool:
    """Tell whether a file begins as a web page does: the login page of a network, or a proxy's excuse."""
    return first.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_STARTS)


def page_instead(url: str) -> UnreachableError:
    """Return the error for a web page in place of a file or a document."""
    return UnreachableError(
        f"{redact(url)} answers with a web page: a proxy or a login page?",
        "Open the address in a browser: a network may want a login first. Else name a mirror or the right proxy.",
    )
