"""The options of ``up`` and ``plan``, and the spec that they and ``fabric.yaml`` make together."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from provision.artifacts.mirrors import SITES
from provision.cli.session import OWN_MODELS, adopt_signature
from provision.domain.frozen import frozen
from provision.domain.reference import FORMS
from provision.domain.spec import ACCELERATIONS, BACKENDS, KV_CACHE_TYPES, SERVICES, SOURCES, Install, Spec
from provision.errors import InvalidInputError, UsageError

DEFAULT_FILE = "fabric.yaml"
_PANEL = "What to serve, and how"

SpecFile = Annotated[
    Path | None,
    typer.Option("-f", "--file", metavar="FILE", help=f"The spec; {DEFAULT_FILE} here if there is one."),
]


@frozen
class Wish:
    """The spec, the file that it came from, and how to go about it."""

    spec: Spec
    file: Path | None
    offline: bool
    refresh: bool
    locked: bool
    timeout_s: float | None

    @property
    def directory(self) -> Path:
        """Where the file is, or would be."""
        return self.file.parent if self.file else Path()

    @property
    def lock_file(self) -> Path:
        """Where the lock is: beside the file of the spec, else in the working directory."""
        from provision.domain.lock import LOCK_FILE

        return (self.file.parent if self.file else Path.cwd()) / LOCK_FILE

    @property
    def decided_by(self) -> tuple[Path, ...]:
        """Every file that counts for a plan, whether it is there or not."""
        from provision.domain.lock import LOCK_FILE

        spec = self.file or Path(DEFAULT_FILE)
        return (spec, *(self.directory / name for name in (LOCK_FILE, OWN_MODELS)))


def _option(annotation: Any, *names: str, metavar: str | None = None, text: str = "") -> Any:
    """Describe an option; what stands in square brackets in ``text`` is shown, and no markup."""
    shown = re.sub(r"\[(?=[a-z#/@])", r"\\[", text)
    return Annotated[annotation, typer.Option(*names, metavar=metavar, help=shown, rich_help_panel=_PANEL)]


def _one_of(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}."


Mirror = _option(
    list[str] | None,
    "--mirror",
    metavar="NAME=URL",
    text=f"An address in place of {', '.join(SITES)}, or of another address.",
)
_SPEC_OPTIONS: dict[str, Any] = {
    "model": _option(
        str | None,
        "--model",
        metavar="REF",
        text=f"A name of the catalogue or of fabric.models.yaml, {', '.join(FORMS[:-1])} or {FORMS[-1]}",
    ),
    "backend": _option(str | None, "--backend", metavar="NAME", text=_one_of(BACKENDS)),
    "acceleration": _option(str | None, "--acceleration", metavar="NAME", text=_one_of(ACCELERATIONS)),
    "profile": _option(
        str | None, "--profile", metavar="NAME", text="A rule of profiles/hardware.yaml, or server; auto by default."
    ),
    "context": _option(int | None, "--context", metavar="N", text="Tokens of context for each request."),
    "parallel": _option(int | None, "--parallel", metavar="N", text="Requests served at once."),
    "threads": _option(
        int | None, "--threads", metavar="N", text="Processor threads; chosen by measurement if left out."
    ),
    "host": _option(
        str | None, "--host", metavar="ADDR", text="Address to listen on; others than loopback need a key."
    ),
    "port": _option(int | None, "--port", metavar="N", text="0: any free one, kept from then on."),
    "api_key_env": _option(
        str | None, "--api-key-env", metavar="NAME", text="Environment variable that holds the API key."
    ),
    "base_url": _option(
        str | None, "--base-url", metavar="URL", text="With --backend external: where the server of others answers."
    ),
    "kv_cache": _option(str | None, "--kv-cache", metavar="TYPE", text=f"Of the KV cache: {_one_of(KV_CACHE_TYPES)}"),
    "keep_alive": _option(
        int | None, "--keep-alive", metavar="SECONDS", text="How long Ollama keeps an idle model; for ever if left out."
    ),
    "service": _option(
        str | None, "--service", metavar="NAME", text=f"Who keeps the server running: {_one_of(SERVICES)}"
    ),
    "linger": _option(
        bool | None, "--linger", text="With --service systemd: from boot on, and also while nobody is logged in."
    ),
    "require_gpu": _option(bool | None, "--require-gpu", text="Fail rather than run on the CPU."),
}
_INSTALL_OPTIONS: dict[str, Any] = {
    "source": _option(
        list[str] | None,
        "--source",
        metavar="NAME",
        text=f"How the engine may come here, in order: {', '.join(SOURCES)}.",
    ),
    "program": _option(
        str | None, "--program", metavar="PATH", text="With --backend: the engine that is there already."
    ),
    "mirror": Mirror,
}
_FILE: dict[str, tuple[Any, Any]] = {"file": (SpecFile, None)}
_WAYS: dict[str, tuple[Any, Any]] = {
    "offline": (_option(bool, "--offline", text="Fetch nothing."), False),
    "refresh": (
        _option(bool, "--refresh", text="Choose anew, and try again what could not be had or did not run here."),
        False,
    ),
    "locked": (
        _option(bool, "--locked", text="Look nothing up: use what `fabric.lock` beside the spec holds, or fail."),
        False,
    ),
    "timeout": (
        _option(
            float | None,
            "--timeout",
            metavar="SECONDS",
            text="`up`, or `apply` of the plan, gives up when the server is not ready by then.",
        ),
        None,
    ),
}


def with_wish(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a verb all options of a spec and of how to go about it.

    It receives them as a ``Wish`` after its first argument.
    """
    return _taking(_FILE | _WAYS, function)


def with_spec(function: Callable[..., Any]) -> Callable[..., Any]:
    """Do as ``with_wish`` for a verb that looks everything up and starts nothing: with the options of a spec alone."""
    return _taking(_FILE, function)


def _taking(own_options: Mapping[str, tuple[Any, Any]], function: Callable[..., Any]) -> Callable[..., Any]:
    def wrapper(first: Any, **options: Any) -> Any:
        asked = {name: options.pop(name) for name in _SPEC_OPTIONS}
        install = {name: options.pop(name) for name in _INSTALL_OPTIONS}
        own = {name: options.pop(name) for name in own_options}
        return function(first, read_wish(asked, own.pop("file"), install, **own), **options)

    parameters = list(inspect.signature(function, eval_str=True).parameters.values())
    made = [_parameter(name, annotation, None) for name, annotation in {**_SPEC_OPTIONS, **_INSTALL_OPTIONS}.items()]
    made += [_parameter(name, *described) for name, described in own_options.items()]
    adopt_signature(wrapper, [parameters[0], *made, *parameters[2:]])
    wrapper.__doc__ = function.__doc__
    return wrapper


def read_wish(
    asked: dict[str, Any],
    file: Path | None = None,
    install: dict[str, Any] | None = None,
    *,
    offline: bool = False,
    refresh: bool = False,
    locked: bool = False,
    timeout: float | None = None,
) -> Wish:
    """Lay the options over the file.

    Raises ``InvalidInputError`` for a file that cannot be read, ``UsageError`` for a time that cannot be waited.
    """
    if timeout is not None and timeout < 0:
        raise UsageError(f"--timeout {timeout:g} is not possible.", "Use seconds, 0 or more.")
    if file is None and Path(DEFAULT_FILE).exists():
        file = Path(DEFAULT_FILE)
    spec = _read_file(file) if file else Spec()
    given = {name: value for name, value in asked.items() if value is not None}
    spec = replace(spec, **given, install=_install(spec.install, install or {}))
    if locked and refresh:
        raise UsageError("--refresh chooses anew, --locked chooses nothing.", "Leave one of them away.")
    return Wish(spec, file.absolute() if file else None, offline, refresh, locked, timeout)


def _install(filed: Install, asked: dict[str, Any]) -> Install:
    """Lay the options over what the file says of installing."""
    mirrors = dict(filed.mirrors)
    for said in asked.get("mirror") or ():
        name, separator, address = said.partition("=")
        if not (name and separator and address):
            raise UsageError(f"--mirror {said} is not possible.", "Write it as NAME=URL, such as github=https://…")
        mirrors[name] = address
    return Install(
        tuple(asked.get("source") or filed.sources), _program(asked.get("program") or filed.program), mirrors
    )


def _program(named: str | None) -> str | None:
    """Return the whole path: where the command was called from means nothing later."""
    return str(Path(named).expanduser().absolute()) if named else None


def _read_file(file: Path) -> Spec:
    from provision.plan.spec_file import MAX_BYTES, parse_spec

    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)  # more is refused
    except OSError as error:
        raise InvalidInputError(
            f"Cannot read the spec {file}: {error.strerror}.", "Check the path after -f."
        ) from error
    return parse_spec(data, file.name)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
