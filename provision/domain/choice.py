"""What suits a machine best, whether or not this version can install it, and what else was weighed."""

from __future__ import annotations

from provision.domain.frozen import frozen
from provision.domain.model import Model
from provision.domain.selection import Fit


@frozen
class Alternative:
    """One way to serve that was weighed. ``reason`` says what is against it; empty where it only comes later.

    ``distance`` says how far it is from running here: 0 it would, 1 its rule matches and its builds or models do
    not, 2 a GPU or the machine does not match its rule, 3 the rule is for other machines.
    """

    profile: str
    backend: str
    acceleration: str
    reason: str
    distance: int = 0


@frozen
class Recommendation:
    """The best way to serve on a machine.

    ``profile`` is the rule that matched, ``build`` the engine's build that it needs, ``devices`` the GPUs by name
    and address. ``installable`` says whether this version of fabric can bring it about; ``obstacle`` says why not.
    """

    profile: str
    backend: str
    acceleration: str
    build: str
    devices: tuple[str, ...]
    model: Model
    fit: Fit
    installable: bool
    why: tuple[str, ...]
    obstacle: str | None = None
    advice: str | None = None
