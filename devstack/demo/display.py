"""What the demo writes: a picture that moves on a terminal, plain lines anywhere else."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from devstack.demo.progress import Line, Mark

_SIGNS: dict[Mark, str] = {"waiting": "·", "busy": "…", "done": "✓", "failed": "✗"}
_STYLES: dict[Mark, str] = {"waiting": "dim", "busy": "", "done": "green", "failed": "red"}


class Display(Protocol):
    def say(self, text: str = "") -> None:
        """Prints text that stays."""

    def tell(self, line: Line) -> None:
        """Prints one line that stays."""

    def show(self, lines: Sequence[Line]) -> None:
        """Brings the moving picture up to date; only within ``moving``."""

    def moving(self, *, transient: bool = False) -> contextlib.AbstractContextManager[None]:
        """Within it the picture moves; a transient one leaves nothing on a terminal."""
        ...


def create_display() -> Display:
    if sys.stdout.isatty():
        try:
            return TerminalDisplay()
        except ImportError:
            pass  # rich is a convenience
    # A terminal's encoding may know no ticks.
    sys.stdout.reconfigure(errors="replace", line_buffering=True)  # type: ignore[union-attr]
    return PlainDisplay()


class PlainDisplay:
    """Prints a line when it has something to tell, and again when that has changed."""

    def __init__(self) -> None:
        self._shown: list[Line] = []

    def say(self, text: str = "") -> None:
        print(text)

    def tell(self, line: Line) -> None:
        seconds = "" if line.seconds is None else f"{line.seconds:6.2f} s"
        print(f"  {_SIGNS[line.mark]} {line.text:50}{seconds}".rstrip())

    def show(self, lines: Sequence[Line]) -> None:
        news = [line for line in lines if line not in self._shown]
        told = [line for line in news if line.seconds is not None]
        for line in sorted(told, key=lambda line: line.seconds or 0.0):
            self.tell(line)
        self._shown = list(lines)

    @contextlib.contextmanager
    def moving(self, *, transient: bool = False) -> Iterator[None]:
        yield


class TerminalDisplay:
    """Rich's live picture. Raises ImportError where rich is not installed."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live
        from rich.spinner import Spinner

        self._console = Console(highlight=False)
        self._spinner = Spinner("dots")
        self._new_live = Live
        self._live: Any = None

    def say(self, text: str = "") -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def tell(self, line: Line) -> None:
        style = _STYLES[line.mark]
        self._console.print(f"  {_SIGNS[line.mark]} {line.text}", style=style, markup=False)

    def show(self, lines: Sequence[Line]) -> None:
        self._live.update(self._table(lines))

    @contextlib.contextmanager
    def moving(self, *, transient: bool = False) -> Iterator[None]:
        live = self._new_live(console=self._console, refresh_per_second=12, transient=transient)
        with live as self._live:
            yield

    def _table(self, lines: Sequence[Line]) -> Any:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 1))
        table.add_column(width=1)
        table.add_column(width=1)
        table.add_column(width=49)
        table.add_column(justify="right", width=8)
        for line in lines:
            style = _STYLES[line.mark]
            sign = self._spinner if line.mark == "busy" else Text(_SIGNS[line.mark], style)
            seconds = "" if line.seconds is None else f"{line.seconds:.2f} s"
            table.add_row("", sign, Text(line.text, style), Text(seconds, "dim"))
        return table
