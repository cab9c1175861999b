"""A user, an environment and names that nobody thinks of: it works, or one line says what to change."""

from __future__ import annotations

import stat

import pytest

from tests.faults.oracle import WISH, Oracle
from tests.standin.command import Fabric


@pytest.mark.fault("umask")
@pytest.mark.parametrize("umask", [0o077, 0o000, 0o777], ids=oct)
def test_whatever_the_umask_all_is_for_the_user_alone(quick: Fabric, oracle: Oracle, umask: int) -> None:
    oracle.survived(quick, quick("up", *WISH, umask=umask), 0)
    modes = {path.name: stat.S_IMODE(path.lstat().st_mode) for path in quick.prefix.iterdir() if path.name != "current"}
    open_to_others = {name: oct(mode) for name, mode in modes.items() if mode & 0o077}
    assert open_to_others == {}
    oracle.nothing_left(quick)
