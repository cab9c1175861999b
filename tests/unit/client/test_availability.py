"""A server is started where nobody answers: once, for all who want it, and with nothing left where it fails."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing.queues import Queue
from pathlib import Path

import pytest

from provision.client.availability import Availability, ensure_available, ensure_available_async
from provision.domain.client_config import ClientConfig
from provision.errors import InterruptedByUserError, RefusedError, UnreachableError
from provision.host.process import identify
from tests.standin.openai_server import Script, serving
from tests.unit.client.conftest import LateServer

STARTED, FOUND = Availability(started=True), Availability()


def runs(pid: int) -> bool:
    return identify(pid) is not None


def eventually(is_so: Callable[[], bool], timeout_s: float = 10.0) -> bool:
    until = time.monotonic() + timeout_s
    while not is_so() and time.monotonic() < until:
        time.sleep(0.02)
    return is_so()


def test_a_server_that_answers_is_used(late: LateServer) -> None:
    with serving(Script(model="theirs")) as server:
        config = replace(late.config(), base_url=server.base_url.removesuffix("/v1") + "/")
        assert ensure_available(config, env=late.env) == FOUND
    assert late.pids() == []


@pytest.mark.parametrize("options", [(), ("--daemonize",), ("--delay", "0.4", "--loading", "0.4")])
def test_a_server_that_is_away_is_started_and_waited_for(late: LateServer, options: tuple[str, ...]) -> None:
    config = late.config(*options)
    assert ensure_available(config, env=late.env, timeout_s=30) == STARTED
    assert ensure_available(config, env=late.env) == FOUND
    (pid,) = late.pids()
    assert runs(pid)
    assert list(Path(late.env["XDG_RUNTIME_DIR"]).iterdir()) == [], "no lock is left behind"


def test_what_was_started_outlives_who_started_it_and_is_collected(late: LateServer) -> None:
    ensure_available(late.config(), env=late.env, timeout_s=30)
    (pid,) = late.pids()
    assert os.getsid(pid) != os.getsid(0)
    os.kill(pid, 9)
    assert eventually(lambda: not Path(f"/proc/{pid}").exists()), "a zombie stays"


def test_a_server_that_loads_is_waited_for_and_not_started_again(late: LateServer) -> None:
    config = late.config("--loading", "1.0")
    with ThreadPoolExecutor() as pool:
        first = pool.submit(ensure_available, config, env=late.env, timeout_s=30)
        assert eventually(lambda: bool(late.pids()))
        assert ensure_available(replace(config, local_llm_ensure_available=True), env=late.env) == FOUND
        assert first.result() == STARTED
    assert len(late.pids()) == 1


def test_a_server_that_wants_another_key_runs(late: LateServer) -> None:
    for status in (401, 403):
        with serving(Script(models=(status, '{"error": {"message": "no valid key"}}'))) as server:
            found = ensure_available(replace(late.config(), base_url=server.base_url), env=late.env)
        assert found == Availability(wants_key=True)
    assert late.pids() == []


def test_what_is_no_model_server_is_told(late: LateServer) -> None:
    with (
        serving(Script(models=(404, "<h1>Not here</h1>"))) as server,
        pytest.raises(UnreachableError, match=r"/v1/models answers 404: Not here"),
    ):
        ensure_available(replace(late.config(), base_url=server.base_url), env=late.env)
    assert late.pids() == []


def test_where_nothing_may_be_started_it_says_how(late: LateServer) -> None:
    config = late.config(ensure=False)
    with pytest.raises(UnreachableError, match=f"Nobody answers at {late.base_url}") as told:
        ensure_available(config, env=late.env)
    assert told.value.exit_code == 69
    assert config.local_llm_start_cmd in (told.value.hint or "")
    assert "local_llm_ensure_available=true" in (told.value.hint or "")
    with pytest.raises(UnreachableError) as told:
        ensure_available(replace(config, local_llm_start_cmd="", local_llm_ensure_available=True), env=late.env)
    assert "local_llm_start_cmd" in (told.value.hint or "")
    assert late.pids() == []


def test_a_command_that_fails_is_told_with_the_end_of_its_output(late: LateServer) -> None:
    config = late.config("--fail", "7", "--say", "first\n\x1b[31mno such model\x07")
    before = time.monotonic()
    with pytest.raises(UnreachableError, match="ended with status 7") as told:
        ensure_available(config, env=late.env)
    assert time.monotonic() - before < 30, "nobody waits for what has failed"
    assert "\n  first\n  no such model" in told.value.message
    assert "\x1b" not in told.value.message
    assert config.local_llm_start_cmd in (told.value.hint or "")
    assert list(Path(late.env["XDG_RUNTIME_DIR"]).iterdir()) == []


def test_a_command_that_is_killed_is_told(late: LateServer) -> None:
    with pytest.raises(UnreachableError, match="was ended by signal 9"):
        ensure_available(replace(late.config(), local_llm_start_cmd="kill -9 $$"), env=late.env)


def test_only_the_end_of_a_long_output_is_told(late: LateServer) -> None:
    config = replace(late.config(), local_llm_start_cmd="seq 100000; exit 3")
    with pytest.raises(UnreachableError) as told:
        ensure_available(config, env=late.env)
    assert told.value.message.endswith("\n  99999\n  100000")
    assert len(told.value.message.splitlines()) == 13


def test_who_waits_in_vain_ends_what_was_started(late: LateServer) -> None:
    inner = late.config("--delay", "60", "--say", "loading layers").local_llm_start_cmd
    config = replace(late.config(), local_llm_start_cmd=f"{inner} & {inner}")
    with pytest.raises(UnreachableError, match=r"was not ready within 1\.5 s\. What was started is ended\.") as told:
        ensure_available(config, env=late.env, timeout_s=1.5)
    assert "loading layers" in told.value.message
    assert len(late.pids()) == 2
    assert not any(map(runs, late.pids()))
    assert list(Path(late.env["XDG_RUNTIME_DIR"]).iterdir()) == []


def test_what_was_left_in_the_background_is_ended_too(late: LateServer) -> None:
    config = replace(late.config(), local_llm_start_cmd=f"{late.config('--delay', '60').local_llm_start_cmd} &")
    with pytest.raises(UnreachableError, match="was not ready"):
        ensure_available(config, env=late.env, timeout_s=1.5)
    (pid,) = late.pids()
    assert not runs(pid)


def test_stopping_ends_what_was_started(late: LateServer) -> None:
    stopped = threading.Event()
    with ThreadPoolExecutor() as pool:
        work = pool.submit(ensure_available, late.config("--delay", "60"), env=late.env, stopped=stopped)
        assert eventually(lambda: bool(late.pids()))
        stopped.set()
        with pytest.raises(InterruptedByUserError, match=r"was stopped\. What was started is ended\."):
            work.result(20)
    assert not any(map(runs, late.pids()))


def test_cancelling_ends_what_was_started(late: LateServer) -> None:
    async def cancel() -> None:
        task = asyncio.create_task(ensure_available_async(late.config("--delay", "60"), env=late.env))
        while not late.pids():
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not any(map(runs, late.pids())), "before the cancelling is over"

    asyncio.run(cancel())


def test_the_loop_goes_on_meanwhile(late: LateServer) -> None:
    async def both() -> tuple[Availability, Availability]:
        config = late.config("--delay", "0.3")
        return await asyncio.gather(
            ensure_available_async(config, env=late.env), ensure_available_async(config, env=late.env)
        )

    assert set(asyncio.run(both())) == {STARTED, FOUND}
    assert len(late.pids()) == 1


def _ensure(config: ClientConfig, env: dict[str, str], outcome: Queue[bool]) -> None:
    outcome.put(ensure_available(config, env=env, timeout_s=60).started)


def test_processes_that_want_it_at_once_start_one(late: LateServer) -> None:
    context = multiprocessing.get_context("spawn")
    outcome: Queue[bool] = context.Queue()
    config = late.config("--delay", "0.5", "--loading", "0.5")
    workers = [context.Process(target=_ensure, args=(config, late.env, outcome)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert sorted(outcome.get(timeout=5) for _ in workers) == [False, False, True]
    (pid,) = late.pids()
    assert runs(pid), "it outlives the process that started it"
    assert list(Path(late.env["XDG_RUNTIME_DIR"]).iterdir()) == []


def test_threads_that_want_it_at_once_start_one(late: LateServer) -> None:
    with ThreadPoolExecutor(8) as pool:
        config = late.config("--delay", "0.3")
        found = list(pool.map(lambda _: ensure_available(config, env=late.env, timeout_s=30), range(8)))
    assert sorted(each.started for each in found) == [False] * 7 + [True]
    assert len(late.pids()) == 1


def test_an_address_that_cannot_be_is_refused_before_anything_is_started(late: LateServer) -> None:
    with pytest.raises(RefusedError, match="The base URL cannot be used"):
        ensure_available(replace(late.config(), base_url="http://169.254.169.254/v1"), env=late.env)
    assert late.pids() == []


def test_it_is_told_that_a_daemon_goes_on(late: LateServer) -> None:
    with pytest.raises(UnreachableError, match="but for what it has moved into a session of its own") as told:
        ensure_available(late.config("--daemonize", "--delay", "60"), env=late.env, timeout_s=1.5)
    assert "What was started is ended" not in told.value.message
    (pid,) = late.pids()
    assert runs(pid)


def test_no_model_is_needed(late: LateServer) -> None:
    with serving(Script(model="theirs")) as server:
        assert ensure_available(env={**late.env, "OPENAI_BASE_URL": server.base_url}) == FOUND
