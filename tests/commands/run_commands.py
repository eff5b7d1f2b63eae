"""Commands run as a person runs them, in a temporary folder that shows what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
REAL_SERVICES = ("SUPABASE_URL", "ELEVEN_LABS_BASE_URL", "INNGEST_CLI", "STRIPE_WEBHOOK_SECRET")
PATIENCE_SECONDS = 60


class Commands:
    """Starts ``python -m devstack …``. Its temporary folder has a space in its name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "a temporary folder"
        self.temporary.mkdir()
        self._started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str | Path, **environ: str) -> subprocess.Popen[str]:
        base = {name: value for name, value in os.environ.items() if name not in REAL_SERVICES}
        process = subprocess.Popen(
            [sys.executable, "-m", "devstack", *map(str, arguments)],
            cwd=PROJECT,
            env=base | {"TMPDIR": str(self.temporary), "INNGEST_DEV": "0"} | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def run(self, *arguments: str | Path, **environ: str) -> tuple[int, str]:
        """Its exit status and everything it wrote."""
        process = self.start(*arguments, **environ)
        output, _ = process.communicate(timeout=PATIENCE_SECONDS)
        return process.returncode, output

    def leftovers(self) -> list[str]:
        """Files in the temporary folder, and processes that know it.

        A process that was killed may be seen a moment longer.
        """
        deadline = time.monotonic() + 1.0
        while processes := list(_processes_that_know(str(self.temporary))):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        return [str(path) for path in self.temporary.iterdir()] + processes

    def end_all(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.communicate(timeout=PATIENCE_SECONDS)


def read_until(process: subprocess.Popen[str], text: str) -> str:
    """What the process wrote up to the line that holds ``text``."""
    assert process.stdout is not None
    output = ""
    for line in process.stdout:
        output += line
        if text in line:
            return output
    raise AssertionError(f"it ended without saying {text!r}:\n{output}")


def _processes_that_know(text: str) -> Iterator[str]:
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            known = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
        except OSError:
            continue  # it has ended, or is not ours to look at
        if text.encode() in known:
            yield known.replace(b"\0", b" ").decode(errors="replace")
