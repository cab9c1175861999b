"""What each engine answers to GET requests, as its documentation and its source say; and servers that look alike."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from tests.standin.web_server import JSON, Answer, Request, Site

Routes = Mapping[str, Any]
KEY = "sk-standin-0123456789"
TEXT = {"Content-Type": "text/plain; charset=utf-8"}
HTML = {"Content-Type": "text/html"}


def json_answer(document: Any, status: int = 200, headers: Mapping[str, str] = JSON) -> Answer:
    return Answer(status, json.dumps(document).encode(), {**JSON, **headers})


def site(
    routes: Routes, *, missing: Answer | None = None, headers: Mapping[str, str] | None = None, guards: str = ""
) -> Site:
    """Return a site that answers ``routes``, documents or whole answers, and 404 elsewhere.

    Paths that start with ``guards`` need ``KEY``, where that is given.
    """
    more = headers or {}
    absent = missing or json_answer({"error": "not found"}, 404)

    def answer(request: Request) -> Answer:
        path = request.path.partition("?")[0]
        if guards and path.startswith(guards) and request.headers.get("Authorization") != f"Bearer {KEY}":
            told = json_answer({"error": {"message": "Invalid API Key", "type": "authentication_error"}}, 401)
        else:
            found = routes.get(path, absent)
            told = found if isinstance(found, Answer) else json_answer(found)
        return Answer(told.status, told.body, {**told.headers, **more}, told.raw)

    return answer


def listing(*names: str, owner: str = "organization_owner", **more: Any) -> dict[str, Any]:
    rows = [{"id": name, "object": "model", "created": 1_790_000_000, "owned_by": owner, **more} for name in names]
    return {"object": "list", "data": rows}


OLLAMA: Routes = {
    "/": Answer(body=b"Ollama is running", headers=TEXT),
    "/api/version": {"version": "0.32.15"},
    "/api/tags": {"models": [{"name": "qwen3:4b", "model": "qwen3:4b", "size": 2_500_000_000, "details": {}}]},
    "/api/ps": {"models": [{"name": "qwen3:4b", "size_vram": 0, "context_length": 8192}]},
    "/v1/models": listing("qwen3:4b", "hf.co/a/b:Q4_K_M", owner="library"),
}
EMPTY_OLLAMA: Routes = {**OLLAMA, "/v1/models": {"object": "list", "data": None}, "/api/ps": {"models": []}}

LLAMACPP_LIST = {
    "models": [{"name": "smollm2", "model": "smollm2", "type": "model", "details": {"format": "gguf"}}],
    **listing("smollm2", owner="llamacpp", meta={"n_ctx": 16384, "n_ctx_train": 8192, "n_params": 134_515_008}),
}
LLAMACPP: Routes = {
    "/health": {"status": "ok"},
    "/v1/models": LLAMACPP_LIST,
    "/models": LLAMACPP_LIST,
    "/api/tags": LLAMACPP_LIST,
    "/props": {
        "default_generation_settings": {"n_ctx": 4096, "params": {}},
        "total_slots": 4,
        "model_path": "/models/smollm2.gguf",
        "chat_template": "{% for message in messages %}",
        "build_info": "b11434-0123abcd",
        "is_sleeping": False,
    },
}
BY_LLAMACPP = {"Server": "llama.cpp"}
LOADING = json_answer({"error": {"message": "Loading model", "type": "unavailable_error", "code": 503}}, 503)

VLLM: Routes = {
    "/health": Answer(headers={}),
    "/version": {"version": "0.33.0"},
    "/metrics": Answer(body=b"# TYPE vllm:num_requests_running gauge\nvllm:num_requests_running 0\n", headers=TEXT),
    "/v1/models": listing("Qwen/Qwen3-4B", owner="vllm", root="Qwen/Qwen3-4B", max_model_len=32768),
}
BY_UVICORN = {"Server": "uvicorn"}

LMSTUDIO: Routes = {
    "/v1/models": listing("qwen/qwen3-4b", "text-embedding-nomic"),
    "/api/v1/models": {
        "models": [
            {
                "type": "llm",
                "publisher": "qwen",
                "key": "qwen/qwen3-4b",
                "display_name": "Qwen3 4B",
                "loaded_instances": [{"id": "qwen/qwen3-4b", "config": {"context_length": 4096}}],
                "max_context_length": 262_144,
            },
            {"type": "embedding", "key": "text-embedding-nomic", "loaded_instances": []},
        ]
    },
}
OLDER_LMSTUDIO: Routes = {
    "/v1/models": listing("qwen3-4b"),
    "/api/v0/models": {
        "object": "list",
        "data": [
            {
                "id": "qwen3-4b",
                "object": "model",
                "type": "llm",
                "compatibility_type": "gguf",
                "state": "loaded",
                "max_context_length": 40960,
                "loaded_context_length": 8192,
            }
        ],
    },
}
UNEXPECTED = json_answer({"error": "Unexpected endpoint or method. (GET /x)"})  # with status 200

HOSTED: Routes = {"/v1/models": listing("gpt-oss-120b", "llama-4", context_window=131_072)}
KOBOLDCPP: Routes = {
    "/": Answer(body=b"<!DOCTYPE html><title>KoboldAI Lite</title>", headers=HTML),
    "/api/version": {"version": "0.7.0"},
    "/api/tags": {"models": []},
    "/api/ps": {"models": []},
    "/props": {"chat_template": "", "default_generation_settings": {"n_ctx": 4096}},
    "/v1/models": listing("koboldcpp/tiny", owner="koboldcpp"),
}
SGLANG: Routes = {
    "/version": {"version": "0.5.2"},
    "/v1/models": listing("Qwen/Qwen3-4B", owner="sglang", max_model_len=32768),
}
# An application of somebody, on one of the same ports.
WEB_PAGE = Answer(body=b"<!DOCTYPE html><title>It works</title>", headers=HTML)
