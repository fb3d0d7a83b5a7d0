"""What waits to be migrated: which columns it renames, what it must not do, and what stands when a deployment was cut short."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.core import checks
from django.db import connection, migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.migration import Migration

from audit import registry
from audit.checks import check_schema
from audit.models import SchemaChange
from audit.schema import changing, former, versions
from audit.schema.describing import described
from audit.schema.former import ModelRenamed, Plan
from audit.schema.versions import Changed
from audit.signing import Signer, new_secret
from tests.factory.models import Line

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, tzinfo=UTC)
KNOWN = ("factory.line", "factory.site", "factory.downtime")


def plan(*steps: Any, name: str = "0099_next") -> Plan:
    """These operations wait, as one migration of the factory's app."""
    before = MigrationLoader(connection).project_state()
    before.apps  # noqa: B018  (rendered before it is changed)
    migration = type("Waiting", (Migration,), {"operations": list(steps)})(name, "factory")
    return Plan([migration], before, migration.mutate_state(before, preserve=True))


def renamed(found: Plan) -> dict[str, dict[str, str]]:
    return former.renamed_columns(found, {label: {} for label in KNOWN})


def test_the_models_of_before_are_those_of_the_applied_migrations() -> None:
    found = former.models_then(plan().before.apps, former.known_today())
    assert described(found) == described(registry.protected())
    with registry.as_it_was(found):
        then = {one.label: one for one in registry.protected()}
        assert then.keys() == described(found).keys() and then["factory.line"].model is not Line
    assert registry.of(Line) in registry.protected()


def test_renames_are_followed_to_the_columns() -> None:
    assert renamed(plan(migrations.RenameField("line", "name", "title"))) == {"factory.line": {"name": "title"}}
    twice = plan(migrations.RenameField("line", "name", "title"), migrations.RenameField("line", "title", "heading"))
    assert renamed(twice) == {"factory.line": {"name": "heading"}}
    assert renamed(plan(migrations.RenameField("line", "site", "place"))) == {"factory.line": {"site_id": "place_id"}}
    column = migrations.AlterField("line", "name", models.CharField(max_length=100, db_column="called"))
    assert renamed(plan(column)) == {"factory.line": {"name": "called"}}
    swapped = plan(
        migrations.RenameField("line", "name", "x"),
        migrations.RenameField("line", "running", "name"),
        migrations.RenameField("line", "x", "running"),
    )
    assert renamed(swapped) == {"factory.line": {"name": "running", "running": "name"}}
    assert renamed(plan(migrations.RemoveField("line", "speed"))) == {}


def test_a_protected_model_keeps_its_name() -> None:
    with pytest.raises(ModelRenamed, match="Keep the model's name"):
        renamed(plan(migrations.RenameModel("Line", "Conveyor")))
    hidden = migrations.SeparateDatabaseAndState(state_operations=[migrations.RenameModel("Line", "Conveyor")])
    with pytest.raises(ModelRenamed):
        renamed(plan(hidden))


def test_what_was_written_down_stands_while_a_part_of_the_migrations_has_run(acting: Any) -> None:
    waiting = plan(migrations.RunPython(migrations.RunPython.noop))
    changing.begin(waiting, NOW, list)
    [first] = SchemaChange.objects.all()
    assert first.before["keys"] == {} and first.before["why"]["factory.line"] == "migration factory.0099_next"
    changing.begin(waiting, NOW, list)  # none of them ran: looked at anew
    [again] = SchemaChange.objects.all()
    assert again.pk != first.pk
    SchemaChange.objects.update(before=again.before | {"migrations": ["factory.0098_ran", *again.before["migrations"]]})
    changing.begin(waiting, NOW, list)
    assert SchemaChange.objects.get().pk == again.pk
    with pytest.raises(changing.Unfinished, match=r"cut short: factory.0098_ran, factory.0099_next\. Install that version"):
        changing.begin(plan(name="0100_later"), NOW, list)


def test_the_check_warns_of_tables_that_no_version_tells_of(acting: Any) -> None:
    assert check_schema(None, databases=["default"]) == [] and check_schema(None) == []
    versions.record(Signer(new_secret()), NOW, "1.0", Changed())
    assert check_schema(None, databases=["default"]) == []
    fewer = [one for one in registry.protected() if one.model is not Line]
    with registry.as_it_was(fewer):
        [warning] = check_schema(None, databases=["default"])
    assert warning.id == "l2l_audit.W018" and isinstance(warning, checks.Warning)
