"""Who uses this machine and what it is called: the words that a capture must not tell."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

from provision.domain.frozen import frozen

USER_VARIABLES = ("USER", "LOGNAME", "USERNAME", "SUDO_USER")
MIN_LENGTH = 3
MIN_SECRET_LENGTH = 8
SECRET_NAME = r"(?:token|secret|password|passwd|api[_-]?key|access[_-]?key|credentials?)"  # noqa: S105
WORDS = Path(__file__).with_name("ordinary_words.txt")


@frozen
class Identity:
    """What tells who and which machine this is.

    ``users`` are login names, ``homes`` their home directories, ``hosts`` what this machine is called, with or
    without a domain, ``places`` other machines and domains, ``secrets`` exact values that must appear nowhere.
    """

    users: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    places: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()

    def learnt(self, env: Mapping[str, str]) -> Identity:
        """Return this, and what ``env`` tells: who logged in, the hosts and logins of proxies, tokens."""
        proxies = [value for name, value in env.items() if name.lower().endswith("_proxy")]
        return Identity(
            users=_unique(*self.users, *(env.get(name, "") for name in USER_VARIABLES)),
            homes=_unique(*self.homes, env.get("HOME", "")),
            hosts=_unique(*self.hosts, env.get("HOSTNAME", "")),
            places=_unique(*self.places, *(host for value in proxies for host in _hosts(value))),
            secrets=_unique(*self.secrets, *(word for value in proxies for word in _login(value)), *_tokens(env)),
        )


def is_distinctive(word: str) -> bool:
    """Tell whether ``word`` may be replaced wherever it stands: an ordinary word would take facts with it."""
    return len(word) >= MIN_LENGTH and word.lower() not in ordinary_words() and not word.isdecimal()


@cache
def ordinary_words() -> frozenset[str]:
    """Return the words of ``ordinary_words.txt``."""
    lines = WORDS.read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def read_identity(env: Mapping[str, str]) -> Identity:
    """Return who runs this and what this machine calls itself."""
    import pwd

    host = os.uname().nodename
    try:
        entry = pwd.getpwuid(os.getuid())
        found = Identity((entry.pw_name,), (entry.pw_dir,), (host,))
    except KeyError:  # a container may run a user that it does not know
        found = Identity(hosts=(host,))
    return found.learnt(env)


def _unique(*words: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, words)))


def _hosts(value: str) -> Iterator[str]:
    """Yield the names of machines and domains in a proxy variable, or in a list of exceptions."""
    for entry in value.replace(",", " ").split():
        place = entry.rpartition("@")[2] if "://" not in entry else entry
        try:
            host = urlsplit(place if "://" in place else f"//{place}").hostname or ""
        except ValueError:
            continue
        host = host.lstrip("*.")
        if not host.replace(".", "").isdecimal() and ":" not in host:
            yield host


def _login(value: str) -> Iterator[str]:
    """Yield the user and the password of a proxy variable; a password may hold any character."""
    login, at, _ = value.rpartition("@")
    if at:
        for word in login.rpartition("://")[2].split(":", 1):
            yield from (word, unquote(word))


def _tokens(env: Mapping[str, str]) -> Iterator[str]:
    for name, value in env.items():
        secret = re.search(rf"{SECRET_NAME}$", name, re.IGNORECASE)
        if secret and len(value) >= MIN_SECRET_LENGTH and not value.startswith("/"):
            yield value
