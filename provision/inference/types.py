"""The types of Ollama's API, by the names and with the fields that its own Python package gives them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar

from provision.inference.byte_size import ByteSize
from provision.inference.value import Value


class Options(Value):
    """How to load a model and how to answer."""

    numa: bool | None = None
    num_ctx: int | None = None
    num_batch: int | None = None
    num_gpu: int | None = None
    main_gpu: int | None = None
    low_vram: bool | None = None
    f16_kv: bool | None = None
    logits_all: bool | None = None
    vocab_only: bool | None = None
    use_mmap: bool | None = None
    use_mlock: bool | None = None
    embedding_only: bool | None = None
    num_thread: int | None = None
    num_keep: int | None = None
    seed: int | None = None
    num_predict: int | None = None
    top_k: int | None = None
    top_p: float | None = None
    tfs_z: float | None = None
    typical_p: float | None = None
    repeat_last_n: int | None = None
    temperature: float | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    penalize_newline: bool | None = None
    stop: Sequence[str] | None = None


class Message(Value):
    """One turn of a conversation."""

    class ToolCall(Value):
        """A function that the model wants called."""

        class Function(Value):
            """Its name and its arguments."""

            name: str
            arguments: Mapping[str, Any]

        function: Function

    role: str
    content: str | None = None
    thinking: str | None = None
    images: Sequence[Any] | None = None
    tool_name: str | None = None
    tool_calls: Sequence[ToolCall] | None = None


class Tool(Value):
    """A function that a model may ask for."""

    class Function(Value):
        """Its name, what it is for, and what it takes."""

        class Parameters(Value):
            """A JSON schema of an object."""

            aliases: ClassVar[Mapping[str, str]] = {"defs": "$defs"}

            class Property(Value):
                """The JSON schema of one of them."""

                keeps_all: ClassVar[bool] = True

                type: str | Sequence[str] | None = None
                items: Any = None
                description: str | None = None
                enum: Sequence[Any] | None = None

            type: str | None = "object"
            defs: Any = None
            items: Any = None
            required: Sequence[str] | None = None
            properties: Mapping[str, Property] | None = None

        name: str | None = None
        description: str | None = None
        parameters: Parameters | None = None

    type: str | None = "function"
    function: Function | None = None


class TokenLogprob(Value):
    """A token, and how likely it was: the natural logarithm."""

    token: str
    logprob: float


class Logprob(TokenLogprob):
    """The token that was chosen, and those that might have been."""

    top_logprobs: Sequence[TokenLogprob] | None = None


class BaseGenerateResponse(Value):
    """What every answer tells. Durations are in nanoseconds; they and the counts come with the last piece."""

    model: str | None = None
    created_at: str | None = None
    done: bool | None = None
    done_reason: str | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None


class GenerateResponse(BaseGenerateResponse):
    """An answer to a prompt, or a piece of one."""

    response: str | None = None
    thinking: str | None = None
    context: Sequence[int] | None = None
    logprobs: Sequence[Logprob] | None = None
    image: str | None = None
    completed: int | None = None
    total: int | None = None


class ChatResponse(BaseGenerateResponse):
    """An answer in a conversation, or a piece of one."""

    message: Message
    logprobs: Sequence[Logprob] | None = None


class EmbedResponse(BaseGenerateResponse):
    """A vector for each input."""

    embeddings: Sequence[Sequence[float]]


class EmbeddingsResponse(Value):
    """The vector of a prompt."""

    embedding: Sequence[float]


class StatusResponse(Value):
    """How something ended."""

    status: str | None = None


class ProgressResponse(StatusResponse):
    """How far something is, in bytes."""

    completed: int | None = None
    total: int | None = None
    digest: str | None = None


class ModelDetails(Value):
    """What is known of a model's files."""

    parent_model: str | None = None
    format: str | None = None
    family: str | None = None
    families: Sequence[str] | None = None
    parameter_size: str | None = None
    quantization_level: str | None = None


class ListResponse(Value):
    """The models that there are; ``size`` in bytes."""

    class Model(Value):
        """One of them."""

        model: str | None = None
        modified_at: datetime | None = None
        digest: str | None = None
        size: ByteSize | None = None
        details: ModelDetails | None = None

    models: Sequence[Model]


class ShowResponse(Value):
    """All about one model."""

    aliases: ClassVar[Mapping[str, str]] = {"modelinfo": "model_info"}

    modified_at: datetime | None = None
    template: str | None = None
    modelfile: str | None = None
    license: str | None = None
    details: ModelDetails | None = None
    modelinfo: Mapping[str, Any] | None = None
    parameters: str | None = None
    capabilities: Sequence[str] | None = None


class ProcessResponse(Value):
    """The models that are loaded; sizes in bytes."""

    class Model(Value):
        """One of them."""

        model: str | None = None
        name: str | None = None
        digest: str | None = None
        expires_at: datetime | None = None
        size: ByteSize | None = None
        size_vram: ByteSize | None = None
        details: ModelDetails | None = None
        context_length: int | None = None

    models: Sequence[Model]
