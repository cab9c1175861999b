"""What a model writes between ``<think>`` and ``</think>``, told from its answer while both arrive. Pure."""

from __future__ import annotations

OPEN, CLOSE = "<think>", "</think>"


class ThinkSplitter:
    """Parts the text of one answer; where its pieces begin and end makes no difference.

    Only what opens the answer is thinking: a tag after other text is text that mentions a tag. White space around the
    two tags belongs to neither part.
    """

    def __init__(self) -> None:
        self._waiting = ""
        self._step = self._before

    def feed(self, text: str) -> tuple[str, str]:
        """Take the next piece; return what it adds to the thinking, and what to the answer."""
        if self._step == self._answer:  # nearly all pieces
            return "", text
        self._waiting += text
        return self._step()

    def close(self) -> tuple[str, str]:
        """End the answer; return what was held back as the beginning of a tag and is none."""
        rest, self._waiting = self._waiting, ""
        if self._step == self._thinking:
            return rest, ""
        return "", "" if self._step == self._after else rest

    def _before(self) -> tuple[str, str]:
        seen = self._waiting.lstrip()
        if seen.startswith(OPEN):
            self._waiting, self._step = seen[len(OPEN) :].lstrip(), self._opened
            return self._step()
        return ("", "") if OPEN.startswith(seen) else self._rest_is_answer()

    def _opened(self) -> tuple[str, str]:
        self._waiting = self._waiting.lstrip()
        if not self._waiting:
            return "", ""
        self._step = self._thinking
        return self._step()

    def _thinking(self) -> tuple[str, str]:
        thought, closed, rest = self._waiting.partition(CLOSE)
        if closed:
            self._waiting, self._step = rest, self._after
            return thought.rstrip(), self._step()[1]
        kept = _held_back(self._waiting)
        self._waiting = self._waiting[len(self._waiting) - kept :] if kept else ""
        return thought[: len(thought) - kept] if kept else thought, ""

    def _after(self) -> tuple[str, str]:
        self._waiting = self._waiting.lstrip()
        return self._rest_is_answer() if self._waiting else ("", "")

    def _rest_is_answer(self) -> tuple[str, str]:
        rest, self._waiting, self._step = self._waiting, "", self._answer
        return "", rest

    def _answer(self) -> tuple[str, str]:
        return self._rest_is_answer()


def _held_back(text: str) -> int:
    """Return how many characters at the end may still turn out to be white space before, or a part of, the tag."""
    bare = text.rstrip()
    partial = next((size for size in range(len(CLOSE) - 1, 0, -1) if text.endswith(CLOSE[:size])), 0)
    if partial:
        return len(text) - len(text[: len(text) - partial].rstrip())
    return len(text) - len(bare)
