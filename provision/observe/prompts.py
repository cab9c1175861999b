"""Prompts of a known length, no two of which begin alike.

A prefix cache answers what two prompts share from their first token on. Each prompt therefore opens with words
drawn at random, in a system message where the server takes one: it replaces the one that many chat templates
put first. The draw differs from run to run, or the second run would measure the cache of the first.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random, SystemRandom
from typing import Any

from provision.domain.frozen import frozen
from provision.errors import UnreachableError
from provision.observe.token_count import TokenCounter

Conversation = list[dict[str, str]]

# Short frequent English words: one token each in nearly every vocabulary.
_TEXT = (
    "time year people way day man thing woman life child world school state family student group country problem "
    "hand part place case week company system question work government number night point home water room mother "
    "area money story fact month lot right study book eye job word business issue side kind head house service "
    "friend father power hour game line end member law car city name team minute idea body back parent face "
    "others level office door health person art war history party result change morning reason research girl guy "
    "moment air teacher force education foot boy age music table paper river street stone garden window summer "
    "winter north south east west light dark green blue white black red small large long short open high low "
    "early late young old strong free clear simple whole"
)
WORDS = tuple(_TEXT.split())
TASK = "Write a very long story about this and do not stop."


@frozen
class Prompt:
    """``tokens`` is its length as the server counts, or as expected where counting would cost a request."""

    messages: Conversation
    tokens: int


def with_system(words: Sequence[str]) -> Conversation:
    """The words first of all, as the system message."""
    return [{"role": "system", "content": " ".join(words)}, {"role": "user", "content": TASK}]


def user_only(words: Sequence[str]) -> Conversation:
    """The words at the head of the only message, for chat templates that know no system role."""
    return [{"role": "user", "content": f"{' '.join(words)}. {TASK}"}]


SHAPES = (with_system, user_only)


class PromptMaker:
    """Makes prompts of ``target`` tokens; where the template alone is longer, as short ones as there are.

    Raises ``UnreachableError`` where the server cannot count a single conversation.
    """

    def __init__(self, ways: Sequence[TokenCounter], target: int, random: Random | None = None) -> None:
        self._random = random or SystemRandom()
        self._target = target
        self._used: set[str] = set()
        self._counter, self._shape = self._first_that_counts(ways)
        self._words_needed = max(1, target // 2)
        self._expected: int | None = None

    @property
    def counted_by(self) -> str:
        """How the length is known."""
        return self._counter.name

    def make(self) -> Prompt:
        """Return the next prompt."""
        words = self._draw(self._target)
        if self._expected is not None and not self._counter.cheap:
            return Prompt(self._shape(words[: self._words_needed]), self._expected)
        prompt = self._fit(words)
        self._expected = prompt.tokens
        return prompt

    def _fit(self, words: list[str]) -> Prompt:
        """Try numbers of words, each time between the longest that was too short and the shortest too long."""
        tried: dict[int, Prompt] = {}
        low, high, needed = 0, len(words) + 1, min(self._words_needed, len(words))
        while high - low > 1:
            messages = self._shape(words[:needed])
            tokens = self._counter.count(messages)
            if tokens is None:
                raise UnreachableError("The server stopped counting tokens.", "See `fabric logs`.")
            tried[needed] = Prompt(messages, tokens)
            if tokens == self._target:
                break
            low, high = (needed, high) if tokens < self._target else (low, needed)
            corrected = needed + self._target - tokens
            needed = corrected if low < corrected < high else (low + high) // 2
        self._words_needed = min(tried, key=lambda number: abs(tried[number].tokens - self._target))
        return tried[self._words_needed]

    def _draw(self, count: int) -> list[str]:
        """Draw words; the first is one that no prompt of this run began with, as long as there are such."""
        fresh = [word for word in WORDS if word not in self._used]
        first = self._random.choice(fresh or WORDS)
        self._used.add(first)
        return [first, *self._random.choices(WORDS, k=max(0, count - 1))]

    def _first_that_counts(self, ways: Sequence[TokenCounter]) -> tuple[TokenCounter, Any]:
        for counter in ways:
            for shape in SHAPES:
                short, long = counter.count(shape(self._draw(2))), counter.count(shape(self._draw(20)))
                if short is not None and long is not None and long > short:  # some templates drop the system message
                    return counter, shape
        raise UnreachableError(
            "The server does not say how many tokens a prompt has: neither /tokenize nor usage answers.",
            "Run `fabric smoke` to see what it does answer.",
        )
