"""Files whose SHA-256 nobody has told: what comes is believed, said aloud, and expected from then on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from provision.domain.artifacts import PinnedFile


def pinned_by_what_came(
    files: Sequence[PinnedFile], sums: Mapping[str, str], say: Callable[[str], None]
) -> tuple[PinnedFile, ...]:
    """Return the files with the SHA-256 of what came to each path; ``say`` is told of those that are unverified."""
    for file in files:
        if file.sha256 is None:
            say(
                f"{file.path} is unverified: nobody has told its SHA-256. It is {sums[file.path]}, and is expected "
                "from now on"
            )
    return tuple(file.pinned_by(sums[file.path]) for file in files)
