"""Telling engines apart by what they answer to GET requests. Whatever a server answers, nothing is raised.

Sources: each engine's own documentation of its HTTP API; the look-alikes that each test here guards against: llama.cpp
lists models for Ollama's clients too, KoboldCpp answers ``/api/version`` and ``/props``, LM Studio answers 200 with an
error to any path.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from provision.domain.fingerprint import (
    COMPATIBLE,
    LLAMACPP,
    LMSTUDIO,
    OLLAMA,
    UNKNOWN,
    UNREACHABLE,
    VLLM,
    Fingerprint,
)
from provision.domain.frozen import frozen
from provision.host.answer import Response

Ask = Callable[[str], Response]

MODELS = "/v1/models"
MAX_MODELS = 10_000
MAX_NAME_CHARACTERS = 300
MAX_VERSION_CHARACTERS = 60
MAX_CONTEXT = 1 << 31
_WANTS_KEY = (401, 403)
_LOADING = 503
_LOGINS = ("basic", "digest", "negotiate", "ntlm")
_NO_BUILD = "b0-unknown"  # what llama.cpp says of itself where it was built from an archive
_SHOWN = {OLLAMA: "Ollama", VLLM: "vLLM", LLAMACPP: "llama.cpp", LMSTUDIO: "LM Studio"}


@frozen
class _Seen:
    """What is known so far: the answer to the list of models, and its rows."""

    ask: Ask
    listed: Response
    rows: tuple[dict[str, Any], ...]
    owners: frozenset[str]

    def document(self, path: str) -> dict[str, Any]:
        """Return the JSON object at ``path``, an empty one where there is none."""
        return _document(self.ask(path))


def identify(ask: Ask, ask_with_key: Ask | None = None) -> Fingerprint:
    """Return what is behind ``ask``, which GETs a path. A key is sent only to a server that turned us away without."""
    listed = ask(MODELS)
    guarded = listed.status in _WANTS_KEY
    if guarded and ask_with_key is not None:
        ask = ask_with_key
        listed = ask(MODELS)
    if listed.status == 0:
        return Fingerprint(UNREACHABLE, detail=_plain(listed.error or "no answer", MAX_NAME_CHARACTERS))
    rows = tuple(_rows(_document(listed).get("data")))
    seen = _Seen(ask, listed, rows, frozenset(_owners(rows)))
    for look in (_ollama, _vllm, _llamacpp, _lmstudio):
        found = look(seen)
        if found is not None:
            needs_key = found.needs_key or guarded
            known = replace(found, models=_names(rows), needs_key=needs_key, status=listed.status)
            known = replace(known, loading=found.loading or listed.status == _LOADING)
            return replace(known, detail=f"it answers as {_SHOWN[found.kind]} does{_troubled(listed)}")
    needs_key = guarded and not _is_web_login(listed)
    return replace(_any_other(seen), models=_names(rows), needs_key=needs_key, status=listed.status)


def _troubled(listed: Response) -> str:
    return "" if listed.status == 200 else f", and GET {MODELS} answers {listed.status}"


def _ollama(seen: _Seen) -> Fingerprint | None:
    version = _version(seen.document("/api/version"))
    if version is None or _is_llamacpp(seen):
        return None
    if "library" not in seen.owners and b"Ollama is running" not in seen.ask("/").body[:200]:
        return None
    told = ((row.get("name"), row.get("context_length")) for row in _rows(seen.document("/api/ps").get("models")))
    return Fingerprint(OLLAMA, version, contexts=_contexts(told))


def _vllm(seen: _Seen) -> Fingerprint | None:
    named = VLLM in seen.owners
    if not named and seen.listed.status not in _WANTS_KEY:
        return None
    version = _version(seen.document("/version"))
    # Its list is guarded by the key, its figures for monitoring are not.
    if not named and (version is None or b"vllm:" not in seen.ask("/metrics").body):
        return None
    return Fingerprint(
        VLLM, version, contexts=_contexts((row.get("id"), row.get("max_model_len")) for row in seen.rows)
    )


def _llamacpp(seen: _Seen) -> Fingerprint | None:
    answer = seen.ask("/props")
    props = _document(answer)
    build = props.get("build_info")
    if not _is_llamacpp(seen) and not (isinstance(build, str) and "default_generation_settings" in props):
        return None
    version = _plain(build, MAX_VERSION_CHARACTERS) if isinstance(build, str) and build != _NO_BUILD else None
    contexts = _contexts((row.get("id"), _inside(row, "meta").get("n_ctx")) for row in seen.rows)
    slot = _inside(props, "default_generation_settings").get("n_ctx")  # what one request gets of it
    if len(seen.rows) == 1:
        contexts |= _contexts([(seen.rows[0].get("id"), slot)])
    return Fingerprint(
        LLAMACPP,
        version or None,
        needs_key=answer.status in _WANTS_KEY,
        contexts=contexts,
        loading=answer.status == _LOADING,  # some versions list their model before they have loaded it
    )


def _is_llamacpp(seen: _Seen) -> bool:
    return seen.listed.headers.get("server", "").lower().startswith("llama.cpp") or LLAMACPP in seen.owners


def _lmstudio(seen: _Seen) -> Fingerprint | None:
    current = list(_rows(seen.document("/api/v1/models").get("models")))
    if any("key" in row and "loaded_instances" in row for row in current):
        instances = [each for row in current for each in _rows(row.get("loaded_instances"))]
        told = ((each.get("id"), _inside(each, "config").get("context_length")) for each in instances)
        return Fingerprint(LMSTUDIO, contexts=_contexts(told))
    older = list(_rows(seen.document("/api/v0/models").get("data")))
    if any("compatibility_type" in row and "state" in row for row in older):
        told = ((row.get("id"), row.get("loaded_context_length")) for row in older)
        return Fingerprint(LMSTUDIO, contexts=_contexts(told))
    return None


def _any_other(seen: _Seen) -> Fingerprint:
    status, document = seen.listed.status, _document(seen.listed)
    if status == 200 and "data" in document and (document["data"] is None or isinstance(document["data"], list)):
        # OpenRouter, Groq and others tell it in these words
        told = ((row.get("id"), row.get("context_length") or row.get("context_window")) for row in seen.rows)
        return Fingerprint(COMPATIBLE, detail=f"GET {MODELS} lists models", contexts=_contexts(told))
    if _is_web_login(seen.listed):
        return Fingerprint(UNKNOWN, detail=f"GET {MODELS} answers {status}: a web page that wants a login")
    if status in _WANTS_KEY:
        return Fingerprint(COMPATIBLE, detail=f"GET {MODELS} answers {status}: it wants a key, or another one")
    if 300 <= status < 400:
        where = _plain(seen.listed.headers.get("location", ""), MAX_NAME_CHARACTERS)
        return Fingerprint(UNKNOWN, detail=f"GET {MODELS} leads elsewhere: {where or 'it does not say where'}")
    what = "no list of models" if status == 200 else str(status)
    return Fingerprint(UNKNOWN, detail=f"GET {MODELS} answers {what}")


def _is_web_login(listed: Response) -> bool:
    """Tell a page for people from an API: no client of this API has a user name to send."""
    page = "html" in listed.headers.get("content-type", "").lower()
    login = listed.headers.get("www-authenticate", "").lower().startswith(_LOGINS)
    return listed.status in _WANTS_KEY and (page or login)


def _document(answer: Response) -> dict[str, Any]:
    document = answer.json() if answer.status == 200 else None
    return document if isinstance(document, dict) else {}


def _rows(value: Any) -> Iterator[dict[str, Any]]:
    for row in value[:MAX_MODELS] if isinstance(value, list) else ():
        if isinstance(row, dict):
            yield row


def _owners(rows: tuple[dict[str, Any], ...]) -> Iterator[str]:
    for row in rows:
        owner = row.get("owned_by")
        if isinstance(owner, str):
            yield owner.lower()


def _inside(row: dict[str, Any], name: str) -> dict[str, Any]:
    value = row.get(name)
    return value if isinstance(value, dict) else {}


def _names(rows: tuple[dict[str, Any], ...]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for row in rows if (name := _name(row.get("id")))))


def _name(value: Any) -> str | None:
    """Return a model's name as it is: one that would have to be changed could not be asked for."""
    good = isinstance(value, str) and 0 < len(value) <= MAX_NAME_CHARACTERS and value.isprintable()
    return value if good else None


def _version(document: dict[str, Any]) -> str | None:
    version = document.get("version")
    return _plain(version, MAX_VERSION_CHARACTERS) or None if isinstance(version, str) else None


def _contexts(told: Any) -> dict[str, int]:
    """Return the sane ones of pairs of a model's name and its context."""
    return {
        name: context
        for name, context in told
        if _name(name) and isinstance(context, int) and not isinstance(context, bool) and 0 < context < MAX_CONTEXT
    }


def _plain(text: str, most: int) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:most]).strip()
