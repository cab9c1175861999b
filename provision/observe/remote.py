"""Looking at the server that a spec names, which somebody else runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from urllib.parse import urlsplit

from provision.domain.endpoint import normalize
from provision.domain.frozen import frozen
from provision.domain.selection import Selection
from provision.domain.spec import Spec
from provision.host.endpoint import EndpointClient
from provision.host.layout import Layout
from provision.host.resolve import check_resolved
from provision.host.secret import check_key, key_of
from provision.observe.fingerprint import fingerprint
from provision.select.external import KnownModels, lacks_model, select_external


@frozen
class Remote:
    """What is used of it, and whether its Ollama has to get the model first."""

    selection: Selection
    lacks_model: bool

    def as_saved(self, saved: Selection) -> Remote:
        """Return this with ``saved`` in place of a selection that differs in nothing but what the server did since."""
        passing = replace(self.selection, context=saved.context, model=saved.model, fit=saved.fit, why=saved.why)
        same = passing == saved and self.selection.model.name == saved.model.name
        return replace(self, selection=saved) if same else self


def look(spec: Spec, layout: Layout, env: Mapping[str, str], previous: Selection | None, known: KnownModels) -> Remote:
    """Ask the server at ``spec.base_url`` what it is. ``previous`` is what is served now, whose key may be stored.

    Only GETs, and no key before it is wanted. Raises ``UsageError`` or ``RefusedError`` for an address that nothing
    may be sent to, ``UsageError`` for a key or a model that is not clear, ``UnreachableError`` where nobody answers, or
    who answers is still loading.
    """
    variable = spec.api_key_env
    base_url = normalize(spec.base_url or "", has_key=bool(variable))
    same = previous is not None and previous.is_remote and previous.base_url == base_url
    check_key(variable, env, layout, stored_counts=same)
    check_resolved(urlsplit(base_url).hostname or "")
    seen = fingerprint(EndpointClient(base_url, key_of(variable, env, layout), env=env))
    selection = select_external(spec, base_url, seen, known)
    return Remote(selection, lacks_model(selection, seen))
