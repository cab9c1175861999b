"""The sites that things come from, each replaceable by a mirror, and whose token is shown to which of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import field, fields
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

from provision.domain.frozen import frozen
from provision.domain.safe_name import shown
from provision.domain.web_address import is_loopback
from provision.errors import InvalidInputError, UsageError, did_you_mean
from provision.host.address import origin

VARIABLE_PREFIX = "FABRIC_MIRROR_"
ADDRESSES_VARIABLE = "FABRIC_MIRRORS"  # ADDRESS=URL, more than one with spaces between them
HUB_VARIABLES = ("MODEL_ENDPOINT", "HF_ENDPOINT")  # the first is llama.cpp's, and wins there as well
HUB_TOKEN = "HF_TOKEN"  # noqa: S105 - a variable's name
GITHUB_TOKENS = ("GITHUB_TOKEN", "GH_TOKEN")
SITE_OF = {"hf": "huggingface", "ollama": "ollama_registry", "github": "github"}
INDEX = "index"  # the place of wheels, which have no site: whoever is configured as the package index gives them
MAX_TOKEN_BYTES = 1 << 12
_TOKEN = re.compile(r"[\x21-\x7e]+")


@frozen
class Mirrors:
    """Base addresses without a slash at the end; ``others`` maps those of no site to what stands in for them.

    ``from_spec`` names those that a spec has set. They are never shown a token: a spec may come from somebody else,
    who must not learn the tokens of whoever tries it.
    """

    huggingface: str = "https://huggingface.co"
    ollama_registry: str = "https://registry.ollama.ai"
    github: str = "https://github.com"
    github_api: str = "https://api.github.com"
    others: Mapping[str, str] = field(default_factory=dict)
    from_spec: frozenset[str] = frozenset()

    def mirrored(self, url: str) -> str:
        """Return where a file is fetched whose address names its own site."""
        sites = {getattr(Mirrors, site): getattr(self, site) for site in SITES}
        return _moved(url, {**sites, **self.others})

    def upstream(self, place: str, url: str) -> str:
        """Return the address that a file of a ``place``, as releases and models call it, has at its own site."""
        if place == INDEX:
            return _moved(url, {base: usual for usual, base in self.others.items()})
        site = SITE_OF.get(place)
        return _moved(url, {getattr(self, site): getattr(Mirrors, site)}) if site else url

    def token_for(self, url: str, env: Mapping[str, str]) -> str | None:
        """Return the user's token for the site that ``url`` is on, ``None`` where there is none.

        The hub's is ``HF_TOKEN``, else in the file ``HF_TOKEN_PATH``, ``$HF_HOME/token`` or
        ``~/.cache/huggingface/token``; GitHub's is ``GITHUB_TOKEN`` or ``GH_TOKEN``, for its API alone. Raises
        ``UsageError`` for one that cannot be sent.
        """
        if self._is_on("huggingface", url):
            return _sendable(HUB_TOKEN, env.get(HUB_TOKEN)) or _sendable("The token file", _stored_hub_token(env))
        if self._is_on("github_api", url):
            return next((token for name in GITHUB_TOKENS if (token := _sendable(name, env.get(name)))), None)
        return None

    def headers_for(self, url: str, env: Mapping[str, str]) -> dict[str, str]:
        """Return the header that carries the token for ``url``; empty where there is none."""
        token = self.token_for(url, env)
        return {"Authorization": f"Bearer {token}"} if token else {}

    def _is_on(self, site: str, url: str) -> bool:
        base: str = getattr(self, site)
        below = urlsplit(url).path.startswith(f"{urlsplit(base).path}/")  # one host can be the mirror of several sites
        return site not in self.from_spec and below and origin(base) == origin(url)


SITES = tuple(each.name for each in fields(Mirrors) if each.name not in ("others", "from_spec"))


def _moved(url: str, bases: Mapping[str, str]) -> str:
    """Return ``url`` below the new base where it is below one of the old ones."""
    new = (f"{base}{url.removeprefix(old)}" for old, base in bases.items() if url.startswith(f"{old}/"))
    return next(new, url)


def choose_mirrors(spec: Mapping[str, str], env: Mapping[str, str]) -> Mirrors:
    """Return the sites by ``FABRIC_MIRROR_<NAME>``, the spec's ``install.mirrors``, the hub's own variables.

    The first that is set wins. Raises ``InvalidInputError`` for what the spec has wrong, ``UsageError`` for what a
    variable has.
    """
    unknown = next((name for name in spec if name not in SITES and "://" not in name), None)
    if unknown is not None:
        raise InvalidInputError(
            f"install.mirrors: {unknown} is not a site.{did_you_mean(unknown, list(SITES))}",
            f"Known: {', '.join(SITES)}; or the address that it stands in for.",
        )
    chosen: dict[str, str] = {}
    for variable in reversed(HUB_VARIABLES):
        if env.get(variable):
            chosen["huggingface"] = _address(variable, env[variable])
    chosen.update({name: _from_spec(name, base) for name, base in spec.items() if name in SITES})
    others = {_from_spec(name, name): _from_spec(name, base) for name, base in spec.items() if name not in SITES}
    for said in env.get(ADDRESSES_VARIABLE, "").split():
        usual, _, base = said.partition("=")
        others[_address(ADDRESSES_VARIABLE, usual)] = _address(ADDRESSES_VARIABLE, base)
    from_spec = {name for name in spec if name in SITES}
    for name in SITES:
        variable = VARIABLE_PREFIX + name.upper()
        if env.get(variable):
            chosen[name] = _address(variable, env[variable])
            from_spec.discard(name)
    return Mirrors(**chosen, others=others, from_spec=frozenset(from_spec))


def _address(variable: str, value: str) -> str:
    """Return an address that a variable gives."""
    base, problem = _base(value)
    if problem:
        raise UsageError(f"{variable}: {problem}.", "Set it to an address such as https://mirror.example, or unset it.")
    return base


def _from_spec(name: str, value: object) -> str:
    base, problem = _base(value)
    if problem:
        raise InvalidInputError(f"install.mirrors.{name}: {problem}.", "Use an address such as https://mirror.example.")
    return base


def _base(value: object) -> tuple[str, str | None]:
    """Return a base address and nothing, or the reason why it is none. The reason never holds a login."""
    text = value.strip().rstrip("/") if isinstance(value, str) else ""
    try:
        parts = urlsplit(text)
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        parts, usable = SplitResult("", "", "", "", ""), False
    if parts.username is not None or parts.password is not None:
        return text, "a login does not belong into it"
    if not usable or not _TOKEN.fullmatch(text) or "\\" in text or parts.query or parts.fragment:
        return text, f"{shown(str(value))} is not the address of a site"
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname or "")):
        return text, f"{shown(text)} is not https; http works for this machine alone"
    return text, None


def _stored_hub_token(env: Mapping[str, str]) -> str | None:
    """Return what is in the file where the hub's own programs keep the token."""
    if path := env.get("HF_TOKEN_PATH"):
        place = Path(path)
    elif home := env.get("HF_HOME"):
        place = Path(home, "token")
    elif cache := env.get("XDG_CACHE_HOME"):
        place = Path(cache, "huggingface", "token")
    elif home := env.get("HOME"):
        place = Path(home, ".cache", "huggingface", "token")
    else:
        return None
    try:
        with place.open("rb") as file:
            return file.read(MAX_TOKEN_BYTES).decode("ascii", "replace")
    except (OSError, ValueError):
        return None


def _sendable(where: str, token: str | None) -> str | None:
    token = (token or "").strip()
    if token and (not _TOKEN.fullmatch(token) or len(token) >= MAX_TOKEN_BYTES):
        raise UsageError(f"{where} holds what cannot be a token: it has spaces or signs in it.", "Set it again.")
    return token or None
