from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from provision.errors import UnreachableError
from provision.host.endpoint import EndpointClient
from provision.observe.prompts import WORDS, PromptMaker, with_system
from provision.observe.token_count import Messages, counters
from tests.standin.openai_server import TEMPLATE_TOKENS, OpenAIServer, Script, serving


def seeded() -> Random:
    return Random(5)  # noqa: S311 - the same words in every run


def words_and_template(messages: Messages) -> int:
    return TEMPLATE_TOKENS + sum(len(message["content"].split()) for message in messages)


def four_letters_a_token(messages: Messages) -> int:
    """A vocabulary in which words have unlike lengths."""
    return TEMPLATE_TOKENS + sum(-(-len(word) // 4) for message in messages for word in message["content"].split())


@dataclass
class Counting:
    rule: Callable[[Messages], int | None] = words_and_template
    cheap: bool = True
    name: str = "test"
    asked: list[Messages] = field(default_factory=list)

    def count(self, messages: Messages) -> int | None:
        self.asked.append(messages)
        return self.rule(messages)


@pytest.mark.parametrize("rule", [words_and_template, four_letters_a_token])
@pytest.mark.parametrize("target", [32, 64, 500])
def test_prompts_have_the_wanted_length_by_the_servers_count(rule: Callable[[Messages], int], target: int) -> None:
    maker = PromptMaker([Counting(rule)], target, seeded())
    for _ in range(20):
        prompt = maker.make()
        assert prompt.tokens == rule(prompt.messages)
        assert abs(prompt.tokens - target) <= (0 if rule is words_and_template else 2)


def test_a_target_below_the_template_gives_the_shortest_prompt() -> None:
    prompt = PromptMaker([Counting()], 1, seeded()).make()
    assert prompt.tokens == words_and_template(with_system(["time"]))


def test_no_two_prompts_begin_alike() -> None:
    maker = PromptMaker([Counting()], 40, seeded())
    first_words = [maker.make().messages[0]["content"].split()[0] for _ in range(len(WORDS) // 2)]
    assert len(set(first_words)) == len(first_words)


def test_more_prompts_than_words_still_differ() -> None:
    maker = PromptMaker([Counting()], 40, seeded())
    texts = [maker.make().messages[0]["content"] for _ in range(2 * len(WORDS))]
    assert len(set(texts)) == len(texts)


def test_two_runs_draw_differently() -> None:
    texts = {PromptMaker([Counting()], 40).make().messages[0]["content"] for _ in range(5)}
    assert len(texts) == 5


def test_the_words_come_first_of_all() -> None:
    messages = PromptMaker([Counting()], 40, seeded()).make().messages
    assert messages[0]["role"] == "system"
    assert messages[0]["content"].split()[0] in WORDS


def test_a_counter_that_costs_a_request_is_asked_for_the_first_prompt_only() -> None:
    counting = Counting(cheap=False)
    maker = PromptMaker([counting], 64, seeded())
    first = maker.make()
    asked = len(counting.asked)
    more = [maker.make() for _ in range(10)]
    assert len(counting.asked) == asked
    assert {prompt.tokens for prompt in more} == {first.tokens} == {64}
    assert all(words_and_template(prompt.messages) == 64 for prompt in more)


def test_a_template_that_drops_the_system_message_gets_the_words_from_the_user() -> None:
    def without_system(messages: Messages) -> int:
        return words_and_template([message for message in messages if message["role"] != "system"])

    prompt = PromptMaker([Counting(without_system)], 64, seeded()).make()
    assert [message["role"] for message in prompt.messages] == ["user"]
    assert prompt.tokens == 64


def test_a_server_that_cannot_count_is_said_to_be_so() -> None:
    with pytest.raises(UnreachableError, match="neither /tokenize nor usage"):
        PromptMaker([Counting(lambda _: None), Counting(lambda _: None)], 64)


def test_a_server_that_stops_counting_is_said_to_be_so() -> None:
    counting = Counting()
    maker = PromptMaker([counting], 64)
    counting.rule = lambda _: None
    with pytest.raises(UnreachableError, match="stopped counting"):
        maker.make()


def made_by(server: OpenAIServer) -> tuple[str, int]:
    client = EndpointClient(server.base_url)
    maker = PromptMaker(counters(client, server.script.model, 5.0), 48)
    prompt = maker.make()
    assert prompt.tokens == server.prompt_tokens(prompt.messages)
    return maker.counted_by, prompt.tokens


@pytest.mark.parametrize(
    ("counting", "name", "chats"),
    [
        ("llamacpp", "/apply-template and /tokenize", False),
        ("vllm", "/tokenize", False),
        ("usage", "usage of a calibration request", True),
    ],
)
def test_length_is_counted_by_what_the_server_offers(counting: str, name: str, chats: bool) -> None:
    with serving(Script(counting=counting)) as server:
        assert made_by(server) == (name, 48)
        assert bool(server.chats) is chats


def test_a_server_that_refuses_the_system_role() -> None:
    with serving(Script(counting="usage", refuses=("system",))) as server:
        assert made_by(server) == ("usage of a calibration request", 48)


def test_a_server_without_any_count() -> None:
    with serving(Script(counting="usage", usage=False)) as server, pytest.raises(UnreachableError):
        made_by(server)
