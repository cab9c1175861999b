"""The user's environment without what is nobody else's business, for programs that are neither ours nor a server."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAMES = re.compile(
    r"TOKEN|SECRET|PASSW|CREDENTIAL|API_?KEY|(ACCESS|PRIVATE|ACCOUNT)_KEY|_(KEY|PAT|AUTH)$", re.IGNORECASE
)
_LOGIN = re.compile(r"://[^/@\s]+@")


def without_secrets(env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables whose names do not tell of a secret and whose values hold no address with a login."""
    return {name: value for name, value in env.items() if not _NAMES.search(name) and not _LOGIN.search(value)}
