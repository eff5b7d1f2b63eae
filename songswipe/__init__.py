"""SongSwipe jobs: turns a paid Stripe Checkout into three generated songs, exactly once.

``create_app`` is the only place where the parts are wired together.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import inngest.flask
from flask import Flask

from songswipe.cli import create_commands
from songswipe.events import EventSender, create_client
from songswipe.functions.generate_song import GenerateSong
from songswipe.functions.reconcile_orders import ReconcileOrders
from songswipe.functions.reconcile_payments import ReconcilePayments
from songswipe.logs import configure_logging
from songswipe.music import MusicClient
from songswipe.patience import BoundedCaller, Patience
from songswipe.payments import Payments
from songswipe.reconcile import Reconciliation
from songswipe.refunds import AutoRefund
from songswipe.routes import health
from songswipe.routes.answers import answer_errors_in_json
from songswipe.routes.webhook import Webhook
from songswipe.settings import Settings
from songswipe.store import Store, connect
from songswipe.sweep import Sweep
from songswipe.variants import VariantMaker

__all__ = ["create_app"]

_WEBHOOK_THREADS = 48


def create_app(environ: Mapping[str, str] | None = None) -> Flask:
    """The app, from the environment given (default: the process's own).

    Raises SettingsError that names every variable that is missing or malformed.
    """
    settings = Settings.from_environ(os.environ if environ is None else environ)
    configure_logging(settings.log_level)
    app = Flask(__name__)
    answer_errors_in_json(app)

    client = create_client(settings)
    sender = EventSender(client)
    store = _store(settings, settings.supabase_timeout_seconds)
    quick_store = _store(settings, settings.webhook_budget_seconds)
    caller = BoundedCaller("webhook", _WEBHOOK_THREADS)
    patience = Patience(settings.patience_seconds)

    payments = Payments(settings.stripe_secret_key, settings.stripe_api_base)
    auto_refund = AutoRefund(store, payments) if settings.auto_refund else None

    generate_song = GenerateSong(
        store=store,
        maker=VariantMaker(store, _music(settings), settings.claim_lease_seconds, patience),
        patience=patience,
        auto_refund=auto_refund,
    )
    sweep = Sweep(
        store=store,
        sender=sender,
        grace_seconds=settings.handover_grace_seconds,
        deadline_seconds=settings.generation_deadline_seconds,
        max_redrives=settings.max_redrives,
        auto_refund=auto_refund,
    )
    reconciliation = Reconciliation(store, sender, payments, settings.stripe_livemode)
    functions = [
        generate_song.register(client, settings.generation_concurrency),
        ReconcileOrders(sweep).register(client, settings.reconcile_cron),
        ReconcilePayments(reconciliation).register(client, settings.stripe_reconcile_cron),
    ]
    app.cli.add_command(create_commands(sweep, reconciliation))
    inngest.flask.serve(app, client, functions)
    app.register_blueprint(health.create_blueprint(quick_store, caller))
    app.register_blueprint(
        Webhook(
            store=quick_store,
            sender=sender,
            caller=caller,
            secrets=settings.stripe_webhook_secrets,
            livemode=settings.stripe_livemode,
            budget_seconds=settings.webhook_budget_seconds,
            max_body_bytes=settings.max_body_bytes,
        ).create_blueprint()
    )
    return app


def _store(settings: Settings, timeout_seconds: float) -> Store:
    return Store(
        connect(settings.supabase_url, settings.supabase_service_role_key, timeout_seconds)
    )


def _music(settings: Settings) -> MusicClient:
    return MusicClient(
        api_key=settings.eleven_labs_api_key,
        base_url=settings.eleven_labs_base_url,
        model_id=settings.music_model_id,
        output_format=settings.music_output_format,
        connect_timeout_seconds=settings.music_connect_timeout_seconds,
        read_timeout_seconds=settings.music_read_timeout_seconds,
        total_timeout_seconds=settings.music_total_timeout_seconds,
    )
