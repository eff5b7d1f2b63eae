"""The configuration table of the README and ``.env.example``, written from the declarations.

``python -m devstack docs`` (or ``make docs``) brings both up to date; a test says
when they are not.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from devstack.app_process import PROJECT
from songswipe.settings import REQUIRED, variables

README = PROJECT / "README.md"
ENV_EXAMPLE = PROJECT / ".env.example"
BEGIN = "<!-- configuration: written by `make docs` -->"
END = "<!-- end of configuration -->"

_PLACEHOLDERS = {
    "SUPABASE_URL": "https://your-project.supabase.co",
    "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_your_key",
    "STRIPE_WEBHOOK_SECRET": "whsec_your_secret",
    "STRIPE_SECRET_KEY": "sk_test_your_key",
    "ELEVEN_LABS_API_KEY": "your_key",
}
_SHOWN_EMPTY = ("INNGEST_EVENT_KEY", "INNGEST_SIGNING_KEY")
"""Optional to the parser, but wanted in production: not commented out in the example."""


@dataclass(frozen=True)
class Documented:
    """``default`` None means that the variable is required."""

    name: str
    default: str | None
    help: str


SERVING = (
    Documented("BIND", "0.0.0.0:PORT", "gunicorn: where to listen."),
    Documented("PORT", "8000", "gunicorn: the port, where BIND is not set."),
    Documented("WEB_CONCURRENCY", "2", "gunicorn: worker processes."),
    Documented("WEB_THREADS", "100", "gunicorn: threads of each worker; a running step holds one."),
    Documented(
        "GRACEFUL_TIMEOUT_SECONDS",
        "400",
        "gunicorn: how long running steps may finish after SIGTERM. The platform's own grace "
        "period must be longer.",
    ),
)
"""What gunicorn.conf.py reads by itself."""


def documented() -> list[Documented]:
    ours = [Documented(v.name, _default(default), v.help) for v, default in variables()]
    return [*ours, *SERVING]


def table() -> str:
    rows = [
        f"| `{v.name}` | {_default_cell(v)} | {v.help.replace('|', chr(92) + '|')} |"
        for v in documented()
    ]
    return "\n".join(["| variable | default | what it is |", "|---|---|---|", *rows])


def env_example() -> str:
    return "\n".join(_env_lines()) + "\n"


def readme_with_table(readme: str) -> str:
    """The README with its table replaced. Raises ValueError if the marks are missing."""
    pattern = re.compile(f"{re.escape(BEGIN)}\n.*?{re.escape(END)}", re.DOTALL)
    if not pattern.search(readme):
        raise ValueError(f"README.md has no {BEGIN}")
    return pattern.sub(lambda _: f"{BEGIN}\n{table()}\n{END}", readme)


def main(argv: list[str]) -> int:
    argparse.ArgumentParser(prog="python -m devstack docs", description=__doc__).parse_args(argv)
    README.write_text(readme_with_table(README.read_text()))
    ENV_EXAMPLE.write_text(env_example())
    return 0


def _env_lines() -> Iterator[str]:
    yield "# Copy to .env, for gunicorn and the flask command. Variables that are set win over it."
    yield "# Commented out: optional, shown with its default."
    for variable in documented():
        yield ""
        yield f"# {variable.help}"
        if variable.default is None:
            yield f"{variable.name}={_PLACEHOLDERS.get(variable.name, 'your_value')}"
        elif variable.name in _SHOWN_EMPTY:
            yield f"{variable.name}="
        else:
            yield f"# {variable.name}={variable.default}"


def _default(value: Any) -> str | None:
    if value is REQUIRED:
        return None
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def _default_cell(variable: Documented) -> str:
    if variable.default is None:
        return "required"
    return f"`{variable.default}`" if variable.default else "none"
