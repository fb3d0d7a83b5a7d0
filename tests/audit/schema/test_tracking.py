"""What migrations wrote behind history's back comes into history, of every customer, once; what differed before stays a difference."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.db import connection, transaction

from audit import freezes, registry
from audit.images import Fault, compared
from audit.models import JournalRow, SchemaVersion
from audit.registry import Protected
from audit.schema import changing, versions
from audit.schema.differences import different
from audit.schema.tracking import track
from audit.schema.versions import Changed
from audit.signing import Signer, new_secret
from tests.factory.models import Line, Site, Specimen

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def found(protected: Protected) -> list[tuple[str, int]]:
    with transaction.atomic():
        return [(one.fault, one.key) for one in different(protected, connection)]


def raw(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@pytest.fixture
def lines(acme: Any, acme2: Any) -> dict[str, Line]:
    """Rows two foreign keys away from their customers."""
    sites = [Site.objects.create(customer=one, name="Werk") for one in (acme, acme2)]
    return {name: Line.objects.create(site=sites[at % 2], name=name) for at, name in enumerate("abcdef")}


def test_every_fault_of_every_customer_is_found_and_tracked_once(lines: dict[str, Line], acme: Any, acme2: Any) -> None:
    line, table = registry.of(Line), Line._meta.db_table
    assert found(line) == []
    lines["f"].delete()
    raw(f"UPDATE {table} SET speed = 5 WHERE name IN ('a', 'b')", f"DELETE FROM {table} WHERE name = 'c'")
    running = "true" if connection.vendor == "postgresql" else "1"
    raw(f"INSERT INTO {table} (site_id, name, running) VALUES ({lines['a'].site_id}, 'new', {running})")
    raw(f"UPDATE {table} SET name = 'secret' WHERE name = 'd'")  # before the migrations
    [new] = Line.objects.filter(name="new").values_list("pk", flat=True)
    keys = {name: one.pk for name, one in lines.items() if name != "f"}
    assert {key: fault for fault, key in found(line)} == {
        keys["a"]: Fault.ALTERED,
        keys["b"]: Fault.ALTERED,
        keys["c"]: Fault.GONE,
        keys["d"]: Fault.ALTERED,
        new: Fault.UNKNOWN,
    }
    freezes.freeze(acme.pk, reason="the data is being returned")
    count = JournalRow.objects.count()
    tracked, left = track({line.label: [str(keys["d"])]}, lambda label: f"migration of {label}", lambda _: None)
    assert (tracked, left) == ({line.label: [2, 1, 1]}, {line.label: 1})
    assert JournalRow.objects.count() == count + 4
    made = Line.history.filter(history_actor="deploy")
    assert {(one.history_type, one.name, one.history_change_reason, one.history_source) for one in made} == {
        (kind, name, "migration of factory.line", "init") for kind, name in (("~", "a"), ("~", "b"), ("-", "c"), ("+", "new"))
    }
    assert {one.history_stream for one in made.filter(name="b")} == {acme2.pk}
    assert [key for _, key in found(line)] == [keys["d"]]
    assert not compared(line, acme.pk, connection).counts and compared(line, acme2.pk, connection).counts == {Fault.ALTERED: 1}
    assert track({line.label: [str(keys["d"])]}, str, lambda _: None) == ({}, {line.label: 1})


def test_a_row_that_was_moved_to_another_customer_is_left_to_the_proof(lines: dict[str, Line], acme2: Any) -> None:
    site = registry.of(Site)
    stored = site.model._meta.get_field("customer").get_db_prep_value(acme2.pk, connection)  # type: ignore[union-attr]
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {Site._meta.db_table} SET customer_id = %s WHERE id = %s", [stored, lines["a"].site_id])
    tracked, left = track({}, str, lambda _: None)
    assert tracked == {} and left == {"factory.site": 1}


def test_every_kind_of_column_is_compared_alike(acme: Any) -> None:
    Specimen.objects.create(
        customer=acme, label="one", text="é", whole=1, flag=True, amount="1.5000", raw=b"\\0", free={"a": 1.0}, fixed={}
    )
    assert found(registry.of(Specimen)) == []


def test_versions_are_numbered_signed_and_read_back(acting: Any, db: None) -> None:
    signer = Signer(new_secret())
    first = versions.record(signer, NOW, "1.0", Changed())
    assert versions.is_recorded() and versions.problems(signer.fingerprint) == []
    second = versions.record(signer, NOW, "1.1", Changed(migrations=["app.0002"]))
    assert (first.number, second.number, second.document["before"]) == (1, 2, first.digest)
    assert [one["number"] for one in versions.lineage(signer.fingerprint).documents] == [1, 2]
    other = Signer(new_secret())
    assert versions.lineage(other.fingerprint).documents == [] and len(versions.problems(other.fingerprint)) == 2
    assert changing.end(signer, NOW, "1.1") is None and SchemaVersion.objects.count() == 2
