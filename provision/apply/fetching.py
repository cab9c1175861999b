"""The one fetcher, with the settings of this user and the directories of this prefix."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

from provision.apply.progress import Progress
from provision.artifacts.fetch import Fetcher
from provision.artifacts.pip_settings import read_local, uv_environment
from provision.artifacts.resolve import headers_for
from provision.errors import CannotCreateError
from provision.host.download import Transport
from provision.host.files import explained, make_private_dir
from provision.host.layout import Layout
from provision.host.machine import LocalMachine
from provision.host.part import drop_old

SLACK_BYTES = 64 << 20


def make_room(layout: Layout, env: Mapping[str, str], need_bytes: int) -> None:
    """Make the staging directory. Raises ``CannotCreateError``, before anything is fetched, on too small a disk."""
    with explained("making the staging directory"):
        make_private_dir(layout.staging)
    space = LocalMachine(env).space(str(layout.staging))
    if space is not None and space.free_bytes < need_bytes + SLACK_BYTES:
        raise CannotCreateError(
            f"Not enough space in {layout.prefix}: {(need_bytes + SLACK_BYTES) >> 20} MiB are needed, "
            f"{space.free_bytes >> 20} MiB are free. Nothing was fetched.",
            "Free some space, or use --home on another disk.",
        )


def make_fetcher(
    layout: Layout,
    env: Mapping[str, str],
    sites: Mapping[str, str],
    progress: Progress,
    stop: threading.Event,
    *,
    addresses: Mapping[str, str],
    bundle: Path | None = None,
    offline: bool = False,
) -> Fetcher:
    """Return a fetcher into the staging directory, which is there. ``sites`` stand in for the usual places."""
    settings = read_local(env)
    drop_old(layout.partial, time.time())
    return Fetcher(
        addresses,
        Transport({**env, **uv_environment(settings, env)}, settings.certificate, settings.trusted_hosts),
        layout.staging,
        stop,
        partial=layout.partial,
        say=progress.say,
        local=bundle,
        offline=offline,
        headers=lambda url: headers_for(url, sites, env),
    )
