"""What a person sees of a pull that an Ollama of somebody else's makes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from provision.apply.adopted import _Told
from provision.engines.ollama_answers import StreamLine


@dataclass
class Heard:
    """Progress that writes down what it is told."""

    said: list[str] = field(default_factory=list)
    arrived: dict[str, int] = field(default_factory=dict)
    totals: dict[str, int] = field(default_factory=dict)

    def say(self, text: str) -> None:
        self.said.append(text)

    def transfer(self, name: str, total_bytes: int) -> Callable[[int], None]:
        self.totals[name] = total_bytes
        self.arrived[name] = 0

        def more(count: int) -> None:
            assert count > 0
            self.arrived[name] += count

        return more

    def steps(self, name: str) -> Callable[[int, int], None]:
        raise AssertionError("a pull has no steps")


def test_each_file_is_a_transfer_and_each_status_is_said_once() -> None:
    heard = Heard()
    told = _Told("tiny", heard)
    first, second = "sha256:" + "a" * 64, "sha256:" + "b" * 64
    for line in (
        StreamLine("pulling manifest"),
        StreamLine("pulling manifest"),
        StreamLine("pulling aa", first, 100, 0),
        StreamLine("pulling bb", second, 10, 10),
        StreamLine("pulling aa", first, 100, 60),
        StreamLine("pulling aa", first, 100, 40),
        StreamLine("pulling aa", first, 100, 100),
        StreamLine("verifying sha256 digest"),
        StreamLine("success"),
    ):
        told.line(line)
    assert heard.said == ["tiny: pulling manifest", "tiny: verifying sha256 digest", "tiny: success"]
    assert heard.totals == {f"tiny {'a' * 12}": 100, f"tiny {'b' * 12}": 10}
    assert heard.arrived == heard.totals
