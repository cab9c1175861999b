"""Fetch the pinned ``uv`` with nothing but a Python: for machines that have neither pip nor venv.

    python3 get_uv.py TARGET            fetch it
    python3 get_uv.py --requirements    print the same pins for pip

The wheel comes from the package indexes and find-links that uv or pip are configured with, is checked against its
pinned SHA-256, and only the program is taken out of it. Exit status: 0 done, 3 no index is configured, 69 no
configured place has it or answers, 77 the file is not the pinned one. Runs on Python 3.8 and later.
"""

from __future__ import annotations

import hashlib
import html.parser
import json
import os
import platform
import re
import ssl
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Dict, Iterator, List, Mapping, NoReturn, Optional, Tuple

if TYPE_CHECKING:
    from provision.artifacts.pip_settings import PackageSettings, read_local
else:  # run as a script, it finds its neighbour and nothing else
    sys.path.insert(0, str(Path(__file__).parent))
    from pip_settings import PackageSettings, read_local

PINS = Path(__file__).parents[2] / "profiles" / "uv.json"
TIMEOUT_S = 30
NO_INDEX_CONFIGURED, UNREACHABLE, REFUSED = 3, 69, 77
ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"


def main() -> None:
    """Fetch uv to the path given as the only argument, or print the pins."""
    pins = json.loads(PINS.read_text(encoding="utf-8"))
    if sys.argv[1] == "--requirements":
        hashes = " ".join("--hash=sha256:" + wheel["sha256"] for wheel in pins["wheels"])
        sys.stdout.write("uv=={} {}\n".format(pins["version"], hashes))
        return
    target = Path(sys.argv[1])
    libc = "musl" if list(Path("/lib").glob("ld-musl-*")) else None
    wheel = pinned_wheel(pins, platform.system(), platform.machine(), libc)
    settings = read_local(os.environ)
    places = list(where_to_look(settings, os.environ))
    if not places:
        sys.exit(NO_INDEX_CONFIGURED)
    opener = make_opener(settings, os.environ)
    troubles: List[str] = []
    for is_index, place in places:
        try:
            data = fetch(opener, place, is_index, wheel["filename"])
        except (OSError, ValueError) as error:
            troubles.append("{}: {}".format(without_login(place), error))
            continue
        if data is not None:
            install(data, wheel, target)
            return
        troubles.append("{}: does not offer {}".format(without_login(place), wheel["filename"]))
    stop(UNREACHABLE, "cannot fetch uv: " + "; ".join(troubles))


def pinned_wheel(
    pins: Mapping[str, List[Dict[str, str]]], system: str, machine: str, libc: Optional[str]
) -> Dict[str, str]:
    """Return the pinned wheel for this kind of machine; one made for its C library is preferred."""
    machine = {"AMD64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
    fitting = [wheel for wheel in pins["wheels"] if (wheel["system"], wheel["machine"]) == (system, machine)]
    if not fitting:
        stop(UNREACHABLE, "there is no uv for {} on {}; install Python's venv and pip instead".format(system, machine))
    return min(fitting, key=lambda wheel: wheel.get("libc") != libc)


def where_to_look(settings: PackageSettings, env: Mapping[str, str]) -> Iterator[Tuple[bool, str]]:
    """Yield ``(is an index, place)``: links first, then indexes, as uv and pip are configured."""
    for place in (*env.get("UV_FIND_LINKS", "").split(","), *settings.find_links):
        if place:
            yield False, place
    if settings.no_index:
        return
    uv_own = [env.get("UV_DEFAULT_INDEX") or env.get("UV_INDEX_URL") or "", *env.get("UV_INDEX", "").split()]
    for place in filter(None, [*uv_own, settings.index_url, *settings.extra_index_urls]):
        yield True, re.sub("^[A-Za-z0-9_.-]+=", "", place)  # uv's indexes may have names


def make_opener(settings: PackageSettings, env: Mapping[str, str]) -> urllib.request.OpenerDirector:
    """Return an opener with the configured certificate and proxy."""
    certificate = settings.certificate or env.get("SSL_CERT_FILE")
    context = ssl.create_default_context(cafile=certificate)
    proxies = {"http": settings.proxy, "https": settings.proxy} if settings.proxy else urllib.request.getproxies()
    handlers = (urllib.request.ProxyHandler(proxies), urllib.request.HTTPSHandler(context=context))
    return urllib.request.build_opener(*handlers)


def fetch(opener: urllib.request.OpenerDirector, place: str, is_index: bool, filename: str) -> Optional[bytes]:
    """Return the bytes of ``filename`` from one place, ``None`` where it is not there."""
    if "://" not in place:
        return fetch_local(Path(place), filename)
    page = place.rstrip("/") + "/uv/" if is_index else place
    if page.startswith("file://"):
        folder = Path(urllib.request.url2pathname(urllib.parse.urlsplit(page).path))
        if not (folder / "index.html").is_file():
            return fetch_local(folder, filename)
        page = (folder / "index.html").as_uri()
    body, address, kind = get(opener, page)
    link = find_link(body.decode("utf-8", "replace"), kind, filename)
    return get(opener, urllib.parse.urljoin(address, link))[0] if link else None


def fetch_local(folder: Path, filename: str) -> Optional[bytes]:
    """Return a file of a local folder, ``None`` where it is not there."""
    return (folder / filename).read_bytes() if (folder / filename).is_file() else None


def get(opener: urllib.request.OpenerDirector, url: str) -> Tuple[bytes, str, str]:
    """Return the body, the final address and the content type. Credentials in the address become a header."""
    parts = urllib.parse.urlsplit(url)
    request = urllib.request.Request(without_login(url), headers={"Accept": ACCEPT})  # noqa: S310 - configured by the user
    if parts.username:
        manager = urllib.request.HTTPPasswordMgrWithPriorAuth()
        user, password = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
        manager.add_password(None, without_login(url), user, password, is_authenticated=True)
        opener.add_handler(urllib.request.HTTPBasicAuthHandler(manager))
    with opener.open(request, timeout=TIMEOUT_S) as answer:
        return answer.read(), answer.geturl(), answer.headers.get_content_type()


class Links(html.parser.HTMLParser):
    """Collects the addresses and texts of all links of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.found: List[str] = []

    def handle_starttag(self, tag: str, attrs: List[Tuple[str, Optional[str]]]) -> None:
        """Keep the target of a link."""
        self.found += [value for name, value in attrs if tag == "a" and name == "href" and value]


def find_link(page: str, kind: str, filename: str) -> Optional[str]:
    """Return the link to ``filename`` on a page of a simple index, JSON (PEP 691) or HTML (PEP 503)."""
    if kind.endswith("json"):
        links = [str(file["url"]) for file in json.loads(page).get("files", [])]
    else:
        parser = Links()
        parser.feed(page)
        links = parser.found
    for link in links:
        path = urllib.parse.urlsplit(link).path
        if urllib.parse.unquote(path.rpartition("/")[2]) == filename:
            return link
    return None


def install(data: bytes, wheel: Mapping[str, str], target: Path) -> None:
    """Check the wheel and put its program to ``target`` in one step."""
    found = hashlib.sha256(data).hexdigest()
    if found != wheel["sha256"]:
        message = "{} is not the pinned file: its SHA-256 is {}, pinned is {}; nothing of it was kept"
        stop(REFUSED, message.format(wheel["filename"], found, wheel["sha256"]))
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = target.with_name(".{}.{}".format(target.name, os.getpid()))
    staged.with_suffix(".whl").write_bytes(data)
    with zipfile.ZipFile(staged.with_suffix(".whl")) as archive:
        member = next(name for name in archive.namelist() if name.endswith(".data/scripts/uv"))
        staged.write_bytes(archive.read(member))
    staged.with_suffix(".whl").unlink()
    staged.chmod(0o755)
    staged.replace(target)


def without_login(url: str) -> str:
    """Return an address without user name and password, for messages and requests."""
    parts = urllib.parse.urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def stop(status: int, message: str) -> NoReturn:
    """End with one line on stderr."""
    sys.stderr.write("bootstrap: {}\n".format(message))
    sys.exit(status)


if __name__ == "__main__":
    main()
