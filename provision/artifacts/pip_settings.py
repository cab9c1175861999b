"""What pip is configured with, for programs that do not ask pip: uv and our own downloads.

Needs nothing but the standard library of Python 3.8, because ``bootstrap.sh`` runs it as a script before anything is
installed. As a script it prints assignments for a POSIX shell: exports for uv, and ``uv_flags``.
"""

from __future__ import annotations

import configparser
import os
import shlex
import sys
from dataclasses import dataclass, replace
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Tuple

ReadText = Callable[[str], Optional[str]]

# pip's name of a setting, in files and (upper case, with PIP_) in the environment.
_INDEX, _EXTRA, _LINKS, _CERT = "index-url", "extra-index-url", "find-links", "cert"
_PROXY, _NO_INDEX, _TRUSTED = "proxy", "no-index", "trusted-host"
_NAMES = (_INDEX, _EXTRA, _LINKS, _CERT, _PROXY, _NO_INDEX, _TRUSTED)
_SECTIONS = ("global", "install")  # the later one wins
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY")
_TRUE = ("1", "true", "yes", "on")


@dataclass(frozen=True)
class PackageSettings:
    """Where packages come from. ``None`` and empty mean that pip is left at its default."""

    index_url: Optional[str] = None
    extra_index_urls: Tuple[str, ...] = ()
    find_links: Tuple[str, ...] = ()
    certificate: Optional[str] = None
    proxy: Optional[str] = None
    no_index: bool = False
    trusted_hosts: Tuple[str, ...] = ()
    system_certificates: bool = False


# Where distributions keep the certificates that this machine trusts, a company's own among them.
_SYSTEM_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)


def read_local(env: Mapping[str, str]) -> PackageSettings:
    """Return the settings of this machine and user."""
    home = env.get("HOME") or None
    settings = read(env, _read_text, sys.platform, home, env.get("VIRTUAL_ENV") or sys.prefix)
    trusts = sys.platform == "darwin" or any(os.path.exists(path) for path in _SYSTEM_BUNDLES)
    return replace(settings, system_certificates=trusts)


def read(
    env: Mapping[str, str], read_text: ReadText, platform: str, home: Optional[str], prefix: Optional[str]
) -> PackageSettings:
    """Return the settings: files from the most general to the most special, then the environment.

    ``read_text`` returns a file's text or ``None``; ``platform`` is ``sys.platform``.
    """
    found: Dict[str, str] = {}
    for path in _files(env, platform, home, prefix):
        found.update(_parse(read_text(path) or ""))
    for name in _NAMES:
        value = env.get("PIP_" + name.upper().replace("-", "_"))
        if value is not None:
            found[name] = value
    return PackageSettings(
        index_url=found.get(_INDEX) or None,
        extra_index_urls=tuple(found.get(_EXTRA, "").split()),
        find_links=tuple(found.get(_LINKS, "").split()),
        certificate=found.get(_CERT) or None,
        proxy=found.get(_PROXY) or None,
        no_index=found.get(_NO_INDEX, "").lower() in _TRUE,
        trusted_hosts=tuple(found.get(_TRUSTED, "").split()),
    )


def uv_environment(settings: PackageSettings, env: Mapping[str, str]) -> Dict[str, str]:
    """Return the variables that tell uv the same; what the user has set for uv stays as it is.

    pip looks for the best version in all indexes together; uv does so when it is told to.
    """
    wished: Dict[str, str] = {}
    if "UV_INDEX_URL" not in env:
        wished["UV_DEFAULT_INDEX"] = settings.index_url or ""
    if settings.extra_index_urls and "UV_EXTRA_INDEX_URL" not in env:
        wished.update({"UV_INDEX": " ".join(settings.extra_index_urls), "UV_INDEX_STRATEGY": "unsafe-best-match"})
    wished["UV_FIND_LINKS"] = ",".join(settings.find_links)
    wished["UV_INSECURE_HOST"] = " ".join(settings.trusted_hosts)
    wished["SSL_CERT_FILE"] = settings.certificate or ""
    wished["UV_SYSTEM_CERTS"] = "1" if settings.system_certificates else ""  # like pip, unlike uv by itself
    if not any(env.get(name) or env.get(name.lower()) for name in _PROXIES):
        wished.update(dict.fromkeys(_PROXIES, settings.proxy or ""))
    return {name: value for name, value in wished.items() if value and not env.get(name)}


def uv_flags(settings: PackageSettings) -> List[str]:
    """Return the options that uv has no variable for."""
    return ["--no-index"] if settings.no_index else []


def _files(env: Mapping[str, str], platform: str, home: Optional[str], prefix: Optional[str]) -> Iterator[str]:
    """Yield pip's configuration files in its order. ``PIP_CONFIG_FILE`` comes last; the null device means none."""
    special = env.get("PIP_CONFIG_FILE")
    if special == os.devnull:
        return
    if platform == "darwin":
        yield "/Library/Application Support/pip/pip.conf"
    else:
        for directory in reversed([part for part in env.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":") if part]):
            yield directory + "/pip/pip.conf"
        yield "/etc/pip.conf"
    if home:
        yield from _user_files(env, platform, home)
    if prefix:
        yield prefix + "/pip.conf"
    if special:
        yield special


def _user_files(env: Mapping[str, str], platform: str, home: str) -> List[str]:
    config = env.get("XDG_CONFIG_HOME") or home + "/.config"
    files = [home + "/.pip/pip.conf", config + "/pip/pip.conf"]
    return [*files, home + "/Library/Application Support/pip/pip.conf"] if platform == "darwin" else files


def _parse(text: str) -> Dict[str, str]:
    """Return the settings in one file; a broken file has none, as pip would stop there anyway."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    found: Dict[str, str] = {}
    for section in _SECTIONS:
        if parser.has_section(section):
            found.update({name: value for name, value in parser.items(section) if name in _NAMES})
    return found


def _read_text(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None


def main() -> None:
    """Print shell assignments for ``uv``."""
    for name, value in uv_environment(read_local(os.environ), os.environ).items():
        sys.stdout.write("export {}={}\n".format(name, shlex.quote(value)))
    sys.stdout.write("uv_flags={}\n".format(" ".join(uv_flags(read_local(os.environ)))))


if __name__ == "__main__":
    main()
