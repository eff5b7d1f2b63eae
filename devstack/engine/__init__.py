"""An embedded Inngest engine for demos, tests and fault injection.

It speaks the dev server's protocol, so that an app built on the real SDK cannot tell; it keeps
everything in memory. Production is Inngest Cloud or self-hosted Inngest.
"""

from devstack.engine.model import CallRecord, Run, RunUpdate
from devstack.engine.registration import Function, RegistrationRefused
from devstack.engine.server import Engine, SyncFailed

__all__ = [
    "CallRecord",
    "Engine",
    "Function",
    "RegistrationRefused",
    "Run",
    "RunUpdate",
    "SyncFailed",
]
