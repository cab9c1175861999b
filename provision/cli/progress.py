"""Progress on stderr: bars on a terminal, lines elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from provision.domain.visible import visible

if TYPE_CHECKING:
    from rich.progress import Progress as Bars


class ProgressOutput:
    """Implements ``apply.progress.Progress`` for whatever stderr is."""

    def __init__(self) -> None:
        self._terminal = sys.stderr.isatty()
        self._bars: Bars | None = None

    def say(self, text: str) -> None:
        """Tell one thing that happens now."""
        text = visible(text)
        if self._bars is not None:
            self._bars.console.print(text, highlight=False, markup=False)
        else:
            sys.stderr.write(f"{text}\n")
            sys.stderr.flush()

    def transfer(self, name: str, total_bytes: int) -> Callable[[int], None]:
        """Show a bar that grows with the bytes; off a terminal one line when it begins."""
        return self._count_bytes("Fetching", name, total_bytes)

    def reading(self, name: str, total_bytes: int) -> Callable[[int], None]:
        """Show the same for what is read here."""
        return self._count_bytes("Reading", name, total_bytes)

    def _count_bytes(self, doing: str, name: str, total_bytes: int) -> Callable[[int], None]:
        if not self._terminal:
            self.say(f"{doing} {name} ({total_bytes / 1e6:.1f} MB)")
            return lambda _: None
        bars = self._open()
        task = bars.add_task(visible(name, kept=""), total=total_bytes)
        return lambda count: bars.update(task, advance=count)

    def steps(self, name: str) -> Callable[[int, int], None]:
        """Show a bar that grows with the steps; off a terminal a line for every tenth."""
        if self._terminal:
            bars = self._open()
            task = bars.add_task(name, total=None)
            return lambda done, total: bars.update(
                task, completed=done, total=total, description=f"{name}, step {done} of {total}"
            )
        told = -1

        def tell(done: int, total: int) -> None:
            nonlocal told
            tenth = done * 10 // max(1, total)
            if tenth > told:
                told = tenth
                self.say(f"{name}: {tenth * 10} %")

        return tell

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._bars is not None:
            self._bars.stop()
            self._bars = None

    def _open(self) -> Bars:
        if self._bars is None:
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

            self._bars = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                DownloadColumn(),
                TransferSpeedColumn(),
                console=Console(stderr=True),
            )
            self._bars.start()
        return self._bars
