"""Serve one model with vLLM's own server, and leave nothing of it behind.

Run by the engine's own interpreter, so nothing but the standard library and vLLM's environment can be imported here.

    launcher.py                          load vLLM and its kernels, print what they are, and end
    launcher.py PARAMETERS.json          serve until SIGTERM or SIGINT
    launcher.py PARAMETERS.json server   the server itself, started by the line above

PARAMETERS.json: ``arguments`` for vLLM's server, ``api_key_file`` or null, and ``work_directory``, which belongs to
this server alone: it is emptied at the start and removed at the end.

vLLM is three processes and more, and its shared memory belongs to none of them. Hence a watcher that loads nothing:
it is told to end, passes it on, waits for all that descend from it, and ends as the server did. However one of them
ends, the kernel ends those below it, and Python's resource tracker, which outlives them, takes the shared memory away.
"""

from __future__ import annotations

import ctypes
import hmac
import json
import os
import runpy
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

EXIT_NO_KERNELS = 69
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
LINGER_S = 5.0  # for the last children to end by themselves
POLL_S = 0.02
SERVER = "vllm.entrypoints.openai.api_server"
UNAUTHORIZED = {"error": {"message": "The key is missing or wrong.", "type": "authentication_error", "code": 401}}
INSTANCE = "FABRIC_INSTANCE"  # the supervisor kills whatever carries it


def main(arguments: list[str]) -> int:
    """Return the exit status."""
    if not arguments:
        return describe()
    if arguments[1:] == ["server"]:
        end_with_parent(signal.SIGKILL, os.environ.get("FABRIC_WATCHER"))
        return serve(read_parameters(arguments[0]))
    end_with_parent(signal.SIGTERM, os.environ.get("FABRIC_SUPERVISOR"))
    adopt_orphans()
    return Watcher(arguments[0]).run()


def read_parameters(path: str) -> dict[str, Any]:
    """Return what the file holds."""
    with open(path, encoding="utf-8") as file:
        parameters: dict[str, Any] = json.load(file)
    return parameters


class Watcher:
    """Runs the server in a process below and ends when nothing of it is left."""

    def __init__(self, parameters_file: str) -> None:
        self._parameters_file = os.path.abspath(parameters_file)  # the server starts elsewhere
        self._work = Path(read_parameters(parameters_file)["work_directory"])
        self._server: subprocess.Popen[bytes] | None = None
        self._told_to_stop = False

    def run(self) -> int:
        """Return 0 if told to stop, else the server's status; a signal that ended the server ends this process."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_stop)
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir(parents=True, mode=0o700)
        server = self._server = self._start()
        if self._told_to_stop:  # before there was a server to pass it to
            server.terminate()
        status = server.wait()
        end_descendants(LINGER_S)
        shutil.rmtree(self._work, ignore_errors=True)
        if self._told_to_stop:
            return 0
        return status if status >= 0 else end_by_signal(-status)

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-I", "-B", os.path.abspath(__file__), self._parameters_file, "server"]
        # Sockets are named relative to the directory: the kernel takes no more than 107 characters.
        env = {
            **os.environ,
            "VLLM_RPC_BASE_PATH": ".",
            "TMPDIR": str(self._work),
            "VLLM_WORKER_MULTIPROC_METHOD": "spawn",  # a forked child would not ask to end with its parent
            "SPT_NOENV": "1",  # titles of processes shall not wipe the mark by which the supervisor finds them
            # vLLM looks at a model's class in a Python of its own, which knows nothing of -I and -B
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONNOUSERSITE": "1",
            "FABRIC_WATCHER": str(os.getpid()),
        }
        return subprocess.Popen(command, cwd=self._work, env=env, stdin=subprocess.DEVNULL)

    def _on_stop(self, _number: int, _frame: object) -> None:
        self._told_to_stop = True
        if self._server is not None:
            self._server.terminate()


def serve(parameters: dict[str, Any]) -> int:
    """Become vLLM's server.

    The key stands in no process's environment or arguments: what Python calls its arguments, the kernel does not show.
    """
    start_tracker()
    sys.argv = ["vllm", *parameters["arguments"]]
    if parameters["api_key_file"]:
        with open(parameters["api_key_file"], encoding="utf-8") as file:
            NothingWithoutKey.key = file.read().strip()
        sys.argv += ["--api-key", NothingWithoutKey.key, "--middleware", f"__main__.{NothingWithoutKey.__name__}"]
    runpy.run_module(SERVER, run_name="__main__")  # `__main__` stays this small file, which every child loads again
    return 0


class NothingWithoutKey:
    """Answers who has no key with 401: vLLM itself guards /v1 and some others, and generates for /invocations as well.

    ASGI, around all that vLLM answers but ``OPEN``, which tells of the server and of no text, and preflights.
    """

    OPEN = ("/health", "/version", "/metrics")
    key = ""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Let a request in, or answer it."""
        if self._is_open(scope) or self._has_key(scope):
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # it violates the policy: RFC 6455
        else:
            headers = [(b"content-type", b"application/json"), (b"www-authenticate", b"Bearer")]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": json.dumps(UNAUTHORIZED).encode()})

    def _is_open(self, scope: Any) -> bool:
        if scope["type"] not in ("http", "websocket"):
            return True
        return _is_preflight(scope) if scope.get("method") == "OPTIONS" else scope["path"] in self.OPEN

    def _has_key(self, scope: Any) -> bool:
        given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
        scheme, _, key = given.partition(b" ")
        return bool(self.key) and scheme.lower() == b"bearer" and hmac.compare_digest(key, self.key.encode())


def _is_preflight(scope: Any) -> bool:
    """Tell whether that is a question for permission, which has no key and is answered before any path is looked at."""
    return {b"origin", b"access-control-request-method"} <= {name for name, _ in scope["headers"]}


def start_tracker() -> None:
    """Start what takes shared memory away, without the mark by which the supervisor kills: it ends after the others."""
    from multiprocessing import resource_tracker

    instance = os.environ.pop(INSTANCE, None)
    resource_tracker.ensure_running()
    if instance is not None:
        os.environ[INSTANCE] = instance


def describe() -> int:
    """Print what can compute here, or why nothing can."""
    import torch
    from vllm.platforms import current_platform
    from vllm.version import __version__

    current_platform.import_kernels()
    name = current_platform.device_type
    print(f"vllm {__version__}, torch {torch.__version__}, platform {name}")
    if hasattr(torch.ops._C, "rms_norm"):  # noqa: SLF001 - vLLM registers its kernels there
        return 0
    print(f"launcher: vLLM's kernels for the platform {name!r} cannot be loaded", file=sys.stderr)
    return EXIT_NO_KERNELS


def end_with_parent(signal_number: int, parent: str | None = None) -> None:
    """Ask Linux for ``signal_number`` when the parent ends; end now if ``parent``, a process id, has ended already."""
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)
    if parent is not None and os.getppid() != int(parent):
        sys.exit(0)


def adopt_orphans() -> None:
    """Become the parent of descendants whose own parent ends, so that they can be waited for."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)


def end_descendants(limit_s: float) -> None:
    """Wait for all children, adopted ones too; kill those that are left after ``limit_s``."""
    deadline = time.monotonic() + limit_s
    with suppress(ChildProcessError):  # there is none
        while True:
            ended, _status = os.waitpid(-1, os.WNOHANG)
            if ended == 0:
                time.sleep(POLL_S)
                if time.monotonic() > deadline:
                    kill_children()


def kill_children() -> None:
    """Kill every child; theirs become ours, and the next call takes them."""
    myself = os.getpid()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError):  # it has ended meanwhile
            if int(stat.read_text().rpartition(")")[2].split()[1]) == myself:
                os.kill(int(stat.parent.name), signal.SIGKILL)


def end_by_signal(number: int) -> NoReturn:
    """End as the server did, so that the supervisor reads the same cause."""
    with suppress(OSError, ValueError):  # SIGKILL has no handler to reset
        signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)
    os._exit(128 + number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
if __name__ == "__mp_main__":  # a process that vLLM's server has started
    end_with_parent(signal.SIGKILL)
