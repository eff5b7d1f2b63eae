"""``/healthz``: the process is up. ``/readyz``: it can do its work."""

from __future__ import annotations

from flask import Blueprint, Response

from songswipe.errors import SongSwipeError
from songswipe.patience import BoundedCaller, DeadlineExceededError
from songswipe.routes.answers import answer
from songswipe.store import Store

_READY_WITHIN_SECONDS = 2.0


def create_blueprint(store: Store, caller: BoundedCaller) -> Blueprint:
    bp = Blueprint("health", __name__)

    @bp.get("/healthz")
    def healthz() -> Response:
        return answer(200, status="up")

    @bp.get("/readyz")
    def readyz() -> Response:
        try:
            caller.call(store.ping, _READY_WITHIN_SECONDS)
        except (SongSwipeError, DeadlineExceededError) as error:
            problem = str(error) or "no answer in time"
            return answer(503, status="not_ready", database=problem)
        return answer(200, status="ready", database="reachable")

    return bp
