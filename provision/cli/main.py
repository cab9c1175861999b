"""The ``fabric`` command: finds the verb, runs it, and is the one place where errors become output."""

from __future__ import annotations

import gc
import io
import os
import sys
import threading
from contextlib import suppress
from importlib import import_module
from typing import Annotated, Any

gc.set_threshold(100_000)  # a short command ends before garbage matters; collecting it took a tenth of the time

import typer
from typer.core import TyperCommand, TyperGroup

from provision import __version__

# Each verb is the module of the same name, loaded when it is called; the line is what `fabric --help` shows.
VERBS = {
    "up": "Install, start and prove a local model server. Idempotent.",
    "down": "Stop the server; keep what is installed.",
    "destroy": "Stop the server and remove everything that fabric made.",
    "plan": "Show what `up` would change, and why.",
    "apply": "Carry out exactly a saved plan.",
    "rollback": "Serve again as an earlier generation did, or list them.",
    "status": "Show the state of the server, and drift.",
    "doctor": "Explain this machine: facts, findings, the choice and why.",
    "facts": "Show what was found out about this machine.",
    "config": "Print the client configuration: base_url, model, key.",
    "route": "Show where requests for a model go, and which rule decided.",
    "smoke": "Prove that the server answers on every surface.",
    "bench": "Measure latency and throughput.",
    "logs": "Show the server's log.",
    "models": "List the models of the catalogue and of the store, fetch some, remove some.",
    "gc": "Remove what no generation needs that can be brought back.",
    "verify": "Read the whole store and compare it with what was installed.",
    "lock": "Pin everything that a wish is resolved to, in `fabric.lock`.",
    "bundle": "Put all that a lock names into one file, for machines without a network.",
}
GLOBAL_VALUES = ("--home",)
GLOBAL_FLAGS = ("--json", "--debug")
PRIVATE_UMASK = 0o077


class Verbs(TyperGroup):
    """Knows all verbs, and loads only the one that is called."""

    _outlining = False

    def list_commands(self, _ctx: Any) -> list[str]:
        """Return the verbs in the order in which a newcomer meets them."""
        return list(VERBS)

    def get_command(self, _ctx: Any, cmd_name: str) -> Any:
        """Load a verb; for the overview its one line is enough."""
        if cmd_name not in VERBS:
            return None
        if self._outlining:
            return TyperCommand(name=cmd_name, help=VERBS[cmd_name])
        return load(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Show the overview."""
        self._outlining = True
        super().format_help(ctx, formatter)


def load(verb: str) -> Any:
    """Return the command of one verb."""
    alone = typer.Typer(add_completion=False, rich_markup_mode="rich")
    alone.command(name=verb, help=import_module(f"provision.cli.{verb}").command.__doc__)(
        import_module(f"provision.cli.{verb}").command
    )
    return typer.main.get_command(alone)


app = typer.Typer(cls=Verbs, no_args_is_help=True, rich_markup_mode="rich")


def _version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"fabric {__version__}\n")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """From a bare machine to a served, measured local language model, and back.

    Start with [bold]fabric up[/bold]; take everything away with [bold]fabric destroy[/bold].
    """


def main() -> int:
    """Run the command line and return the exit status."""
    from provision.cli import failure

    os.umask(PRIVATE_UMASK)  # what is to be readable for others gets its mode where it is written
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal may not know all letters
    arguments = globals_last(sys.argv[1:])
    failure.catch_termination()
    try:
        status = typer.main.get_command(app)(args=arguments, prog_name="fabric", standalone_mode=False)
    except (Exception, KeyboardInterrupt, failure.Terminated) as error:  # noqa: BLE001 - the one error exit
        return failure.leave(failure.report(error, arguments, VERBS))
    if status == failure.EXIT_INTERRUPTED:  # the parser turns Ctrl-C into a status
        return failure.leave(failure.report(KeyboardInterrupt(), arguments, VERBS))
    return status if isinstance(status, int) else 0


def run() -> int:
    """Run the command line and end the process.

    The interpreter's own end frees every object by itself, which takes a sixth of the time of a short command: what
    fabric holds is closed by then, and nobody waits for a thread.
    """
    status = main()
    if threading.active_count() == 1:
        with suppress(OSError):  # nobody reads any more: the interpreter's own end says so
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return status


def globals_last(arguments: list[str]) -> list[str]:
    """Move ``--home DIR``, ``--json`` and ``--debug`` from before the verb to the end: both places are natural."""
    leading: list[str] = []
    rest = list(arguments)
    while rest and rest[0].partition("=")[0] in (*GLOBAL_VALUES, *GLOBAL_FLAGS):
        takes_value = rest[0] in GLOBAL_VALUES
        count = 2 if takes_value else 1
        leading += rest[:count]
        rest = rest[count:]
    return [*rest, *leading]
