"""Package indexes and links, read with nothing but the standard library of Python 3.8: see ``get_uv``."""

from __future__ import annotations

import html
import json
import re
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

TIMEOUT_S = 30
MAX_BYTES = 1 << 26
NOT_FOUND = 404
BASE, LINKS = (re.compile(tag + r"\b[^>]*?\bhref\s*=\s*[\"']([^\"']*)", re.IGNORECASE) for tag in ("<base", "<a"))
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


class Web:
    """Reads http, https and file addresses with the configured certificate, proxy, trusted hosts and logins."""

    def __init__(self, env: Mapping[str, str], trusted_hosts: Iterable[str]) -> None:
        self.certificate = env.get("SSL_CERT_FILE") or None
        self.trusted = frozenset(trusted_hosts)
        self.logins: dict[tuple[str, str], str] = {}  # by scheme, host and port: none is sent in the clear
        lower = {name.lower(): value for name, value in env.items() if name.lower().endswith("_proxy") and value}
        proxies = {scheme: lower.get(scheme + "_proxy") or lower.get("all_proxy") for scheme in ("http", "https")}
        self.proxies = {scheme: proxy for scheme, proxy in proxies.items() if proxy}

    def fetch(self, place: str, is_index: bool, names: Iterable[str], directory: Path) -> str | None:
        """Bring the first of these files that a place offers into the directory; return which, ``None`` for none."""
        for name in names:
            url = self.find(place, is_index, name)
            if url:
                self.save(url, directory / name)
                return name
        return None

    def find(self, place: str, is_index: bool, filename: str) -> str | None:
        """Return the address of a file, ``None`` where the place does not offer it."""
        url = place if "://" in place else Path(place).resolve().as_uri()
        page = url.rstrip("/") + "/uv/" if is_index else url
        if page.startswith("file:"):
            path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(page).path))
            if (path / filename).is_file():
                return (path / filename).as_uri()
            path = path / "index.html" if path.is_dir() else path
            if not path.is_file():
                return None
            page = path.as_uri()
        link, address = self.read_page(page, filename)
        return urllib.parse.urljoin(address, link) if link else None

    def read_page(self, url: str, filename: str) -> tuple[str | None, str]:
        """Return the link to a file on a page, and the address that it is relative to."""
        try:
            with self.open(url) as answer:
                body = answer.read(MAX_BYTES).decode("utf-8", "replace")
                return find_link(body, answer.headers.get_content_type(), filename), answer.geturl()
        except urllib.error.HTTPError as error:
            if error.code == NOT_FOUND:
                return None, url
            raise

    def save(self, url: str, path: Path) -> None:
        """Write what is at an address to a file; nothing where it is not all there."""
        with self.open(url) as answer:
            data = answer.read(MAX_BYTES)
            promised = int(answer.headers.get("Content-Length") or 0)
        if len(data) < min(promised, MAX_BYTES):
            raise ConnectionError("the file is cut short")
        path.write_bytes(data)

    def open(self, url: str) -> Any:
        """Open an address."""
        parts = urllib.parse.urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        request = urllib.request.Request(without_login(url), headers={"Accept": ACCEPT})  # noqa: S310 - as configured
        if parts.username:
            login = urllib.parse.unquote("{}:{}".format(parts.username, parts.password or ""))
            self.logins[parts.scheme, host] = "Basic " + b64encode(login.encode()).decode()
        if (parts.scheme, host) in self.logins:
            request.add_unredirected_header("Authorization", self.logins[parts.scheme, host])
        handlers: list[Any] = [urllib.request.ProxyHandler(self.proxies)]
        if parts.scheme == "https":
            handlers.append(self.encryption(trusted=bool(self.trusted.intersection((host, parts.hostname)))))
        return urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_S)

    def encryption(self, trusted: bool) -> urllib.request.BaseHandler:
        """Return what opens https; a trusted host needs no certificate."""
        import ssl  # the smallest Pythons have none, and http and files work without

        if self.certificate and not Path(self.certificate).exists():
            raise ValueError(f"the certificate {self.certificate} is not there")
        folder = self.certificate if self.certificate and Path(self.certificate).is_dir() else None
        context = ssl.create_default_context(cafile=None if folder else self.certificate, capath=folder)
        if trusted:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return urllib.request.HTTPSHandler(context=context)


def find_link(page: str, kind: str, filename: str) -> str | None:
    """Return the link to ``filename`` on a page of a simple index, JSON (PEP 691) or HTML (PEP 503)."""
    if kind.endswith("json"):
        links = [str(file["url"]) for file in json.loads(page).get("files", [])]
    else:
        base = html.unescape("".join(BASE.findall(page)[:1]))
        links = [urllib.parse.urljoin(base, html.unescape(link)) for link in LINKS.findall(page)]
    names = ((link, urllib.parse.unquote(urllib.parse.urlsplit(link).path.rpartition("/")[2])) for link in links)
    return next((link for link, name in names if name == filename), None)


def without_login(url: str) -> str:
    """Return an address without user name and password, for messages and requests."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
