"""How far an order has come: the checkpoints of its run and its three songs, as lines to show."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from devstack.engine import RunUpdate

Mark = Literal["waiting", "busy", "done", "failed"]

FUNCTION = "generate-song"
ATTEMPTS = 5
SONGS_CHECKPOINT = "generate-and-upload-variants"
CHECKPOINTS = (
    "fetch-customization",
    "update-order-generating",
    "create-variant-records",
    SONGS_CHECKPOINT,
    "finalize-order",
)
_VARIANT_MARKS: Mapping[str, Mark] = {
    "pending": "waiting",
    "generating": "busy",
    "complete": "done",
    "failed": "failed",
}


@dataclass(frozen=True)
class Line:
    """``seconds`` since the payment, once there is something to tell."""

    text: str
    mark: Mark = "waiting"
    seconds: float | None = None


class Progress:
    """Collects what the engine tells and what the database shows.

    ``note`` may be called from the engine's thread. Without an engine that tells anything, the
    checkpoints are left out.
    """

    def __init__(self, *, checkpoints: bool = True) -> None:
        self._began = time.monotonic()
        self._checkpoints = {name: Line(name) for name in CHECKPOINTS} if checkpoints else {}
        self._songs: dict[int, Line] = {}
        self._handler: Line | None = None

    def note(self, update: RunUpdate) -> None:
        function = update.run.function_id
        if function.endswith(f"{FUNCTION}-failure"):
            self._note_handler(update)
        elif function.endswith(FUNCTION) and self._checkpoints:
            self._note_run(update)

    def see(self, variants: Iterable[Mapping[str, Any]]) -> None:
        """Takes the rows of the order's variants."""
        for row in variants:
            number, state = row["variant_number"], str(row["generation_status"])
            reason = f": {row['failure_reason']}" if row["failure_reason"] else ""
            seen = self._songs.get(number)
            line = self._song_line(f"  song {number} {state}{reason}", _VARIANT_MARKS[state])
            if seen is None or (seen.text, seen.mark) != (line.text, line.mark):
                self._songs[number] = line

    def checkpoints(self) -> list[Line]:
        handler = [self._handler] if self._handler else []
        return [*self._checkpoints.values(), *handler]

    def with_songs(self, checkpoints: list[Line]) -> list[Line]:
        """The songs, below the checkpoint that makes them."""
        place = 1 + CHECKPOINTS.index(SONGS_CHECKPOINT)
        return [*checkpoints[:place], *self._songs.values(), *checkpoints[place:]]

    def _note_run(self, update: RunUpdate) -> None:
        current = self._current()
        match update.kind:
            case "step_finished" if update.step in self._checkpoints:
                self._checkpoints[update.step] = self._line(update.step, "done")
                current = self._current()
            case "step_failed" if current and update.attempt + 1 < ATTEMPTS:
                text = f"{current}, attempt {update.attempt + 2} of {ATTEMPTS}"
                self._checkpoints[current] = Line(text, "busy", self._now())
                return
            case "failed" | "cancelled" if current:
                self._checkpoints[current] = self._line(f"{current}: {update.kind}", "failed")
                return
        if current and not update.run.ended:
            self._checkpoints[current] = Line(current, "busy")

    def _current(self) -> str | None:
        """The first checkpoint that has not ended."""
        open_marks = ("waiting", "busy")
        return next((n for n, line in self._checkpoints.items() if line.mark in open_marks), None)

    def _note_handler(self, update: RunUpdate) -> None:
        if update.run.ended:
            mark: Mark = "done" if update.kind == "completed" else "failed"
            self._handler = self._line("failure handler", mark)
        elif self._handler is None:
            self._handler = Line("failure handler", "busy")

    def _song_line(self, text: str, mark: Mark) -> Line:
        """A song that is seen a moment late ended before its checkpoint did."""
        line = self._line(text, mark)
        checkpoint = self._checkpoints.get(SONGS_CHECKPOINT, Line(""))
        if line.seconds is None or checkpoint.mark != "done" or checkpoint.seconds is None:
            return line
        return Line(text, mark, min(line.seconds, checkpoint.seconds))

    def _line(self, text: str, mark: Mark) -> Line:
        return Line(text, mark, self._now() if mark in ("done", "failed") else None)

    def _now(self) -> float:
        return time.monotonic() - self._began
