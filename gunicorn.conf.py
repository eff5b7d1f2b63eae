"""How gunicorn serves the app. It reads this file by itself: ``gunicorn wsgi:app``."""

import gc
import os

from dotenv import load_dotenv
from gunicorn.workers.gthread import ThreadWorker

load_dotenv()


class Worker(ThreadWorker):
    """gthread, which on SIGTERM stops accepting but keeps its socket until its last request ends.

    Whoever connects meanwhile would wait in the socket's queue, and in the end be cut off. A closed
    socket refuses them at once, so that Stripe, Inngest or a load balancer ask elsewhere or again.
    """

    def set_accept_enabled(self, enabled: bool) -> None:
        super().set_accept_enabled(enabled)
        if not enabled and not self.alive:
            for listener in self.sockets:
                listener.close()


bind = os.environ.get("BIND") or f"0.0.0.0:{os.environ.get('PORT') or '8000'}"

# A step waits minutes for a song and costs a thread, not a processor. More requests than threads
# would queue unseen, so there are plenty: Stripe must not wait behind songs.
worker_class = Worker
workers = int(os.environ.get("WEB_CONCURRENCY") or 2)
threads = int(os.environ.get("WEB_THREADS") or 100)

# With gthread this is a heartbeat of the worker, not a limit for a request.
timeout = 60
# On SIGTERM running songs get this long to finish; what is cut then is resumed by Inngest. The
# platform's own grace period must be longer.
graceful_timeout = int(os.environ.get("GRACEFUL_TIMEOUT_SECONDS") or 400)
# Longer than a load balancer keeps its side open, so that it never writes into a closed connection.
keepalive = 75

# Imported once and shared by the workers, which saves memory. No connection is open by then.
preload_app = True
# A file in the home directory that nobody asked for, and that a read-only home refuses.
control_socket_disable = True


def when_ready(server: object) -> None:
    """The app is loaded and no worker is forked yet: its objects need not be looked at by the
    garbage collector ever again, which would make every worker copy the pages that they share."""
    gc.collect()
    gc.freeze()
