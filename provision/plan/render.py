"""Client configuration from ``templates/``: the same few values in every format. Pure."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict
from typing import TYPE_CHECKING

from provision.domain.client_config import ClientConfig

if TYPE_CHECKING:
    from provision.knowledge.routes import Backend

KEY_VARIABLE = "FABRIC_API_KEY"  # what `env` sets, and what tools that can are told to read
NO_KEY = "none"  # for tools that insist on a key where the server asks for none


def render(template: str, config: ClientConfig) -> str:
    """Return ``template`` filled in. A name that the template does not know is an error, not an empty string.

    Beside the values of ``config`` a template knows ``root_url``, ``key`` (the key, or a placeholder), ``has_key``,
    ``key_variable``, ``output`` (tokens that an answer may take, where the context is known) and ``route()`` (the row
    of the backend in the table by which ``provision.client`` finds its way; none where nobody knows the backend).
    """
    import jinja2

    environment = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - shell, JSON and YAML: each value is quoted by the filter of its format
    )
    environment.filters |= {"shell": shlex.quote, "json": _json, "yaml": _yaml_scalar, "toml": _json, "python": repr}
    return environment.from_string(template).render(
        asdict(config),
        root_url=config.root_url,
        key=config.api_key or NO_KEY,
        has_key=config.api_key is not None,
        key_variable=KEY_VARIABLE,
        output=config.context and config.context // 4,
        route=lambda: _route(config.backend),
    )


def _route(backend: str | None) -> Backend | None:
    """Read the table only for the template that asks for it."""
    from provision.knowledge.routes import load_routes

    return load_routes().find(backend) if backend else None


def _json(value: object) -> str:
    """Quote one value for JSON or TOML: characters beyond ASCII as they are, but DEL, which TOML wants escaped."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _yaml_scalar(value: object) -> str:
    """Quote one value for YAML, whose escapes beyond the basic plane are not JSON's."""
    import yaml

    return (
        yaml.safe_dump(value, default_style='"', width=float("inf")).strip()
        if isinstance(value, str)
        else json.dumps(value)
    )
