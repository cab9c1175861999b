"""Refusing a wish that makes no sense or is not safe, before anything is looked at. Pure."""

from __future__ import annotations

from provision.domain.spec import (
    ACCELERATIONS,
    AUTO,
    BACKENDS,
    EXTERNAL,
    KV_CACHE_TYPES,
    SERVICES,
    SOURCES,
    SYSTEMD,
    Spec,
)
from provision.domain.web_address import is_loopback
from provision.errors import RefusedError, UsageError, did_you_mean
from provision.knowledge.hardware import Hardware
from provision.select.candidates import SERVER

MIN_CONTEXT = 256
EXISTING = "existing"


def check_spec(spec: Spec, hardware: Hardware) -> None:
    """Raise ``UsageError`` for unknown words and impossible numbers, ``RefusedError`` for an unsafe address."""
    profiles = (AUTO, SERVER, *(profile.name for profile in hardware.profiles))
    for word, known, what in (
        (spec.backend, BACKENDS, "backend"),
        (spec.acceleration, ACCELERATIONS, "acceleration"),
        (spec.profile, profiles, "profile"),
        (spec.kv_cache, KV_CACHE_TYPES, "KV cache type"),
        (spec.service, SERVICES, "service"),
        *((source, SOURCES, "source") for source in spec.install.sources),
    ):
        if word not in known:
            raise UsageError(
                f"There is no {what} {word!r}.{did_you_mean(word, list(known))}", f"Known: {', '.join(known)}."
            )
    _check_pairs(spec)
    for count, option in ((spec.parallel, "--parallel"), (spec.threads, "--threads")):
        if count is not None and count < 1:
            raise UsageError(f"{option} {count} is not possible.", "Use 1 or more.")
    if spec.context is not None and spec.context < MIN_CONTEXT:
        raise UsageError(f"A context of {spec.context} tokens is too small.", f"Use at least {MIN_CONTEXT}.")
    if not is_loopback(spec.host) and not spec.api_key_env:
        raise RefusedError(
            f"Will not listen on {spec.host} without an API key: all who reach this machine could use the model.",
            "Put a key into an environment variable and name it: --api-key-env NAME. Or stay on 127.0.0.1.",
        )


def _check_pairs(spec: Spec) -> None:
    """Refuse options that need each other and stand alone, and those that contradict each other."""
    if (spec.backend == EXTERNAL) != (spec.base_url is not None):
        raise UsageError(
            "--backend external and --base-url belong together: the address of a server that somebody else runs.",
            "Such as: fabric up --backend external --base-url http://127.0.0.1:1234/v1",
        )
    if spec.install.program and spec.backend in (AUTO, EXTERNAL):
        raise UsageError("--program needs --backend: which engine it is.", "Such as: --backend llamacpp.")
    if spec.install.program and spec.install.sources and EXISTING not in spec.install.sources:
        raise UsageError("--program and the sources contradict each other.", f"Add --source {EXISTING}.")
    if spec.linger and spec.service != SYSTEMD:
        raise UsageError("--linger is for --service systemd.", "Add --service systemd, or leave --linger out.")
    if spec.require_gpu and spec.acceleration == "cpu":
        raise UsageError("--require-gpu and --acceleration cpu contradict each other.", "Leave one of them out.")
