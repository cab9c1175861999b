"""What pip is configured with, for programs that do not ask pip: uv and our own downloads.

Needs nothing but the standard library of Python 3.8, because ``bootstrap.sh`` runs it as a script before anything is
installed. As a script it prints assignments for a POSIX shell: exports for uv, and ``uv_flags``.
"""

from __future__ import annotations

import configparser
import os
import re
import shlex
import sys
import urllib.parse
from dataclasses import dataclass, replace
from typing import Callable, Dict, Iterator, List, Mapping, Optional, Tuple

ReadText = Callable[[str], Optional[str]]

# pip's name of a setting, in files and (upper case, with PIP_) in the environment.
_INDEX, _EXTRA, _LINKS, _CERT = "index-url", "extra-index-url", "find-links", "cert"
_PROXY, _NO_INDEX, _TRUSTED = "proxy", "no-index", "trusted-host"
_NAMES = (_INDEX, _EXTRA, _LINKS, _CERT, _PROXY, _NO_INDEX, _TRUSTED)
_SECTIONS = ("global", "install")  # the later one wins, whichever file it is in
_PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy")
_OTHER_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")  # pip reads them through its HTTP library, uv does not
_TRUE = ("1", "t", "true", "y", "yes", "on")


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
    """Return the settings of this machine and user, with absolute paths; links to missing places are left out."""
    home = env.get("HOME") or os.path.expanduser("~")
    settings = read(env, _read_text, sys.platform, home, env.get("VIRTUAL_ENV") or sys.base_prefix)
    trusts = sys.platform == "darwin" or any(os.path.exists(path) for path in _SYSTEM_BUNDLES)
    links = [link if "://" in link else os.path.abspath(os.path.expanduser(link)) for link in settings.find_links]
    return replace(
        settings,
        system_certificates=trusts,
        certificate=settings.certificate and os.path.abspath(os.path.expanduser(settings.certificate)),
        # pip passes over a folder that is not there; uv would stop
        find_links=tuple(link for link in links if _is_there(link)),
    )


def read(
    env: Mapping[str, str], read_text: ReadText, platform: str, home: Optional[str], prefix: Optional[str]
) -> PackageSettings:
    """Return the settings: files from the most general to the most special, then the environment.

    ``read_text`` returns a file's text or ``None``; ``platform`` is ``sys.platform``.
    """
    merged: Dict[Tuple[str, str], str] = {}
    for path in _files(env, read_text, platform, home, prefix):
        merged.update(_parse(read_text(path) or ""))
    found: Dict[str, str] = {}
    for section in _SECTIONS:
        found.update({name: value for (of, name), value in merged.items() if of == section and value})
    found.update({_name(key[4:]): value for key, value in env.items() if key.startswith("PIP_") and value})
    return PackageSettings(
        index_url=found.get(_INDEX),
        extra_index_urls=tuple(found.get(_EXTRA, "").split()),
        find_links=tuple(found.get(_LINKS, "").split()),
        certificate=found.get(_CERT) or _other_certificate(env),
        proxy=found.get(_PROXY),
        no_index=found.get(_NO_INDEX, "").lower() in _TRUE,
        trusted_hosts=tuple((env.get("UV_INSECURE_HOST") or found.get(_TRUSTED, "")).split()),
    )


def _other_certificate(env: Mapping[str, str]) -> Optional[str]:
    """Return what variables of other programs name, where the one that everything here reads names nothing."""
    return None if env.get("SSL_CERT_FILE") else next(filter(None, map(env.get, _OTHER_CERTIFICATES)), None)


def uv_environment(settings: PackageSettings, env: Mapping[str, str]) -> Dict[str, str]:
    """Return the variables that tell uv the same.

    What the user has set for uv alone (``UV_…``) stays as it is. The certificate and the proxy of pip win over
    those of the whole machine, as they do in pip. pip looks for the best version in all indexes together; uv does
    so when it is told to.
    """
    wished: Dict[str, str] = {}
    if settings.index_url and not env.get("UV_INDEX_URL"):
        wished["UV_DEFAULT_INDEX"] = settings.index_url
    if settings.extra_index_urls and not (env.get("UV_INDEX") or env.get("UV_EXTRA_INDEX_URL")):
        wished.update({"UV_INDEX": " ".join(settings.extra_index_urls), "UV_INDEX_STRATEGY": "unsafe-best-match"})
    wished["UV_FIND_LINKS"] = ",".join(map(_without_commas, settings.find_links))
    wished["UV_INSECURE_HOST"] = " ".join(settings.trusted_hosts)
    wished["UV_SYSTEM_CERTS"] = "1" if settings.system_certificates else ""  # like pip, unlike uv by itself
    told = {name: value for name, value in wished.items() if value and not env.get(name)}
    if settings.certificate:
        told["SSL_CERT_FILE"] = settings.certificate
    if settings.proxy:
        told.update(dict.fromkeys(_PROXIES, settings.proxy))
    return told


def uv_flags(settings: PackageSettings) -> List[str]:
    """Return the options that uv has no variable for."""
    return ["--no-index"] if settings.no_index else []


def _files(
    env: Mapping[str, str], read_text: ReadText, platform: str, home: Optional[str], prefix: Optional[str]
) -> Iterator[str]:
    """Yield pip's configuration files in its order.

    ``PIP_CONFIG_FILE`` comes last and stands in for the user's own files; the null device means none at all.
    """
    special = env.get("PIP_CONFIG_FILE")
    if special == os.devnull:
        return
    if platform == "darwin":
        yield "/Library/Application Support/pip/pip.conf"
    else:
        for directory in (env.get("XDG_CONFIG_DIRS") or "/etc/xdg").split(":"):
            yield directory + "/pip/pip.conf"
        yield "/etc/pip.conf"
    if home and not (special and read_text(special) is not None):
        yield from _user_files(env, read_text, platform, home)
    if prefix:
        yield prefix + "/pip.conf"
    if special:
        yield special


def _user_files(env: Mapping[str, str], read_text: ReadText, platform: str, home: str) -> Iterator[str]:
    yield home + "/.pip/pip.conf"
    if platform == "darwin":
        own = home + "/Library/Application Support/pip/pip.conf"
        yield own if read_text(own) is not None else home + "/.config/pip/pip.conf"
    else:
        yield (env.get("XDG_CONFIG_HOME") or home + "/.config") + "/pip/pip.conf"


def _parse(text: str) -> Dict[Tuple[str, str], str]:
    """Return the settings in one file by section and name; a broken file has none, as pip would stop there anyway."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(text)
    except configparser.Error:
        return {}
    sections = [section for section in _SECTIONS if parser.has_section(section)]
    return {(section, _name(key)): value for section in sections for key, value in parser.items(section)}


def _name(key: str) -> str:
    """Return pip's own spelling of a setting that may have underscores, capitals or leading dashes."""
    return re.sub("^--", "", key.lower().replace("_", "-"))


def _without_commas(link: str) -> str:
    """Disguise commas, by which uv separates links."""
    return "file://" + urllib.parse.quote(link) if "," in link and "://" not in link else link.replace(",", "%2C")


def _is_there(link: str) -> bool:
    path = urllib.parse.unquote(urllib.parse.urlsplit(link).path) if link.startswith("file:") else link
    return os.path.exists(path) or not (link.startswith("file:") or "://" not in link)


def _read_text(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return None


def main() -> None:
    """Print shell assignments for ``uv``."""
    settings = read_local(os.environ)
    for name, value in uv_environment(settings, os.environ).items():
        sys.stdout.write("export {}={}\n".format(name, shlex.quote(value)))
    sys.stdout.write("uv_flags={}\n".format(" ".join(uv_flags(settings))))


if __name__ == "__main__":
    main()
