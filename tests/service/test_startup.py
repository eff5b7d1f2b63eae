"""Starting the service: what it says when the environment is not complete, and what it needs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest

from devstack.app_process import PROJECT
from devstack.serving import free_port

COMPLETE = {
    "SUPABASE_URL": "http://127.0.0.1:9",
    "SUPABASE_SERVICE_ROLE_KEY": "sb_secret_of_a_test",
    "STRIPE_WEBHOOK_SECRET": "whsec_of_a_test",
    "STRIPE_SECRET_KEY": "sk_test_of_a_test",
    "ELEVEN_LABS_API_KEY": "key_of_a_test",
    "INNGEST_EVENT_KEY": "event_key_of_a_test",
    "INNGEST_SIGNING_KEY": "signkey-test-" + "0" * 64,
}
IMPORT = [
    "-W",
    "ignore",
    "-c",
    "import wsgi; print(sorted(map(str, wsgi.app.url_map.iter_rules())))",
]
GUNICORN = ["-m", "gunicorn", "wsgi:app"]


def start(command: list[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Runs it in the project's folder, with this environment and no ``.env`` file."""
    base = {"PATH": os.environ["PATH"], "PYTHON_DOTENV_DISABLED": "1", "WEB_CONCURRENCY": "1"}
    return subprocess.run(
        [sys.executable, *command],
        cwd=PROJECT,
        env=base | {"BIND": f"127.0.0.1:{free_port()}"} | environ,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


@pytest.mark.parametrize("command", [IMPORT, GUNICORN], ids=["import", "gunicorn"])
def test_without_its_variables_it_does_not_start_and_names_them_all(command: list[str]) -> None:
    """In one plain message."""
    ended = start(command, {})
    said = ended.stdout + ended.stderr

    assert ended.returncode not in (0, None)
    assert said.count("The environment is not complete") == 1
    for name in COMPLETE:
        assert said.count(f"  {name} is missing") == 1
    assert "Traceback" not in said


def test_a_malformed_variable_is_named_beside_the_missing_ones_and_not_quoted() -> None:
    environ = COMPLETE | {
        "STRIPE_WEBHOOK_SECRET": "hunter2",
        "SUPABASE_URL": "ftp://hunter2",
        "PATIENCE_SECONDS": "hunter2",
        "ELEVEN_LABS_API_KEY": "",
    }
    ended = start(IMPORT, environ)

    assert ended.returncode == 1
    for name in ("STRIPE_WEBHOOK_SECRET", "SUPABASE_URL", "PATIENCE_SECONDS"):
        assert f"  {name} " in ended.stderr
    assert "  ELEVEN_LABS_API_KEY is missing" in ended.stderr
    assert "hunter2" not in ended.stderr


def test_it_starts_although_none_of_its_neighbours_can_be_reached() -> None:
    """They may all come up later."""
    ended = start(IMPORT, COMPLETE)

    assert ended.stderr == ""
    assert ended.returncode == 0
    for route in ("/api/inngest", "/api/webhook", "/healthz", "/readyz"):
        assert route in ended.stdout
