"""The synchronous face: in scripts, notebooks, threads and forked processes; whoever leaves a loop stops the answer."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import pytest

from provision.client import BrokenStreamError, OpenAICompatibleClient, StatusError, SyncClient
from provision.client.blocking import Portal
from provision.errors import UsageError
from tests.conftest import ROOT
from tests.standin.chat_bytes import (
    CHUNKED_HEAD,
    DONE,
    LAST_CHUNK,
    chunk,
    chunked,
    delta,
    event,
    head,
    refusal,
    says,
    whole,
)
from tests.standin.fault_server import Act, Answer, faulty
from tests.unit.client.talking import HASTY, MODEL

GOOD: Answer = [chunked(says("Hel", "lo"), DONE)]
ENDLESS: Answer = [CHUNKED_HEAD, chunk(event(delta(content="a"))), Act.HOLD]
SOON_S = 1.0


def client_of(base_url: str) -> SyncClient:
    return SyncClient(OpenAICompatibleClient(base_url, patience=HASTY))


def patient_client_of(base_url: str) -> SyncClient:
    return SyncClient(OpenAICompatibleClient(base_url))


def test_all_calls_without_await() -> None:
    vectors, models = {"data": [{"embedding": [1.0]}]}, {"data": [{"id": "a"}]}
    with faulty(GOOD, GOOD, GOOD, [whole(vectors)], [whole(models)]) as server, client_of(server.base_url) as client:
        assert client.chat("Hello", MODEL) == "Hello"
        assert client.complete("Hello", MODEL).finish_reason == "stop"
        with client.stream("Hello", MODEL) as stream:
            assert "".join(piece.content for piece in stream) == "Hello"
        assert stream.completion().content == "Hello"
        assert list(stream) == []
        assert client.embed("a", MODEL).vectors == ((1.0,),)
        assert [model.id for model in client.models()] == ["a"]
        assert (len(server.requests), server.connections) == (5, 1)


def test_errors_are_the_same() -> None:
    answers: list[Answer] = [[refusal("500 no", "out of memory")], [head(), event(delta(content="a")), Act.FIN]]
    with faulty(*answers) as server, client_of(server.base_url) as client:
        with pytest.raises(StatusError, match="out of memory"):
            client.chat("Hello", MODEL)
        stream = client.stream("Hello", MODEL)
        with pytest.raises(BrokenStreamError):
            list(stream)
        assert stream.completion().content == "a"
        with pytest.raises(UsageError, match="temperature"):
            client.stream("Hello", MODEL, temprature=1)  # type: ignore[call-arg]


def test_in_a_program_that_has_a_loop_already() -> None:
    async def cell(base_url: str) -> str:
        with client_of(base_url) as client:
            return client.chat("Hello", MODEL) + "".join(piece.content for piece in client.stream("Hello", MODEL))

    with faulty(GOOD) as server:
        assert asyncio.run(cell(server.base_url), debug=True) == "HelloHello"


def test_in_several_threads_at_once() -> None:
    with faulty(GOOD) as server, patient_client_of(server.base_url) as client, ThreadPoolExecutor(8) as pool:
        streams = pool.map(lambda _: "".join(piece.content for piece in client.stream("Hello", MODEL)), range(40))
        wholes = pool.map(lambda _: client.chat("Hello", MODEL), range(40))
        assert [*streams, *wholes] == ["Hello"] * 80
        assert server.connections <= 16


def test_leaving_the_loop_stops_the_answer() -> None:
    with faulty(ENDLESS) as server, client_of(server.base_url) as client:
        for _ in client.stream("Hello", MODEL):
            break
        assert server.client_left(SOON_S)


def test_leaving_the_block_stops_the_answer() -> None:
    with faulty(ENDLESS) as server, client_of(server.base_url) as client:
        with client.stream("Hello", MODEL) as stream:
            assert [piece.content for piece in islice(stream, 1)] == ["a"]
        assert server.client_left(SOON_S)


@pytest.mark.parametrize("answer", [ENDLESS, [Act.HOLD]], ids=["after a word", "before the first"])
def test_another_thread_may_stop_it(answer: Answer) -> None:
    with faulty(answer) as server, patient_client_of(server.base_url) as client:
        stream = client.stream("Hello", MODEL)
        reading = threading.Thread(target=list, args=(stream,))
        reading.start()
        time.sleep(0.2)
        stream.close()
        reading.join(SOON_S)
        assert not reading.is_alive()
        assert server.client_left(SOON_S)


@pytest.mark.parametrize("answer", [ENDLESS, [Act.HOLD]], ids=["after a word", "before the first"])
@pytest.mark.parametrize("streams", [True, False])
def test_an_interrupt_stops_the_answer(answer: Answer, streams: bool) -> None:
    def interrupt() -> None:
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    with faulty(answer) as server, patient_client_of(server.base_url) as client:
        pressing = threading.Thread(target=interrupt)
        pressing.start()
        with pytest.raises(KeyboardInterrupt):
            list(client.stream("Hello", MODEL)) if streams else client.chat("Hello", MODEL)
        pressing.join()
        assert server.client_left(SOON_S)


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a script as a user would: warnings as Python has them, at its end nothing closed by hand."""
    program = "from provision.client import OpenAICompatibleClient, SyncClient\nimport sys\nurl = sys.argv[1]\n"
    return subprocess.run(
        [sys.executable, "-c", program + textwrap.dedent(code), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


SCRIPTS = {
    "nothing closed": "print(SyncClient(OpenAICompatibleClient(url)).chat('Hello', 'm'))",
    "a stream half read, and kept": """
        client = SyncClient(OpenAICompatibleClient(url))
        stream = client.stream('Hello', 'm')
        next(stream)
        print('Hello')
        """,
    "a stream half read, in a cycle": """
        client = SyncClient(OpenAICompatibleClient(url))
        kept = [client.stream('Hello', 'm')]
        kept.append(kept)
        next(kept[0])
        del kept, client
        print('Hello')
        """,
    "a stream alone, half read, and kept": """
        stream = SyncClient(OpenAICompatibleClient(url)).stream('Hello', 'm')
        next(stream)
        print('Hello')
        """,
    "an event loop each": """
        import asyncio
        client = OpenAICompatibleClient(url)
        print({asyncio.run(client.chat('Hello', 'm')) for _ in range(3)}.pop())
        """,
    "an event loop, closed in the next": """
        import asyncio
        client = OpenAICompatibleClient(url)
        print(asyncio.run(client.chat('Hello', 'm')))
        asyncio.run(client.aclose())
        """,
    "first one face, then the other": """
        import asyncio
        client = OpenAICompatibleClient(url)
        asyncio.run(client.chat('Hello', 'm'))
        print(SyncClient(client).chat('Hello', 'm'))
        """,
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_script_ends_in_silence(script: str) -> None:
    with faulty(GOOD) as server:
        done = run(script, server.base_url)
    assert (done.stdout, done.stderr, done.returncode) == ("Hello\n", "", 0)


def test_one_that_cannot_be_closed_keeps_no_other_from_it() -> None:
    class Kept:
        closed = 0

        async def aclose(self) -> None:
            Kept.closed += 1
            raise OSError

    portal, all_kept = Portal(), [Kept(), Kept()]
    for kept in all_kept:
        portal.keep(kept)
    portal.leave(asyncio.sleep(0))
    portal.close_all()
    assert Kept.closed == 2


FORKED = """
    import os, threading
    client = SyncClient(OpenAICompatibleClient(url))
    print(client.chat('Hello', 'm'), flush=True)
    for _ in range(2):
        if (pid := os.fork()) == 0:
            print(client.chat('Hello', 'm'), flush=True)
            print(''.join(piece.content for piece in client.stream('Hello', 'm')), flush=True)
            {ending}
        os.waitpid(pid, 0)
        print(client.chat('Hello', 'm'), flush=True)
    """


@pytest.mark.parametrize("ending", ["os._exit(0)", "sys.exit(0)"])
def test_after_a_fork_both_processes_go_on(ending: str) -> None:
    """A child that touched its parent's connections or event loop would leave the parent waiting for ever."""
    with faulty(GOOD) as server:
        done = run(FORKED.format(ending=ending), server.base_url)
    assert (done.stdout.split(), done.stderr, done.returncode) == (["Hello"] * 7, "", 0)


HALF_READ = """
    import os, time
    client = SyncClient(OpenAICompatibleClient(url))
    stream = client.stream('Hello', 'm')
    pieces = [next(stream).content]
    if os.fork() == 0:
        {ending}
    os.wait()
    print(*pieces, *(piece.content for piece in stream))
    """
ENDINGS = {
    "forgets it": "del stream; os._exit(0)",
    "closes it": "stream.close(); os._exit(0)",
    "closes the client": "client.close(); os._exit(0)",
    "forgets all": "del stream, client; os._exit(0)",
    "exits": "sys.exit(0)",
}


@pytest.mark.parametrize("ending", ENDINGS.values(), ids=ENDINGS)
def test_a_forked_process_takes_no_answer_from_its_parent(ending: str) -> None:
    piece = chunk(event(delta(content="a")))
    slow: Answer = [CHUNKED_HEAD, piece, *[step for _ in range(8) for step in (0.1, piece)], chunk(DONE) + LAST_CHUNK]
    with faulty(slow) as server:
        done = run(HALF_READ.format(ending=ending), server.base_url)
    assert (done.stdout.split(), done.stderr, done.returncode) == (["a"] * 9, "", 0)
