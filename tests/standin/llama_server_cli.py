"""Stands in for a released ``llama-server``: what it says of itself is llama.cpp's own text, its answers are scripted.

Options that its ``--help`` does not list are refused, as the real one does. ``STANDIN_VERSION`` and ``STANDIN_WITHOUT``
make it another build: what ``--version`` prints, and an option that this build lacks.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "tests" / "samples" / "llama-server"
sys.path.insert(0, str(ROOT))


def help_text() -> str:
    text = (SAMPLES / "help_0.5.0-dev.txt").read_text(encoding="utf-8")
    without = os.environ.get("STANDIN_WITHOUT")
    return text.replace(without, f"{without}-renamed") if without else text


def fail(text: str) -> NoReturn:
    print(text, file=sys.stderr, flush=True)
    sys.exit(1)


def parse(arguments: list[str]) -> dict[str, str]:
    from provision.engines.llamacpp_flags import parse_options

    known, found, left = parse_options(help_text()), dict[str, str](), list(arguments)
    while left:
        name = left.pop(0)
        if name not in known:
            fail(f"error: invalid argument: {name}")
        found[name] = left.pop(0) if known[name] else ""
    return found


def serve(options: dict[str, str]) -> None:
    from tests.standin.openai_server import Script, serving

    with Path(options["--model"]).open("rb") as file:
        if file.read(4) != b"GGUF":
            fail("gguf_init_from_file: invalid magic characters\nerror loading model: failed to load model")
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    script = Script(model=options["--alias"], tokens=8, slots=int(options["--parallel"]))
    with serving(script, int(options["--port"])):
        ended.wait()


def main(arguments: list[str]) -> None:
    if arguments == ["--version"]:
        own = (SAMPLES / "version_0.5.0-dev.txt").read_text(encoding="utf-8")
        print(os.environ.get("STANDIN_VERSION") or own, file=sys.stderr)
    elif arguments == ["--help"]:
        print(help_text())
    elif arguments == ["--list-devices"]:
        print((SAMPLES / "llama_list_devices_cpu.txt").read_text(encoding="utf-8"))
    else:
        serve(parse(arguments))


if __name__ == "__main__":
    main(sys.argv[1:])
