"""Names of models as Ollama has them, and digests: checked before any of them becomes a path or an address."""

from __future__ import annotations

import re

from provision.domain.frozen import frozen
from provision.errors import InvalidInputError, UsageError

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

_FIRST = "[A-Za-z0-9_]"
_PARTS = {  # no part begins with a dot, none has a slash: a name never leaves its directory
    "host": re.compile(rf"{_FIRST}[A-Za-z0-9_.:-]{{0,349}}", re.ASCII),
    "namespace": re.compile(rf"{_FIRST}[A-Za-z0-9_-]{{0,79}}", re.ASCII),
    "model": re.compile(rf"{_FIRST}[A-Za-z0-9_.-]{{0,79}}", re.ASCII),
    "tag": re.compile(rf"{_FIRST}[A-Za-z0-9_.-]{{0,79}}", re.ASCII),
}
_DIGEST = re.compile(r"(?:sha256[:-])?([0-9a-fA-F]{64})", re.ASCII)


@frozen
class OllamaName:
    """A name with nothing left out: ``host/namespace/model:tag``."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def path(self) -> str:
        """Its manifest's path under ``manifests``, relative and with ``/``."""
        return f"{self.host}/{self.namespace}/{self.model}/{self.tag}"

    @property
    def full(self) -> str:
        """The name with every part."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def short(self) -> str:
        """The name as Ollama lists it: without the host and the namespace that it takes for granted."""
        if self.host.casefold() != DEFAULT_HOST:
            return self.full
        if self.namespace.casefold() != DEFAULT_NAMESPACE:
            return f"{self.namespace}/{self.model}:{self.tag}"
        return f"{self.model}:{self.tag}"


def parse_name(text: str) -> OllamaName:
    """Return the whole name for ``text``, what it leaves out filled in as Ollama does.

    Raises ``UsageError`` for what Ollama would refuse as a name.
    """
    rest = re.sub(r"^https?://", "", text)
    tag = DEFAULT_TAG
    if rest.rfind(":") > rest.rfind("/"):
        rest, _, tag = rest.rpartition(":")
    *before, model = rest.split("/")
    if len(before) > 2:
        raise _bad(text)
    defaults = [DEFAULT_HOST, DEFAULT_NAMESPACE]
    host, namespace = [*defaults[: 2 - len(before)], *before]
    return _checked(OllamaName(host, namespace, model, tag), text)


def name_of_path(path: str) -> OllamaName:
    """Return the name whose manifest lies at ``path`` (see ``OllamaName.path``). Raises ``UsageError``."""
    parts = path.split("/")
    if len(parts) != 4:
        raise _bad(path)
    return _checked(OllamaName(*parts), path)


def names_match(one: str, other: str) -> bool:
    """Tell whether both name the same model to Ollama: ``x`` is ``X:latest``. What is no name matches nothing."""
    try:
        return parse_name(one).full.casefold() == parse_name(other).full.casefold()
    except UsageError:
        return False


def sha256_of(digest: str) -> str:
    """Return the 64 digits, in lower case, of ``sha256:…``, ``sha256-…`` or the digits alone.

    Raises ``InvalidInputError`` for anything else.
    """
    found = _DIGEST.fullmatch(digest)
    if found is None:
        raise InvalidInputError(f"{digest[:100]!r} is no SHA-256 digest.")
    return found.group(1).lower()


def _checked(name: OllamaName, text: str) -> OllamaName:
    if all(pattern.fullmatch(getattr(name, part)) for part, pattern in _PARTS.items()):
        return name
    raise _bad(text)


def _bad(text: str) -> UsageError:
    return UsageError(
        f"{text[:100]!r} is no name of an Ollama model.", "A name is [host/][namespace/]model[:tag], as in qwen3:0.6b."
    )
