"""What Ollama says becomes an error of the contract: texts as its sources print them."""

from __future__ import annotations

import re

import pytest

from provision.engines.ollama_errors import explain, explain_response
from provision.errors import (
    CannotCreateError,
    FabricError,
    InvalidInputError,
    RefusedError,
    UnreachableError,
    UsageError,
)
from provision.host.endpoint import Response
from provision.knowledge.engine_files import load_engine_file

SAID: list[tuple[str, type[FabricError]]] = [
    ("pull model manifest: file does not exist", UsageError),
    ("model 'x' not found", UsageError),
    ('model "x" not found, try pulling it first', UsageError),
    ('name "../x" is invalid', UsageError),
    ("invalid model name", UsageError),
    ("unauthorized: access denied", RefusedError),
    ('pull model manifest: realm host "a.example" does not match original host "b.example"', RefusedError),
    ("pull model manifest: 403: forbidden", RefusedError),
    ("digest mismatch, file must be downloaded again: want sha256:aa, got sha256:bb", RefusedError),
    ('digest mismatch, expected "sha256:aa", got "sha256:bb"', RefusedError),
    ("write /m/blobs/sha256-aa-partial: no space left on device", CannotCreateError),
    ("open /m/blobs/sha256-aa-partial: permission denied", CannotCreateError),
    (
        (
            "pull model manifest: 412: \n\nThe model you are attempting to pull requires a newer version of Ollama.\n\n"
            "Please download the latest version at:\n\n\thttps://ollama.com/download\n\n"
        ),
        InvalidInputError,
    ),
    ("supplied file was not in GGUF format", InvalidInputError),
    ("unknown model architecture: 'x'", InvalidInputError),
    (
        (
            'pull model manifest: Get "https://registry.ollama.ai/v2/library/x/manifests/latest": dial tcp: lookup '
            "registry.ollama.ai on 127.0.0.53:53: no such host"
        ),
        UnreachableError,
    ),
    ("max retries exceeded: unexpected EOF", UnreachableError),
    ("pull model manifest: 503: upstream", UnreachableError),
    ("http: no Location header in response", UnreachableError),
    ("something that nobody has seen yet", FabricError),
]


@pytest.mark.parametrize(("said", "error"), SAID, ids=[said[:40] for said, _ in SAID])
def test_each_text_has_its_kind_and_a_hint(said: str, error: type[FabricError]) -> None:
    told = explain(said, "pulling x")
    assert type(told) is error
    assert " ".join(said.split()) in told.message
    assert told.hint


def test_a_server_that_is_away_is_unreachable() -> None:
    assert isinstance(explain_response(Response(0, error="refused"), "asking"), UnreachableError)


def test_a_refused_host_header_is_said_to_be_one() -> None:
    told = explain_response(Response(403), "asking")
    assert isinstance(told, RefusedError)
    assert "localhost" in str(told.hint)


LOGGED = [
    ("Error: listen tcp 127.0.0.1:11434: bind: address already in use", "the port is taken"),
    ("Error: listen tcp 10.1.2.3:11434: bind: cannot assign requested address", "the address is not this machine's"),
    ("Error: mkdir /m: permission denied: ensure path elements are traversable", "it may not write to its directories"),
    ('level=ERROR msg="llama-server binary not found (checked: /p/lib/ollama/llama-server)"', "Ollama is not whole"),
    ("error loading model: unknown model architecture: 'x'", "this version of Ollama does not know the architecture"),
    ("gguf_init_from_file: invalid magic characters", "the model file cannot be loaded"),
    ("ggml_backend_cuda_buffer_type_alloc_buffer: cudaMalloc failed: out of memory", "out of memory"),
    ("vk_error_out_of_device_memory", "out of memory"),
    ("write /m/blobs/sha256-aa-partial: no space left on device", "the disk is full"),
    ("Error: $HOME is not defined", "it was started without a home"),
    ("ollama: error while loading shared libraries: libm.so.6: cannot open shared object file", "a shared library is"),
    ("/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found", "a shared library is missing or too old"),
]


@pytest.mark.parametrize(("line", "reason"), LOGGED, ids=[line[:30] for line, _ in LOGGED])
def test_the_first_signature_that_fits_a_log_is_the_right_one(line: str, reason: str) -> None:
    failures = load_engine_file("ollama").failures
    first = next(failure for failure in failures if re.search(failure.pattern, line, re.IGNORECASE))
    assert first.reason.startswith(reason)
