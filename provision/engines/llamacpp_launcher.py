"""Serve one model with llama.cpp's own server, as the ``xllamacpp`` wheel carries it.

Run by the engine's own interpreter, so nothing but the standard library and the wheel can be imported here.

    launcher.py                    load the library, print what it was built for, and end
    launcher.py PARAMETERS.json    serve until SIGTERM or SIGINT

The wheel renames attributes between versions: each setting comes with all the names it has had. What cannot be
set is told on stderr; a required one ends the process with 78.
"""

import enum
import json
import os
import signal
import sys
from typing import Any

EXIT_BAD_PARAMETERS = 78


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    import xllamacpp

    if not arguments:
        print(xllamacpp.get_system_info())
        return 0
    with open(arguments[0], encoding="utf-8") as file:
        parameters = json.load(file)
    server = xllamacpp.Server(configure(xllamacpp.CommonParams(), parameters))
    print(f"launcher: listening on {server.listening_address}", file=sys.stderr, flush=True)
    wait_for_signal()
    del server  # stops listening and frees the model
    sys.stderr.flush()
    os._exit(0)  # the library's static destructors may crash after the server is gone


def configure(target: Any, parameters: dict[str, Any]) -> Any:
    """Set every value on ``target`` and return it."""
    for setting in parameters["settings"]:
        if not assign(target, setting["names"], setting["value"]):
            print(f"launcher: this version has none of {setting['names']}", file=sys.stderr, flush=True)
            if setting["required"]:
                sys.exit(EXIT_BAD_PARAMETERS)
    if parameters["api_key_file"]:
        with open(parameters["api_key_file"], encoding="utf-8") as file:
            target.api_keys = [file.read().strip()]
    return target


def assign(target: Any, names: list[str], value: Any) -> bool:
    """Set the first of the dotted ``names`` that exists, as the kind of container it holds now."""
    for name in names:
        *path, last = name.split(".")
        owner = target
        for part in path:
            owner = getattr(owner, part, None)
        if owner is None or not hasattr(owner, last):
            continue
        now = getattr(owner, last)
        as_it_is = isinstance(now, (list, set, enum.Enum))
        setattr(owner, last, type(now)([value] if isinstance(now, (list, set)) else value) if as_it_is else value)
        return True
    return False


def wait_for_signal() -> None:
    """Return at the first SIGTERM or SIGINT, whichever thread the kernel gives it to.

    Until the model is loaded the default action holds: the process ends at once, with nothing to clean up.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    os.read(reader, 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
