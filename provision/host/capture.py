"""A machine that keeps what it was asked and what it answered, so that it can be asked again elsewhere."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Hashable, ItemsView, Iterator, Mapping, Sequence, ValuesView
from dataclasses import field, replace
from posixpath import basename, join
from typing import TypeVar

from provision.domain.frozen import frozen
from provision.host.answer import Response
from provision.host.machine import MAX_READ_BYTES, Access, Command, CommandResult, Listener, Machine, Platform, Space
from provision.host.redaction import Redactor

T = TypeVar("T")
Question = TypeVar("Question", bound=Hashable)
KEPT_HEADERS = ("server", "content-type", "location", "www-authenticate")


@frozen
class Capture:
    """Every answer of a machine, by the path, the argv or the variable that it was asked for.

    ``None`` is an answer too. ``prefix`` is where the room was measured, ``note`` says where the capture is from.
    All texts can be written as UTF-8.
    """

    platform: Platform
    prefix: str | None = None
    note: str = ""
    texts: Mapping[str, str | None] = field(default_factory=dict)
    listings: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    exists: Mapping[str, bool] = field(default_factory=dict)
    links: Mapping[str, str | None] = field(default_factory=dict)
    access: Mapping[str, Access | None] = field(default_factory=dict)
    space: Space | None = None
    commands: Mapping[tuple[str, ...], CommandResult] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    listeners: tuple[Listener, ...] = ()
    answers: Mapping[tuple[int, str], Response] = field(default_factory=dict)

    def redacted(self, redactor: Redactor) -> Capture:
        """Return this without what identifies a person or a machine: contents, paths and names alike."""
        known, path = redactor.answer, redactor.path
        # The order is that of the stand-ins' numbers, and programs tell whole UUIDs that a variable may shorten.
        commands = {
            tuple(map(path, argv)): replace(done, stdout=known(done.stdout), stderr=known(done.stderr))
            for argv, done in sorted(self.commands.items())
        }
        return replace(
            self,
            commands=commands,
            platform=_redacted_platform(self.platform, redactor),
            prefix=None if self.prefix is None else path(self.prefix),
            texts={path(at): text and redactor.file(at, text) for at, text in sorted(self.texts.items())},
            listings={path(at): _listing(redactor, at, names) for at, names in self.listings.items()},
            exists={path(at): there for at, there in self.exists.items()},
            links={path(at): target and path(target) for at, target in self.links.items()},
            access={path(at): _redacted_access(access, redactor) for at, access in self.access.items()},
            env={name: redactor.value(name, value) for name, value in sorted(self.env.items())},
            listeners=tuple(replace(each, owner=each.owner and known(each.owner)) for each in self.listeners),
            answers={asked: _redacted_response(told, redactor) for asked, told in sorted(self.answers.items())},
        )


def _redacted_platform(platform: Platform, redactor: Redactor) -> Platform:
    return replace(platform, release=platform.release and redactor.answer(platform.release))


def _redacted_access(access: Access | None, redactor: Redactor) -> Access | None:
    """A user's own group is called like the user."""
    return access and replace(access, group=access.group and redactor.answer(access.group))


def _redacted_response(told: Response, redactor: Redactor) -> Response:
    """Redact what a server answered; JSON value by value, so that it stays JSON."""
    headers = {name: redactor.answer(value) for name, value in told.headers.items()}
    try:
        body = json.dumps(redactor.document(json.loads(told.body)), ensure_ascii=False)
    except (ValueError, RecursionError):
        body = redactor.answer(told.body.decode("utf-8", "replace"))
    return replace(
        told, body=body.encode("utf-8", "replace"), headers=headers, error=told.error and redactor.answer(told.error)
    )


def _listing(redactor: Redactor, directory: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({basename(redactor.path(join(directory, name))) for name in names}))


class CapturingMachine:
    """Answers as ``inner`` does and keeps every answer; the second time, the same question gets the same answer.

    Of the environment, only the variables that were looked at are kept. Probes may ask from several threads.
    """

    def __init__(self, inner: Machine) -> None:
        self._inner = inner
        self._lock = threading.Lock()
        self._texts: dict[str, str | None] = {}
        self._listings: dict[str, tuple[str, ...]] = {}
        self._exists: dict[str, bool] = {}
        self._links: dict[str, str | None] = {}
        self._access: dict[str, Access | None] = {}
        self._space: dict[str, Space | None] = {}
        self._commands: dict[tuple[str, ...], CommandResult] = {}
        self._listeners: dict[tuple[int, ...], tuple[Listener, ...]] = {}
        self._answers: dict[tuple[int, str], Response] = {}
        self._env = _RecordingEnvironment(inner.env)

    def capture(self, prefix: str | None = None, note: str = "") -> Capture:
        """Return what was answered so far."""
        with self._lock:
            return Capture(
                platform=self._inner.platform,
                prefix=prefix and _sound(prefix),
                note=note,
                texts={_sound(at): text and _sound(text) for at, text in self._texts.items()},
                listings={_sound(at): tuple(map(_sound, names)) for at, names in self._listings.items()},
                exists={_sound(at): there for at, there in self._exists.items()},
                links={_sound(at): target and _sound(target) for at, target in self._links.items()},
                access={_sound(at): access for at, access in self._access.items()},
                space=next(reversed(self._space.values()), None),
                commands={tuple(map(_sound, argv)): _bounded(done) for argv, done in self._commands.items()},
                env={_sound(name): _sound(value) for name, value in self._env.seen().items()},
                listeners=tuple(each for asked in self._listeners.values() for each in asked),
                answers=dict(self._answers),
            )

    @property
    def platform(self) -> Platform:
        return self._inner.platform

    @property
    def env(self) -> Mapping[str, str]:
        return self._env

    def read_text(self, path: str) -> str | None:
        return self._asked(self._texts, path, self._inner.read_text)

    def list_dir(self, path: str) -> tuple[str, ...]:
        return self._asked(self._listings, path, self._inner.list_dir)

    def exists(self, path: str) -> bool:
        return self._asked(self._exists, path, self._inner.exists)

    def link_target(self, path: str) -> str | None:
        return self._asked(self._links, path, self._inner.link_target)

    def access(self, path: str) -> Access | None:
        return self._asked(self._access, path, self._inner.access)

    def space(self, path: str) -> Space | None:
        return self._asked(self._space, path, self._inner.space)

    def run(self, command: Command) -> CommandResult:
        """Run ``command`` anew each time, as a program may answer later; the last answer is kept."""
        result = self._inner.run(command)
        with self._lock:
            self._commands[command.argv] = result
        return result

    def listeners(self, ports: Sequence[int]) -> tuple[Listener, ...]:
        return self._asked(self._listeners, tuple(ports), self._inner.listeners)

    def http_get(self, port: int, path: str) -> Response:
        return self._asked(self._answers, (port, path), lambda asked: _kept(self._inner.http_get(*asked)))

    def interrupt(self) -> None:
        self._inner.interrupt()

    def _asked(self, answers: dict[Question, T], question: Question, ask: Callable[[Question], T]) -> T:
        with self._lock:
            if question in answers:
                return answers[question]
        answer = ask(question)  # not under the lock: a slow disk keeps no other probe waiting
        with self._lock:
            return answers.setdefault(question, answer)


class _RecordingEnvironment(Mapping[str, str]):
    """Keeps which variables were looked at by name. Going through all of them keeps none."""

    def __init__(self, inner: Mapping[str, str]) -> None:
        self._inner = inner
        self._seen: dict[str, str] = {}

    def seen(self) -> dict[str, str]:
        return dict(self._seen)

    def __getitem__(self, name: str) -> str:
        value = self._inner[name]
        self._seen[name] = value
        return value

    def __iter__(self) -> Iterator[str]:
        return iter(self._inner)

    def __len__(self) -> int:
        return len(self._inner)

    def items(self) -> ItemsView[str, str]:
        return self._inner.items()

    def values(self) -> ValuesView[str]:
        return self._inner.values()


def _sound(text: str) -> str:
    """Return ``text`` as UTF-8 can hold it: bytes that are none reach Python as lone surrogates."""
    return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def _kept(told: Response) -> Response:
    """Return of an answer what a capture can hold: text, and the headers that say who answers."""
    headers = {name: _sound(value) for name, value in told.headers.items() if name in KEPT_HEADERS}
    return replace(told, body=told.body.decode("utf-8", "replace").encode(), headers=headers)


def _bounded(done: CommandResult) -> CommandResult:
    return replace(done, stdout=_sound(done.stdout[:MAX_READ_BYTES]), stderr=_sound(done.stderr[:MAX_READ_BYTES]))
