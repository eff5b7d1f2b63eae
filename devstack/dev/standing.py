"""The note that a standing stack leaves in its folder, for the commands that use it."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from devstack.real_services import Account
from devstack.shop import Books, Shop
from devstack.stack import WEBHOOK_SECRET, Stack

_NOTE = "standing.json"
_LOCK = "lock"


class StandingError(Exception):
    """No stack stands where one should, or one does where none should."""


@dataclass(frozen=True)
class Standing:
    """Where a standing stack is. ``dsn`` None: its Supabase project is a real one."""

    webhook_url: str
    webhook_secret: str
    inngest_url: str
    supabase_url: str
    supabase_key: str
    dsn: str | None

    @classmethod
    def of(cls, stack: Stack) -> Standing:
        return cls(
            webhook_url=stack.sender.webhook_url,
            webhook_secret=WEBHOOK_SECRET,
            inngest_url=stack.inngest_url,
            supabase_url=stack.supabase.url,
            supabase_key=stack.supabase.key,
            dsn=None if stack.services.supabase else stack.postgres.dsn,
        )

    @classmethod
    def found_in(cls, folder: Path) -> Standing:
        """Raises StandingError if there is none."""
        note = folder / _NOTE
        if not note.exists():
            raise StandingError(f"No stack stands in {folder}. Start one with: make dev")
        return cls(**json.loads(note.read_text()))

    @property
    def supabase(self) -> Account:
        return Account(self.supabase_url, self.supabase_key)

    def books(self) -> Books:
        if self.dsn is not None:
            return Shop(self.dsn)
        from devstack.project_shop import ProjectShop  # half a second that only a real one costs

        return ProjectShop(self.supabase_url, self.supabase_key)

    @contextlib.contextmanager
    def announced(self, folder: Path) -> Iterator[None]:
        """Within it the note is there."""
        note = folder / _NOTE
        note.touch(mode=0o600)
        note.write_text(json.dumps(asdict(self), indent=2))
        try:
            yield
        finally:
            note.unlink(missing_ok=True)


@contextlib.contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Holds the folder for one stack. Raises StandingError if another one has it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / _LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StandingError(f"A stack stands in {folder} already.") from None
        yield
