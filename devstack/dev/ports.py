"""Whether the wanted ports are free, asked before anything is started."""

from __future__ import annotations

import socket

from devstack.real_services import RealServices
from devstack.serving import HOST, PortTaken
from devstack.stack import Ports


def check_ports(ports: Ports, services: RealServices) -> None:
    """Raises PortTaken, which names the port, who wants it, and the option that changes it."""
    for option, what, port in _wanted(ports, services):
        if not _is_free(port):
            raise PortTaken(
                f"Port {port}, wanted for {what}, is in use. Choose another one with "
                f"{option} N (make dev ARGS='{option} N')."
            )


def _wanted(ports: Ports, services: RealServices) -> list[tuple[str, str, int]]:
    wanted = [("--app-port", "the app", ports.app)]
    if services.supabase is None:
        wanted.append(("--supabase-port", "the Supabase API", ports.supabase))
        wanted.append(("--database-port", "PostgreSQL", ports.database))
    if services.inngest_url is None:
        wanted.append(("--inngest-port", "Inngest", ports.inngest))
    return wanted


def _is_free(port: int) -> bool:
    """As servers bind: a port that only waits out its last connections counts as free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
