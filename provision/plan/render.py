"""Client configuration from ``templates/``: the same few values in every format. Pure."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict

from provision.domain.client_config import ClientConfig


def render(template: str, config: ClientConfig) -> str:
    """Return ``template`` filled in. A name that the template does not know is an error, not an empty string."""
    import jinja2

    environment = jinja2.Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - shell, JSON and YAML: each value is quoted by the filter of its format
    )
    environment.filters["shell"] = shlex.quote
    environment.filters["json"] = json.dumps
    environment.filters["yaml"] = _yaml_scalar
    return environment.from_string(template).render(asdict(config))


def _yaml_scalar(value: object) -> str:
    """Quote one value for YAML, whose escapes beyond the basic plane are not JSON's."""
    import yaml

    return (
        yaml.safe_dump(value, default_style='"', width=float("inf")).strip()
        if isinstance(value, str)
        else json.dumps(value)
    )
