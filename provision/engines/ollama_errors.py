"""What Ollama says when it cannot get a model, as errors of the contract: one row for each kind."""

from __future__ import annotations

import re
from typing import NamedTuple

from provision.engines.ollama_answers import BadAnswerError, error_text
from provision.errors import (
    CannotCreateError,
    FabricError,
    InvalidInputError,
    RefusedError,
    UnreachableError,
    UsageError,
)
from provision.host.endpoint import Response


class _Kind(NamedTuple):
    pattern: str
    error: type[FabricError]
    hint: str


_KINDS = (
    _Kind(
        r"requires a newer version of ollama|may be incompatible with your version of ollama",
        InvalidInputError,
        "This model needs a newer version of Ollama than this one: update it, or choose another model.",
    ),
    _Kind(
        r"no space left on device|disk quota exceeded|file too large",
        CannotCreateError,
        "Free some space where that Ollama keeps its models: see OLLAMA_MODELS.",
    ),
    _Kind(
        r"permission denied|read-only file system",
        CannotCreateError,
        "That Ollama may not write where it keeps its models: see OLLAMA_MODELS.",
    ),
    _Kind(
        r"unauthorized|access denied|\b40[13]\b|does not match original host",
        RefusedError,
        "The registry wants a login: the model may be private, or its name misspelt.",
    ),
    _Kind(
        r"digest mismatch",
        RefusedError,
        "The registry, or a proxy on the way, sends other bytes than it promises; Ollama kept nothing of that part.",
    ),
    _Kind(
        r"pull model manifest: file does not exist|model ['\"].*['\"] not found|model not found|manifest unknown|"
        r"\b404\b",
        UsageError,
        "Check the model's name and tag at the registry; `ollama list` shows what that Ollama has.",
    ),
    _Kind(
        r"invalid model name|name ['\"].*['\"] is invalid|is invalid$|model is required|unqualified name",
        UsageError,
        "A name is [host/][namespace/]model[:tag], as in qwen3:0.6b.",
    ),
    _Kind(
        r"not in gguf format|unknown type|no files provided|validate gguf|unknown model architecture|"
        r"unsupported model format|invalid file magic",
        InvalidInputError,
        "The file is damaged, not a GGUF, or of an architecture that this version of Ollama does not know.",
    ),
    _Kind(
        r"dial tcp|lookup .*: no such host|no such host|connection refused|connection reset|i/o timeout|timed? out|"
        r"deadline exceeded|max retries exceeded|unexpected eof|\beof$|tls:|x509:|no location header|\b5\d\d: ",
        UnreachableError,
        "Ollama cannot reach the registry: check the network and HTTPS_PROXY, then try again; it goes on where it was.",
    ),
)


def explain(said: str, doing: str) -> FabricError:
    """Return the error for what Ollama ``said`` while ``doing`` something ("pulling qwen3:0.6b")."""
    text = " ".join(said.split())
    for kind in _KINDS:
        if re.search(kind.pattern, text, re.IGNORECASE):
            return kind.error(f"Ollama failed {doing}: {text}.", kind.hint)
    return FabricError(f"Ollama failed {doing}: {text}.", "See that Ollama's own log.")


def explain_response(response: Response, doing: str) -> FabricError:
    """Return the error for an answer that is not a good one, or that never came."""
    if response.status == 0:
        return UnreachableError(f"Ollama does not answer while {doing}: {response.error}.", "See whether it runs.")
    said = error_text(response)
    if said:
        return explain(said, doing)
    if response.status == 403:
        return RefusedError(
            f"Ollama refuses the address that it was reached by, while {doing}.",
            "A server on loopback answers only to localhost, an IP address of this machine, or its host name: use one.",
        )
    text = response.body[:100].decode(errors="replace").strip()
    return BadAnswerError(
        f"This is not an answer of Ollama, while {doing}: {response.status} {text!r}.",
        "Another program, or an Ollama too old for this, may listen at this address.",
    )
