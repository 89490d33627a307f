"""How far it is: a bar with rate and time left where a person looks on, nothing elsewhere."""

import sys
from types import TracebackType
from typing import Any

from gridgrad.app.produce import Watched


class Bar(Watched):
    """A bar on stderr. Results have stdout for themselves."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._progress: Any = None
        self._task: Any = None

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: Any, traceback: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def begin(self, total: int, done: int) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(compact=True),
            console=Console(stderr=True),
            transient=True,
        )
        self._progress.start()
        self._task = self._progress.add_task(self.title, total=total, completed=done)

    def advance(self, size: int) -> None:
        self._progress.advance(self._task, size)

    def say(self, what: str) -> None:
        self._progress.update(self._task, description=what)


def watcher(title: str, quiet: bool) -> Any:
    """A bar if stderr is a terminal, and nothing if not."""
    import contextlib

    if quiet or sys.stderr is None or not sys.stderr.isatty():
        return contextlib.nullcontext(Watched())
    return Bar(title)
