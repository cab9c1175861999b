"""A drop-in for ``import ollama`` over any backend.

::

    from provision import inference as ollama

    print(ollama.chat("qwen3:4b", [{"role": "user", "content": "Say hello."}]).message.content)

The model's name says where it is served (see ``provision.client.routing``).
"""

from __future__ import annotations

from provision.inference.async_client import AsyncClient
from provision.inference.errors import RequestError, ResponseError
from provision.inference.image import Image
from provision.inference.sync_client import Client
from provision.inference.types import (
    ChatResponse,
    EmbeddingsResponse,
    EmbedResponse,
    GenerateResponse,
    ListResponse,
    Message,
    Options,
    ProcessResponse,
    ProgressResponse,
    ShowResponse,
    StatusResponse,
    Tool,
)

__all__ = [
    "AsyncClient",
    "ChatResponse",
    "Client",
    "EmbedResponse",
    "EmbeddingsResponse",
    "GenerateResponse",
    "Image",
    "ListResponse",
    "Message",
    "OllamaLike",
    "Options",
    "ProcessResponse",
    "ProgressResponse",
    "RequestError",
    "ResponseError",
    "ShowResponse",
    "StatusResponse",
    "Tool",
    "chat",
    "copy",
    "create",
    "delete",
    "embed",
    "embeddings",
    "generate",
    "list",
    "ps",
    "pull",
    "push",
    "show",
]

OllamaLike = Client  # by the name that says what it is

_client = Client()

chat = _client.chat
generate = _client.generate
embed = _client.embed
embeddings = _client.embeddings
list = _client.list  # noqa: A001 - the API's name
show = _client.show
ps = _client.ps
pull = _client.pull
push = _client.push
create = _client.create
copy = _client.copy
delete = _client.delete
