"""``fabric route``."""

from __future__ import annotations

from typing import Annotated

import typer

from provision.cli import output
from provision.cli.session import Result, Session, verb
from provision.cli.wish import SpecFile, read_wish


@verb("route")
def command(
    session: Session,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="As code would ask for it, with a prefix or without.")],
    file: SpecFile = None,
) -> Result:
    """Show where requests for a model go, and which rule decided.

    [bold]fabric route qwen3.5:4b[/bold]             by HARNESS_ENDPOINTS, VLLM_MODEL_MAP or INFERENCE_BACKEND

    [bold]fabric route vllm/Qwen/Qwen3.5-4B[/bold]   by its prefix
    """
    from provision.client.routing import near_prefix, route
    from provision.knowledge.models import load_catalog

    session.spec_dir = read_wish({}, file).directory
    found = route(model, session.env, load_catalog(session.own_models))
    near = near_prefix(model) if found.model_id == found.model else ""
    document = {
        "model": found.model,
        "model_id": found.model_id,
        "backend": found.backend,
        "base_url": found.base_url,
        "api_key_env": found.api_key_env,
        "api_key_set": found.has_key,
        "rule": found.rule,
        "hint": f"{model.strip().partition('/')[0]}/ is no prefix of a backend.{near}" if near else None,
    }
    key = f"{found.api_key_env} ({'set' if found.has_key else 'not set: a harmless key is sent'})"
    shown = {name: document[name] for name in ("model", "model_id", "backend", "base_url")}
    rows = [*shown.items(), ("api_key", key), ("rule", found.rule), ("hint", document["hint"])]
    return Result(document, lambda: output.pairs(rows))
