"""Whose the prefix is, who may write to it or replace it, and whether it is fabric's."""

from __future__ import annotations

from collections.abc import Iterator

from provision.apply.prefix_check import INSIDE, MARKED, PARENTS, PREFIX, objections
from provision.domain.security_check import Outcome, SecurityCheck
from provision.host.layout import Layout

_FINE = {
    PREFIX: "{prefix} belongs to this user, and nobody else may write to it",
    PARENTS: "nobody else may write to a directory above {prefix}",
    MARKED: "{prefix} has fabric's marker",
    INSIDE: "no part of {prefix} is led elsewhere by a link",
}


def check(layout: Layout) -> Iterator[SecurityCheck]:
    """Yield one check for each way in which a prefix can be unsafe."""
    found = {objection.code: objection for objection in reversed([*objections(layout)])}
    exists = layout.prefix.exists()
    for code, evidence in _FINE.items():
        if code in found:
            yield SecurityCheck(code, Outcome.FAILED, found[code].why, found[code].fix)
        elif not exists and code != PARENTS:
            yield SecurityCheck(code, Outcome.UNKNOWN, f"{layout.prefix} is not there yet")
        else:
            yield SecurityCheck(code, Outcome.OK, evidence.format(prefix=layout.prefix))
