"""Progress of a long job, shown on the terminal."""

from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)


class Bars:
    """A line per step on `err`, a bar where the number of units is known; what is printed goes to `out`."""

    def __init__(self, out: Console, err: Console) -> None:
        self._out = out
        self._bars = Progress(
            SpinnerColumn(finished_text="[green]✓[/]"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=err,
        )
        self._running: TaskID | None = None

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.done()
        self._bars.stop()

    def task(self, name: str, total: int | None = None) -> Callable[[int], None]:
        """Begin a step; the one before it is done."""
        self.done()
        task = self._bars.add_task(name, total=total)
        self._running = task
        return lambda done: self._bars.update(task, completed=done)

    def print(self, text: str) -> None:
        """Print a line above the bars."""
        self._out.print(text, soft_wrap=True)

    def done(self) -> None:
        """The step begun last is done."""
        if self._running is not None:
            task = self._bars.tasks[self._running]
            total = task.total if task.total is not None else max(1, task.completed)
            self._bars.update(self._running, total=total, completed=total)
