"""The memory of gunicorn and its workers, as Linux counts it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Memory:
    """``proportional_mb`` counts a shared page once, ``resident_mb`` once for each process."""

    proportional_mb: int
    resident_mb: int


def app_memory(pid_file: Path) -> Memory:
    master = int(pid_file.read_text())
    fields = [_fields(pid) for pid in [master, *_children(master)]]
    return Memory(
        sum(field["Pss"] for field in fields) // 1024,
        sum(field["Rss"] for field in fields) // 1024,
    )


def _children(parent: int) -> list[int]:
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            after_name = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(after_name[1]) == parent:
            found.append(int(stat.parent.name))
    return found


def _fields(pid: int) -> dict[str, int]:
    """The sums that the kernel keeps, in kB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name: int(rest.split()[0]) for name, _, rest in (x.partition(":") for x in lines)}
