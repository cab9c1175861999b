"""Which moments of a command are struck, and the command struck at one of them."""

from __future__ import annotations

from collections.abc import Iterable

from tests.standin.command import Fabric, Outcome
from tests.standin.moments import Moment

MARK = "struck"
ENOUGH = 0.9  # of the moments have to be reached again; what runs side by side takes other turns now and then


def moments_of(fabric: Fabric, *words: str, code: int = 0) -> list[Moment]:
    """Run the command and return its moments in their order: the first and the last from every site."""
    path = fabric.home / "moments"
    outcome = fabric(*words, env={"STANDIN_RECORD": str(path)})
    assert outcome.returncode == code, outcome.said
    seen = [Moment.parse(line) for line in path.read_text(encoding="utf-8").splitlines()]
    path.unlink()
    last = {(moment.point, moment.site): moment.number for moment in seen}
    return [moment for moment in seen if moment.number in (1, last[moment.point, moment.site])]


def elsewhere(moments: Iterable[Moment], struck: Iterable[Moment]) -> list[Moment]:
    """Return those of the moments from whose sites nothing was struck yet."""
    known = {(moment.point, moment.site) for moment in struck}
    return [moment for moment in moments if (moment.point, moment.site) not in known]


def struck(fabric: Fabric, moment: Moment, blow: str, *words: str) -> Outcome:
    """Run the command and strike it at ``moment``; see ``tests/standin/moments.py``."""
    return fabric(*words, env={"STANDIN_STRIKE": f"{blow} {moment}", "STANDIN_MARK": str(fabric.home / MARK)})


def fell(fabric: Fabric) -> bool:
    """Tell whether the error of the last ``struck`` was raised, and forget it; a process that was killed tells it."""
    mark = fabric.home / MARK
    did = mark.exists()
    mark.unlink(missing_ok=True)
    return did
