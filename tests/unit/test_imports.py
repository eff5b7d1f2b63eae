"""Imports point one way, and one module alone knows each outside library."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import songswipe

PACKAGE = Path(songswipe.__file__).parent
MODULES = {
    ".".join(("songswipe", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

LAYERS = [
    {"errors"},
    {"models", "logs"},
    {"audio", "checkout", "patience", "prompts", "settings"},
    {"events", "given_back", "music", "payments", "store"},
    {"variants", "refunds", "reconcile", "sweep"},
    {"functions", "routes", "cli"},
    {""},
]
"""From the bottom up: a module may import from the layers below, and within its own."""

OWNERS = {
    "supabase": {"store"},
    "httpx": {"store"},
    "postgrest": {"store"},
    "storage3": {"store"},
    "requests": {"music"},
    "urllib3": {"music"},
    "stripe": {"routes.webhook", "payments"},
    "inngest": {"", "events", "functions"},
    "flask": {"", "routes", "cli"},
    "werkzeug": {"routes"},
    "click": {"cli"},
    "dotenv": set(),
}
"""The modules, or packages of ours, that may import a library; everyone else goes through them."""

PURE = {"audio", "checkout", "errors", "given_back", "models", "prompts"}


def imports_of(path: Path) -> set[str]:
    """Every module that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: a relative import"
            assert node.module is not None
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names} & set(MODULES)
    return found


IMPORTS = {module: imports_of(path) for module, path in MODULES.items()}


def short(module: str) -> str:
    """``songswipe.routes.webhook`` is ``routes.webhook``, and ``songswipe`` itself nothing."""
    return module.removeprefix("songswipe").removeprefix(".")


def layer(module: str) -> int:
    head = short(module).split(".")[0]
    [number] = [number for number, names in enumerate(LAYERS) if head in names]
    return number


def ours(module: str) -> set[str]:
    return {name for name in IMPORTS[module] if name in MODULES and name != module}


@pytest.mark.parametrize("module", MODULES)
def test_every_module_has_its_layer(module: str) -> None:
    assert layer(module) >= 0


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_down(module: str) -> None:
    for imported in ours(module):
        assert layer(imported) <= layer(module), f"{module} imports {imported}"


def test_no_imports_go_in_a_circle() -> None:
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, " → ".join((*path, module))
        if module not in done:
            for imported in ours(module):
                visit(imported, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


@pytest.mark.parametrize(("one", "other"), [("routes", "functions"), ("functions", "routes")])
def test_routes_and_functions_do_not_know_each_other(one: str, other: str) -> None:
    known = {
        imported
        for module in MODULES
        if short(module).startswith(one)
        for imported in ours(module)
        if short(imported).startswith(other)
    }

    assert known == set()


@pytest.mark.parametrize("library", OWNERS)
def test_an_outside_library_is_imported_by_its_owners_alone(library: str) -> None:
    users = {
        short(module)
        for module, imported in IMPORTS.items()
        if any(name.split(".")[0] == library for name in imported)
    }
    strangers = {
        user
        for user in users
        if user not in OWNERS[library] and user.split(".")[0] not in OWNERS[library] - {""}
    }

    assert strangers == set()


@pytest.mark.parametrize("module", sorted(PURE))
def test_a_pure_module_imports_nothing_that_reaches_out(module: str) -> None:
    reaching = set(OWNERS) | {"os", "socket", "threading", "time", "logging", "random"}

    assert {name.split(".")[0] for name in IMPORTS[f"songswipe.{module}"]} & reaching == set()


def test_only_the_package_s_own_file_reads_the_environment() -> None:
    users = [short(module) for module, path in MODULES.items() if "os.environ" in path.read_text()]

    assert users == [""]


def test_no_module_of_ours_is_named_like_a_library_that_we_import() -> None:
    libraries = {name.split(".")[0] for imported in IMPORTS.values() for name in imported}

    assert {short(module).split(".")[-1] for module in MODULES} & (
        libraries - {"songswipe"}
    ) == set()
