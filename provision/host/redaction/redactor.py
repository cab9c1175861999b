"""Taking out of a capture what tells who and which machine it is from, without changing what the machine is.

A value is replaced by a stand-in of the same form, equal values by equal ones, so that what belongs together still
does. Stand-ins are left alone: redacting twice changes nothing. Addresses come from the ranges set aside for
documentation (RFC 5737, RFC 3849, RFC 7042).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from posixpath import basename, dirname
from typing import Any

from provision.host.redaction import addresses, serials
from provision.host.redaction.identity import MIN_SECRET_LENGTH, SECRET_NAME, USER_VARIABLES, Identity, is_distinctive
from provision.host.redaction.mounts import redact_mounts
from provision.host.redaction.stand_ins import StandIns

REDACTED = "redacted"
_KEPT_USERS = re.compile(r"(?:root|user\d*|shared|public|all|linuxbrew|lost\+found|default|\..*)", re.IGNORECASE)
_LOCAL_DOMAINS = ("localdomain", "local", "lan", "home")
# All are bounded, so that no text takes long. A name ends at a separator; mountinfo writes a space as \040, JSON a
# slash as \/.
_HOME = re.compile(r"((?<![/\\])[/\\]+(?:home|Users)[/\\]+)((?:\\0\d\d|[^/\\\s:;,\"'<>|)\]}])+)")
_USERS_PLACE = re.compile(r"((?:/run)?/media/|/var/lib/systemd/linger/)([^/\s:;,\"']+)")
_LOGIN = re.compile(r"(?<=://)[^\s\"'<>]{0,500}@")
_QUERY = re.compile(
    r"([?&;#][^=?&;#\s\"']{0,60}(?:token|key|secret|sig|auth|pass|pwd|credential|session|jwt)[^=?&;#\s\"']{0,60}=)"
    r"[^&\s\"'<>]+",
    re.IGNORECASE,
)
_ASSIGNED = re.compile(
    rf"({SECRET_NAME}[\"']?\s*[=:]\s*[\"']?)(?![\d.]{{1,12}}(?![\w.-])|(?:true|false|none|null|n/a)\b)[^\s\"',;&]+",
    re.IGNORECASE,
)
_AUTHORIZATION = re.compile(
    r"(authorization[\"']?\s*[:=]\s*[\"']?(?:(?:bearer|basic|token)\s+)?|\bbearer\s+(?=\S{16}))[^\s\"',]+",
    re.IGNORECASE,
)
_TOKEN = re.compile(
    r"\b(?:hf_\w{16,}|sk-[\w-]{16,}|gh[pousr]_\w{16,}|github_pat_\w{16,}|glpat-[\w-]{16,}|AKIA[0-9A-Z]{16}"
    r"|xox[abprs]-[\w-]{10,}|pypi-[\w-]{16,}|eyJ[\w-]{10,}\.[\w-]+\.[\w-]+)"
)
_LONG_ID = re.compile(r"(?<![0-9A-Za-z])(?=[0-9]*[a-f])(?:[0-9a-f]{64}|[0-9a-f]{32})(?![0-9A-Za-z])")
_SHORT_ID = re.compile(r"(?<![0-9A-Za-z])(?=[0-9]*[a-f])(?=[a-f]*[0-9])[0-9a-f]{12}(?![0-9A-Za-z])")
_ID_FILES = ("cgroup", "mountinfo", "mounts")


class Redactor:
    """Redacts everything that is told of one machine; a value gets the same stand-in wherever it stands."""

    def __init__(self, identity: Identity) -> None:
        self._stand_ins = StandIns()
        self._identity = identity
        self._homes = [home.rstrip("/") for home in identity.homes if self._is_somebodys(home.rstrip("/"))]
        self._words = self._stand_ins_of_words()
        self._any_word = _any_of(self._words)
        long_ones = (word for word in filter(is_distinctive, identity.secrets) if len(word) >= MIN_SECRET_LENGTH)
        self._secrets = sorted(long_ones, key=len, reverse=True)

    def text(self, text: str) -> str:
        """Redact words for people: names, logins, tokens, serial numbers, addresses."""
        for secret in self._secrets:
            text = text.replace(secret, REDACTED)
        text = _LOGIN.sub(f"{REDACTED}@", text)
        for pattern in (_QUERY, _ASSIGNED, _AUTHORIZATION):
            text = pattern.sub(rf"\1{REDACTED}", text)
        text = self._names(_TOKEN.sub(REDACTED, text))
        return addresses.redact(serials.redact(text, self._stand_ins), self._stand_ins)

    def answer(self, text: str) -> str:
        """Redact what a machine answered: the output of a program, say."""
        return _LONG_ID.sub(self._identifier, self.text(text))

    def path(self, path: str) -> str:
        """Redact a path; it keeps its number of parts."""
        return _SHORT_ID.sub(self._identifier, self.answer(path))

    def file(self, path: str, text: str) -> str:
        """Redact what a file of the machine holds."""
        name = basename(path)
        if name == "environ":
            text = _container_only(text)
        if name == "hostname" and text.strip():
            return f"{REDACTED}\n"
        if name in _ID_FILES:
            text = redact_mounts(_SHORT_ID.sub(self._identifier, text))
        if name in addresses.TABLES:
            return self.text(addresses.redact_table(name, text))
        return self.answer(serials.redact_file(name, text, self._stand_ins))

    def value(self, name: str, value: str) -> str:
        """Redact the value of an environment variable, or of a key in a document."""
        if value and re.search(rf"{SECRET_NAME}$", name, re.IGNORECASE):
            return REDACTED
        if name in USER_VARIABLES:
            return self._user(value)
        login, at, rest = value.rpartition("@")
        if at and name.lower().endswith("_proxy"):
            scheme = login.partition("://")[0] + "://" if "://" in login else ""
            value = f"{scheme}{REDACTED}@{rest}"
        return self.path(value) if "/" in value else self.answer(value)

    def document(self, value: Any, name: str = "") -> Any:
        """Redact every text in a JSON document."""
        if isinstance(value, str):
            return self.value(name, value)
        if isinstance(value, Mapping):
            return {key: self.document(inner, str(key)) for key, inner in value.items()}
        return [self.document(inner, name) for inner in value] if isinstance(value, (list, tuple)) else value

    def _is_somebodys(self, home: str) -> bool:
        """A service's home, such as /var/lib/NAME, or /tmp in a container, names nobody."""
        own = basename(home) in self._identity.users or is_distinctive(basename(home))
        return own and dirname(home) not in ("", "/")

    def _stand_ins_of_words(self) -> dict[str, str]:
        words: dict[str, str] = {}
        for user in filter(is_distinctive, self._identity.users):
            words[user] = self._user(user)
        for host in self._identity.hosts:
            short, _, domain = host.partition(".")
            for word in (host, short, domain if "." in domain else ""):
                words |= self._stand_ins_of_host(word)
        for place in self._identity.places:
            words |= self._stand_ins_of_host(place)
        short_secrets = (word for word in self._identity.secrets if len(word) < MIN_SECRET_LENGTH)
        return words | dict.fromkeys(filter(is_distinctive, short_secrets), REDACTED)

    def _stand_ins_of_host(self, name: str) -> dict[str, str]:
        if not is_distinctive(name) or name in _LOCAL_DOMAINS:
            return {}
        stand_in = self._stand_ins.word("host", name.lower())
        return {name: stand_in, name.lower(): stand_in}

    def _user(self, name: str) -> str:
        return name if not name or _KEPT_USERS.fullmatch(name) else self._stand_ins.word("user", name)

    def _names(self, text: str) -> str:
        for home in self._homes:
            text = self._home(home, text)
        for pattern in (_HOME, _USERS_PLACE):
            text = pattern.sub(lambda match: match[1] + self._user(match[2]), text)
        return self._any_word.sub(lambda match: self._words[match[0]], text) if self._words else text

    def _home(self, home: str, text: str) -> str:
        """Replace a home that may lie anywhere; where it lies stays, for what is mounted there."""
        parent, name = dirname(home).rstrip("/"), basename(home)
        written = "|".join(re.escape(form) for form in (home, home.replace(" ", "\\040")))
        return re.sub(rf"(?:{written})(?![\w.-])", lambda _: f"{parent}/{self._user(name)}", text)

    def _identifier(self, match: re.Match[str]) -> str:
        return self._stand_ins.digits(match[0])


def _any_of(words: Mapping[str, str]) -> re.Pattern[str]:
    """Match each of ``words`` where no letter or digit touches it, the longest first."""
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(map(re.escape, longest_first))})(?![^\W_])")


def _container_only(environ: str) -> str:
    """Of another process's environment, keep what its container's engine says of itself."""
    kept = [word for word in environ.split("\0") if word.startswith("container=")]
    return "".join(f"{word}\0" for word in kept)
