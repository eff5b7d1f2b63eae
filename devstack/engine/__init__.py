"""An embedded Inngest engine for demos, tests and fault injection.

It speaks the dev server's protocol, so that an app built on the real SDK cannot tell; it keeps
everything in memory. Production is Inngest Cloud or self-hosted Inngest.
"""

from devstack.engine.apps import SyncError
from devstack.engine.events import EventRefusedError
from devstack.engine.functions import Function
from devstack.engine.model import CallRecord, Run, RunUpdate
from devstack.engine.registration import RegistrationRefusedError
from devstack.engine.server import Engine
from devstack.engine.tasks import EngineBrokenError

__all__ = [
    "CallRecord",
    "Engine",
    "EngineBrokenError",
    "EventRefusedError",
    "Function",
    "RegistrationRefusedError",
    "Run",
    "RunUpdate",
    "SyncError",
]
