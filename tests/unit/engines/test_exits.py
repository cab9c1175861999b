from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import pytest

from provision.engines.exits import decode, why_not_started
from provision.engines.llamacpp import LlamaCpp

FAILURES = LlamaCpp().failures()
SAMPLES = Path(__file__).parents[2] / "samples" / "llama-server"
LOGS = {
    "failed_architecture.txt": "does not know the model's architecture",
    "failed_argument.txt": "does not take one of its options",
    "failed_key_file.txt": "does not take one of its options",
    "failed_magic.txt": "cannot be loaded",
    "failed_no_file.txt": "cannot be loaded",
    "failed_port.txt": "port is taken",
    "failed_removed_argument.txt": "does not take one of its options",
    "failed_truncated.txt": "cannot be loaded",
}


@pytest.mark.fault("server-dies")
@pytest.mark.parametrize(
    ("returncode", "log", "reason", "retry"),
    [
        (-signal.SIGILL, "", "illegal instruction", False),
        (128 + signal.SIGILL, "", "illegal instruction", False),
        (-signal.SIGILL, "error loading model", "illegal instruction", False),
        (-signal.SIGSEGV, "", "segmentation fault", True),
        (-signal.SIGABRT, "", "abort", True),
        (-signal.SIGKILL, "", "killed", True),
        (-signal.SIGTERM, "", "signal from outside", True),
        (-signal.SIGUSR1, "", f"signal {signal.SIGUSR1.value}", True),
        (3, "", "status 3", True),
        (0, "", "status 0", True),
        (1, "srv: couldn't bind HTTP server socket, hostname: 127.0.0.1", "port is taken", False),
        (1, "gguf_init: invalid magic characters: 'XXXX'", "cannot be loaded", False),
        (1, "llama_model_load: error loading model: unknown model architecture: 'x'", "architecture", False),
        (-signal.SIGABRT, "ggml: failed to allocate buffer of size 99", "out of memory", True),
        (1, "std::bad_alloc", "out of memory", True),
        (1, "ImportError: libgomp.so.1: cannot open shared object file", "shared library", False),
        (1, "version `GLIBC_2.38' not found", "shared library", False),
    ],
)
def test_the_end_of_a_process_in_words(returncode: int, log: str, reason: str, retry: bool) -> None:
    ended = decode(returncode, log, FAILURES)
    assert reason in ended.reason
    assert ended.retry is retry


@pytest.mark.fault("server-dies")
@pytest.mark.parametrize("name", LOGS)
def test_real_logs_of_a_server_that_ended_with_status_1(name: str) -> None:
    ended = decode(1, (SAMPLES / name).read_text(encoding="utf-8"), FAILURES)
    assert LOGS[name] in ended.reason
    assert not ended.retry


def test_every_real_log_is_read() -> None:
    assert {path.name for path in SAMPLES.glob("failed_*")} == LOGS.keys()


def test_every_known_failure_has_a_reason_and_a_way_out() -> None:
    assert FAILURES
    assert all(failure.reason and failure.hint for failure in FAILURES)


@pytest.mark.fault("engine-does-not-run")
@pytest.mark.parametrize(
    ("number", "reason", "retry"),
    [
        (errno.ENOEXEC, "another processor", False),
        (errno.ENOENT, "loader", False),
        (errno.EACCES, "noexec", False),
        (errno.EPERM, "does not allow", False),
        (errno.ENOMEM, os.strerror(errno.ENOMEM), True),
        (errno.ETXTBSY, os.strerror(errno.ETXTBSY), True),
        (errno.EIO, os.strerror(errno.EIO), False),
        (None, "does not say why", False),
    ],
)
def test_a_program_that_cannot_be_started_in_words(number: int | None, reason: str, retry: bool) -> None:
    ended = why_not_started(number)
    assert (ended.returncode, ended.retry) == (126, retry)
    assert reason in ended.reason
    assert ended.hint
    if number is not None:
        assert decode(126, str(OSError(number, os.strerror(number), "/engine/bin/python")), FAILURES) == ended


@pytest.mark.fault("engine-does-not-run")
@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("p: error while loading shared libraries: libx.so.1: cannot open shared object file: No such", "libx.so.1"),
        ("Error loading shared library libx.so.1: No such file or directory (needed by ./p)", "libx.so.1"),
        ("./p: /lib/libc.so.6: version `GLIBC_2.38' not found (required by ./p)", "GLIBC_2.38"),
        ("libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by x)", "GLIBCXX_3.4.32"),
    ],
)
def test_what_the_loader_misses_is_named_for_every_engine(log: str, reason: str) -> None:
    ended = decode(127, log, ())
    assert reason in ended.reason
    assert not ended.retry


def test_a_server_that_ends_with_126_itself_is_not_explained_away() -> None:
    assert "status 126" in decode(126, "something else", ()).reason


@pytest.mark.fault("out-of-memory")
@pytest.mark.parametrize("returncode", [-9, 137])
def test_killed_for_want_of_memory_is_told_apart_from_killed_by_hand(returncode: int) -> None:
    assert "ran out of memory" in decode(returncode, "", (), starved=True).reason
    assert "by hand" in decode(returncode, "", ()).reason
    assert "segmentation fault" in decode(-11, "", (), starved=True).reason, "that had another reason"
