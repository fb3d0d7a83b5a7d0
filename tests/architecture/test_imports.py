"""Imports go one way, pure modules stay pure, and no module is a drawer."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
APPS = ["audit", "subscriptions", "backups", "l2l"]

PURE = [
    "audit/canonical.py",
    "audit/chain.py",
    "audit/formulas.py",
    "audit/promises.py",
    "audit/reviews/quarters.py",
    "audit/signing.py",
    "audit/states.py",
    "subscriptions/bag.py",
    "subscriptions/billing.py",
    "subscriptions/ending/deadlines.py",
    "subscriptions/ending/states.py",
    "subscriptions/safe_names.py",
    "subscriptions/terms.py",
    "backups/chunks.py",
    "backups/hot/durations.py",
    "backups/hot/prefix.py",
    "backups/hot/standing.py",
    "backups/ledger/picture.py",
    "backups/manifest.py",
    "backups/night_calendar.py",
    "backups/nights.py",
    "backups/populations/owed.py",
    "backups/retention.py",
    "backups/sealing.py",
    "backups/slots.py",
    "backups/test_restores/planning.py",
    "backups/verification/due.py",
    "l2l/alarms/deciding.py",
    "l2l/digest/due.py",
    "l2l/reports/spreadsheet.py",
]
CLOCKS = {"now", "utcnow", "today", "time", "time_ns", "monotonic", "localtime", "gmtime", "sleep"}
CLOCK_OWNERS = {"datetime", "date", "time", "timezone"}
DRAWERS = {"utils", "util", "helpers", "helper", "services", "service", "common", "misc"}


def sources() -> Iterator[Path]:
    for app in APPS:
        yield from (ROOT / app).rglob("*.py")


def imported(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{'.' * node.level}{node.module or ''}.{name.name}" for name in node.names)


def clock_calls(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in CLOCKS:
            owner = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", None)
            if owner in CLOCK_OWNERS:
                yield f"line {node.lineno}: {owner}.{node.attr}"
        elif isinstance(node, ast.ImportFrom) and node.module == "time":
            yield f"line {node.lineno}: from time import ..."


def test_imports_go_one_way():
    lint = Path(sys.executable).with_name("lint-imports")
    result = subprocess.run([lint, "--no-cache"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_knows_no_django_no_settings_and_no_clock(module):
    tree = ast.parse((ROOT / module).read_text())
    impure = {name for name in imported(tree) if {"django", "settings"} & set(name.split("."))}
    assert impure == set()
    assert list(clock_calls(tree)) == []


@pytest.mark.parametrize("module", PURE)
def test_a_pure_module_imports_without_django(module):
    """Also through what it imports itself."""
    name = module.removesuffix(".py").replace("/", ".")
    code = f"import sys, {name}; sys.exit('django.conf' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{module} loads Django: {result.stderr}"


def test_the_clock_is_noticed():
    for text in ("datetime.now(UTC)", "datetime.datetime.now()", "time.time()", "timezone.now()", "date.today()", "from time import time"):
        assert list(clock_calls(ast.parse(text))), text
    assert list(clock_calls(ast.parse("datetime(2026, 1, 1).time(); now = 1; policy.today"))) == []


def test_no_module_is_a_drawer():
    assert [str(path.relative_to(ROOT)) for path in sources() if path.stem in DRAWERS or path.parent.name in DRAWERS] == []
