"""JSON for every answer, also for the errors that Flask raises."""

from __future__ import annotations

from typing import Any

from flask import Flask, Response, jsonify
from werkzeug.exceptions import HTTPException


def answer(status_code: int, /, **fields: Any) -> Response:
    response = jsonify({key: value for key, value in fields.items() if value is not None})
    response.status_code = status_code
    return response


def answer_errors_in_json(app: Flask) -> None:
    @app.errorhandler(HTTPException)
    def http_error(error: HTTPException) -> Response:
        name = error.name.lower().replace(" ", "_")
        response = answer(error.code or 500, error=name)
        for header in ("Allow", "Retry-After"):
            for value in dict(error.get_headers()).get(header, "").splitlines():
                response.headers[header] = value
        return response
