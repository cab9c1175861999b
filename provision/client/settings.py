"""What a client is told of its server: the environment or a file, as ``fabric config`` writes them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from provision.client.base_url import checked
from provision.domain.client_config import ClientConfig
from provision.errors import InvalidInputError, UsageError
from provision.knowledge.load import read_yaml

START, ENSURE = "local_llm_start_cmd", "local_llm_ensure_available"
_SETS = (  # of variables, that of fabric's own names first
    {"base_url": "base_url", "model": "model", "api_key": "api_key"},
    {"base_url": "OPENAI_BASE_URL", "model": "OPENAI_MODEL", "api_key": "OPENAI_API_KEY"},
)
_NO_KEY = "none"  # what is written for clients that insist on a key
_TRUTHS = {"true": True, "1": True, "false": False, "0": False}
_HOW = 'Set it by eval "$(fabric config)", or write a file with `fabric config json` and read that.'


def from_environment(env: Mapping[str, str] | None = None, *, needs_model: bool = True) -> ClientConfig:
    """Return what the variables of ``fabric config env`` say, else OPENAI_BASE_URL, OPENAI_MODEL and OPENAI_API_KEY.

    All three are of one set: that whose base URL is there. Raises ``UsageError`` where none is, or no model is named
    (``needs_model``, else it is empty then), ``InvalidInputError`` for a value that is none, and ``RefusedError`` for
    an unsafe address.
    """
    env = os.environ if env is None else env
    said = {
        name: env.get(name, "").strip() for name in (START, ENSURE, *(each for one in _SETS for each in one.values()))
    }
    names = next((one for one in _SETS if said[one["base_url"]]), None)
    if names is None:
        raise UsageError("No server is configured: neither base_url nor OPENAI_BASE_URL is set.", _HOW)
    if needs_model and not said[names["model"]]:
        raise UsageError(f"No model is configured: {names['base_url']} is set, and {names['model']} is not.", _HOW)
    if said[ENSURE] and said[ENSURE].lower() not in _TRUTHS:
        raise InvalidInputError(f"{ENSURE} is neither true nor false.", "Write true or false.")
    key = said[names["api_key"]]
    return _config(
        {
            **{name: said[variable] for name, variable in names.items()},
            "api_key": None if key == _NO_KEY else key,
            START: said[START],
            ENSURE: _TRUTHS.get(said[ENSURE].lower(), bool(said[START])),
        },
        names,
    )


def from_file(path: Path | str) -> ClientConfig:
    """Return what a file says that ``fabric config json`` or ``fabric config yaml`` has written.

    Keys that this version does not know are left alone. Raises ``InvalidInputError`` for a file that cannot be read or
    that says something else, and ``RefusedError`` for an unsafe address.
    """
    data = _read(Path(path))
    names = {name: f"{name} in {path}" for name in _SETS[0]}
    try:
        written = msgspec.convert({"api_key": None, START: "", ENSURE: True, **data}, ClientConfig)
    except (TypeError, msgspec.ValidationError) as error:
        why = str(error) if isinstance(error, msgspec.ValidationError) else "it holds no keys"
        raise InvalidInputError(f"{path} is no client configuration: {why}.", _HOW) from None
    return _config(vars(written), names)


def _read(path: Path) -> Any:
    with suppress(OSError, RecursionError, msgspec.DecodeError):  # JSON writes some letters as YAML does not
        return msgspec.json.decode(path.read_bytes())
    return read_yaml(path)


def _config(values: Mapping[str, Any], names: Mapping[str, str]) -> ClientConfig:
    key = values["api_key"] or None
    base_url = checked(values["base_url"], names["base_url"], key_place=names["api_key"], has_key=key is not None)
    return ClientConfig(**{**values, "api_key": key, "base_url": base_url})
