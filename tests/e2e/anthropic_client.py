"""What a caller of the Messages API needs of a server, asked with the official client; it knows no engine."""

from __future__ import annotations

from typing import Any

from anthropic import Anthropic

# llama.cpp b11549 leaves the event message_start out where the first token shows no text, which chance decides.
STEADY = {"temperature": 0}
QUESTION: list[Any] = [{"role": "user", "content": "Say hello."}]


def use_with_anthropic(base_url: str, model: str, key: str = "none") -> None:
    """Fail unless the model answers whole and in pieces; ``base_url`` is the one that ends in ``/v1``."""
    root = base_url.removesuffix("/v1")
    # One retry, because llama.cpp sometimes closes a kept connection after a stream just when it is used again.
    with Anthropic(base_url=root, auth_token=key, api_key=None, max_retries=1, timeout=120) as client:
        answer = client.messages.create(model=model, max_tokens=8, messages=QUESTION, extra_body=STEADY)
        assert (answer.type, answer.role) == ("message", "assistant")
        assert "".join(block.text for block in answer.content if block.type == "text")
        assert answer.stop_reason in ("end_turn", "max_tokens")
        assert 0 < answer.usage.output_tokens <= 8

        with client.messages.stream(model=model, max_tokens=8, messages=QUESTION, extra_body=STEADY) as stream:
            pieces = list(stream.text_stream)
            whole = stream.get_final_message()
        assert "".join(pieces) == "".join(block.text for block in whole.content if block.type == "text")
        assert pieces
        assert whole.stop_reason in ("end_turn", "max_tokens")

        assert client.messages.count_tokens(model=model, messages=QUESTION).input_tokens > 0
