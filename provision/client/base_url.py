"""An address of a server as somebody has configured it: checked, in its one form, or an error that names its place."""

from __future__ import annotations

from provision.domain.endpoint import normalize
from provision.errors import RefusedError, UsageError

_FORM = "Write it like http://127.0.0.1:8080/v1"


def checked(base_url: str, source: str, *, key_place: str, has_key: bool) -> str:
    """Return ``base_url`` in its one form, which ends in ``/v1``.

    ``source`` is where it was read, such as the name of a variable, and ``key_place`` where the API key belongs;
    ``has_key`` as for ``normalize``. Raises the errors of that, with the source, and without what was written there.
    """
    try:
        return normalize(base_url, has_key=has_key)
    except (UsageError, RefusedError) as error:
        hint = f"{_FORM}, without a login: an API key belongs into {key_place}."
        raise type(error)(f"{source} cannot be used. {error.message}", hint) from None
