"""What every verb shares: ``--home``, ``--json``, ``--debug``, one result shown in one of two ways."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from provision.cli.progress import ProgressOutput
from provision.domain.frozen import frozen
from provision.host.layout import Layout, locate

if TYPE_CHECKING:
    from provision.cli.wish import Wish

Home = Annotated[str | None, typer.Option("--home", metavar="DIR", help="Where everything lives; or FABRIC_HOME.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
TakeOver = Annotated[
    bool,
    typer.Option("--take-over", help="Of a prefix that was copied or moved here, or is another machine's."),
]
Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]

OWN_MODELS = "fabric.models.yaml"  # beside the spec


@frozen
class Result:
    """What a verb found or did: a document for programs, lines for people, and the exit status.

    ``printed`` says that the verb has written its documents itself.
    """

    document: Mapping[str, Any]
    show: Callable[[], None]
    exit_code: int = 0
    printed: bool = False


@dataclass
class Session:
    """One run of one verb. ``spec_dir`` is the directory of the spec, the working directory where there is none.

    ``take_over`` is what ``Fabric`` is told.
    """

    home: str | None
    as_json: bool
    env: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    spec_dir: Path = field(default_factory=Path)
    take_over: bool = False

    @cached_property
    def layout(self) -> Layout:
        """The prefix."""
        return locate(self.home, self.env)

    @property
    def own_models(self) -> Path | None:
        """The file of the user's own models, where there is one beside the spec."""
        own = self.spec_dir / OWN_MODELS
        return own if own.is_file() else None

    @cached_property
    def progress(self) -> ProgressOutput:
        """Where work tells what it does."""
        return ProgressOutput()

    @cached_property
    def fabric(self) -> Any:
        """The use cases, loaded when a verb needs them."""
        from provision.app import Fabric

        return Fabric(self.layout, self.env, self.progress, own_models=self.own_models, take_over=self.take_over)

    @cached_property
    def changes(self) -> Any:
        """The use cases that change something."""
        from provision.changes import Changes

        return Changes(self.fabric)

    @cached_property
    def configs(self) -> Any:
        """The use cases around the configuration of clients."""
        from provision.configs import Configs

        return Configs(self.fabric)

    @cached_property
    def locks(self) -> Any:
        """The use cases around ``fabric.lock``."""
        from provision.locks import Locks

        return Locks(self.fabric)

    def pins(self, wish: Wish) -> Any:
        """Return what is used of the lock that lies beside the spec."""
        from provision.domain.lock import NO_PINS

        if not wish.locked and not os.path.lexists(wish.lock_file):  # most have none: nothing of it is even loaded
            return NO_PINS
        return self.locks.pins(wish.spec, wish.lock_file, strict=wish.locked)


def verb(name: str) -> Callable[[Callable[..., Result]], Callable[..., None]]:
    """Make a command of a function that takes a ``Session`` and its own options and returns a ``Result``."""

    def decorate(function: Callable[..., Result]) -> Callable[..., None]:
        def command(*, home: str | None, as_json: bool, debug: bool, **options: Any) -> None:  # noqa: ARG001
            session = Session(home, as_json)
            try:
                result = function(session, **options)
            finally:
                session.progress.close()
            _present(name, result, as_json=as_json)

        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        shared = [_option("home", Home, None), _option("as_json", Json, False), _option("debug", Debug, False)]
        adopt_signature(command, [*own, *shared])
        command.__doc__ = function.__doc__
        return command

    return decorate


def adopt_signature(function: Callable[..., Any], parameters: list[inspect.Parameter]) -> None:
    """Give ``function`` the parameters that the command line parser shall see."""
    keyword = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    function.__signature__ = inspect.Signature(keyword)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in keyword}


def _option(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


def _present(name: str, result: Result, *, as_json: bool) -> None:
    if as_json and not result.printed:
        document = {"schema": f"fabric.{name}/v1", **result.document}
        sys.stdout.write(json.dumps(document, indent=2, default=str) + "\n")
    elif not as_json:
        result.show()
    if result.exit_code:
        raise typer.Exit(result.exit_code)
