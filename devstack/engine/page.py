"""The page a developer opens in a browser, and the same as JSON. It shows ids, never data."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from itertools import islice
from typing import Any

from devstack.engine.functions import Function
from devstack.engine.model import Run

MAX_RUNS = 200

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 72rem; padding: 0 1rem;
  color: #1f2430; background: #fcfcfd }
h1 { font-size: 1.3rem } h2 { font-size: 1.05rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid #e4e6eb;
  vertical-align: top }
code { font: 13px ui-monospace, monospace } .none { color: #6b7280 }
.completed { color: #166534 } .failed { color: #b91c1c } .cancelled { color: #6b7280 }
@media (prefers-color-scheme: dark) { body { color: #e5e7eb; background: #14161b }
  th, td { border-color: #2d313a } .completed { color: #4ade80 } .failed { color: #f87171 } }
"""


def run_as_json(run: Run) -> dict[str, Any]:
    return {
        "run_id": run.id,
        "function_id": run.function_id,
        "event_name": run.event["name"],
        "event_id": run.event["id"],
        "status": run.status,
        "attempt": run.attempt,
        "steps": run.step_names,
        "calls": len(run.calls),
        "error": run.error["name"] if run.error else None,
        "started_at": _time(run.started_at),
        "ended_at": _time(run.ended_at) if run.ended_at else None,
    }


def render_page(functions: Iterable[Function], runs: Iterable[Run]) -> str:
    """``runs`` newest first; the page shows no more of them than a browser can take."""
    function_rows = [
        [f"<code>{escape(f.id)}</code>", escape(_triggers(f)), str(f.max_attempts)]
        for f in functions
    ]
    run_rows = [_run_row(run) for run in islice(runs, MAX_RUNS)]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta http-equiv="refresh" content="2"><title>Inngest engine</title>'
        f"<style>{_STYLE}</style></head><body><h1>Inngest engine</h1>"
        f"<h2>Runs, newest first</h2>{_table(_RUN_HEADS, run_rows, 'No runs yet.')}"
        f"<h2>Functions</h2>{_table(_FUNCTION_HEADS, function_rows, 'No app has registered.')}"
        "</body></html>"
    )


_RUN_HEADS = ["Function", "Status", "Steps", "Calls", "Attempt", "Started", "Event", "Run"]
_FUNCTION_HEADS = ["Function", "Triggers", "Attempts"]


def _run_row(run: Run) -> list[str]:
    status = escape(run.status)
    if run.error:
        status += f": {escape(str(run.error['name']))}"
    steps = escape(", ".join(run.step_names)) or '<span class="none">none</span>'
    return [
        f"<code>{escape(run.function_id)}</code>",
        f'<span class="{escape(run.status)}">{status}</span>',
        steps,
        str(len(run.calls)),
        str(run.attempt + 1),
        escape(_time(run.started_at)),
        f"<code>{escape(str(run.event['id']))}</code>",
        f"<code>{escape(run.id)}</code>",
    ]


def _table(heads: list[str], rows: list[list[str]], empty: str) -> str:
    if not rows:
        return f'<p class="none">{empty}</p>'
    head = "".join(f"<th>{head}</th>" for head in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _triggers(function: Function) -> str:
    events = [trigger.event for trigger in function.event_triggers]
    return ", ".join(events + [f"cron {trigger.expression}" for trigger in function.cron_triggers])


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
