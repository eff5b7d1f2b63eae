"""Run one program that must not outlive whoever started it. A script that imports nothing of ours.

    python -I -S guard.py [--unprivileged] PROGRAM ARGUMENT…

The starter keeps the other end of this script's standard input. When that closes, because the
starter wants the program stopped or because the starter is gone in whatever way, the program gets
SIGINT and, if that does not end it, SIGKILL. A pipe rather than a parent-death signal alone: that
signal is tied to the thread that started the program, not to the process, and is Linux's own.

``--unprivileged`` gives root's rights away first: PostgreSQL refuses to run as root.
"""

from __future__ import annotations

import ctypes
import math
import os
import pwd
import select
import signal
import struct
import sys
import time

GRACE_SECONDS = 5.0
STDIN = 0

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
LINUX_CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2


def _become_nobody() -> None:
    """Become ``nobody``, keeping where Linux allows it the right to pass through any folder.

    Without that right the program could not reach a checkout below /root, whose mode is not ours
    to change.
    """
    nobody = pwd.getpwnam("nobody")
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if libc is not None:
        # Keep rights through setuid, and let access(2), which PostgreSQL asks, count them.
        libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0)
        libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
    if libc is not None:
        # Containers usually withhold the first, which would be enough, and grant the second.
        kept = (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE, None)
        if not any(_keep_only(libc, capability) for capability in kept):
            raise OSError("root's rights cannot be given up")


def _keep_only(libc: ctypes.CDLL, capability: int | None) -> bool:
    """Reduce our rights to one, which a program that we become has too, or to none."""
    header = struct.pack("=Ii", LINUX_CAPABILITY_VERSION_3, 0)
    mask = 0 if capability is None else 1 << capability
    if libc.capset(header, struct.pack("=6I", mask, mask, mask, 0, 0, 0)) != 0:
        return False
    if capability is not None:
        libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0)
    return True


def _become(program: list[str], unprivileged: bool) -> None:
    guard = os.getppid()
    if unprivileged:
        _become_nobody()
    if sys.platform == "linux":  # after the change of user, which would clear it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGINT, 0, 0, 0)
        if os.getppid() != guard:
            os._exit(1)
    os.execv(program[0], program)


def _start(program: list[str], unprivileged: bool) -> int:
    child = os.fork()
    if child:
        return child
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, STDIN)
    try:
        _become(program, unprivileged)
    except OSError as error:
        print(f"cannot run {program[0]}: {error}", file=sys.stderr, flush=True)
    os._exit(127)


def _wait(child: int, wakeup: int) -> int:
    """Wait for the end of the program or of standard input; returns the program's exit status."""
    watched = [STDIN, wakeup]
    kill_at = math.inf
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        ready = select.select(watched, [], [], _seconds_until(kill_at))[0]
        signals = os.read(wakeup, 64) if wakeup in ready else b""
        if STDIN in ready or signal.SIGTERM in signals:
            watched = [wakeup]
            os.kill(child, signal.SIGINT)
            kill_at = time.monotonic() + GRACE_SECONDS
        elif time.monotonic() >= kill_at:
            os.kill(child, signal.SIGKILL)
            if os.getpgrp() == os.getpid():  # what it started, and we with it
                os.killpg(0, signal.SIGKILL)
            kill_at = math.inf


def _seconds_until(moment: float) -> float | None:
    return None if moment == math.inf else max(0.0, moment - time.monotonic())


def main(arguments: list[str]) -> int:
    unprivileged = arguments[0] == "--unprivileged"
    program = arguments[1:] if unprivileged else arguments
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    code = _wait(_start(program, unprivileged), reader)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
