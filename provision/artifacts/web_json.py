"""Documents of a site that nobody trusts: JSON and text, bounded, and told from the page of a proxy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from provision.errors import RefusedError, UnreachableError
from provision.host.address import redact
from provision.host.site import Answer, get
from provision.host.transport import Transport
from provision.host.web_page import FIRST_BYTES, looks_like_a_page, page_instead

MAX_JSON_BYTES = 1 << 24  # the listing of a repository with thousands of files has 2 MB
MAX_TEXT_BYTES = 1 << 20
MAX_SIZE_BYTES = 1 << 50


def read_json(
    url: str, transport: Transport, headers: Mapping[str, str], max_bytes: int = MAX_JSON_BYTES
) -> tuple[Answer, Any]:
    """Return the answer of ``url`` and its document, which is ``None`` unless the status is 200.

    Raises ``UnreachableError`` for what is not JSON, and what ``get`` raises.
    """
    answer = get(url, transport, {"Accept": "application/json", **headers}, max_bytes)
    return answer, parse_json(answer) if answer.status == 200 else None


def read_text(url: str, transport: Transport, headers: Mapping[str, str], max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Return the text at ``url``. Raises ``UnreachableError`` for a web page and for any status but 200."""
    answer = get(url, transport, headers, max_bytes)
    if answer.status != 200:
        raise unexpected(answer)
    refuse_page(answer)
    return answer.body.decode("utf-8", "replace")


def parse_json(answer: Answer) -> Any:
    """Return the document in the body. Raises ``UnreachableError`` where it is something else."""
    refuse_page(answer)
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise not_as_documented(answer, "it is not JSON") from error


def refuse_page(answer: Answer) -> None:
    """Raise ``UnreachableError`` for a web page where a file or a document was asked for."""
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind == "text/html" or looks_like_a_page(answer.body[:FIRST_BYTES]):
        raise page_instead(answer.url)


def not_as_documented(answer: Answer, what: str) -> UnreachableError:
    """Return the error for an answer that is not what the site documents."""
    return UnreachableError(
        f"{redact(answer.url)} does not answer as documented: {what}.",
        "Check the address of the mirror, if one is set; a proxy may be in between.",
    )


def unexpected(answer: Answer) -> UnreachableError:
    """Return the error for a status that nothing better is known about."""
    return UnreachableError(
        f"{redact(answer.url)} answers {answer.status}.", "Run the same command again later; it may be passing."
    )


def size_in(answer: Answer, value: Any, what: str, most: int = MAX_SIZE_BYTES) -> int | None:
    """Return a size, ``None`` where none is told. Raises ``RefusedError`` for one that no file has."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise RefusedError(
            f"{redact(answer.url)} gives {what} an impossible size.", "Nothing was fetched. Check the address."
        )
    return value
