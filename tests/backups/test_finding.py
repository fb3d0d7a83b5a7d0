"""Finding one item: by what it is called, by any text in it, as it is and as it was, and where its versions stand (P14)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.db import models

from audit import registry
from audit.models import JournalRow
from backups.choosing import Only
from backups.finding import Found, find, find_in_sets, item
from backups.restore import restore
from backups.vault import Vault
from subscriptions.models import DataRecord, Link
from tests.backups.shipping import ship
from tests.backups.test_back_up import backed_up, read
from tests.backups.test_moments import record
from tests.factory.models import Downtime, Line, Site, Specimen

pytestmark = pytest.mark.django_db(transaction=True)


def called(found: Found) -> list[str]:
    return [one.only for one in found.items]


@pytest.fixture
def content(acme: Any, acme2: Any, vault: Vault) -> dict[str, Any]:
    row = record(acme, "P-17", Colour='Ultramarin "blau"', Maße="é")
    ship(vault)
    row.data = {"Colour": "red"}
    row.save()
    backed_up(vault, acme)
    ship(vault)
    gone = record(acme, "P-99")
    gone.delete()
    record(acme2, "P-17", Colour="somebody else's")
    return {"row": row, "gone": gone}


@pytest.mark.parametrize("text", ["P-17", "p-17", "ultramarin", '"blau"', "é", "Maße", "red"])
def test_an_item_is_found_by_any_text_it_has_or_had(content: dict[str, Any], acme: Any, text: str) -> None:
    assert called(find(acme.pk, text)) == ["l2l_subscriptions.datarecord:P-17"]


def test_its_versions_say_where_they_stand(content: dict[str, Any], acme: Any, vault: Vault) -> None:
    (one,) = find(acme.pk, "ultramarin").items
    newer, older = one.versions
    assert one.live and not one.more
    assert (older.kind, older.number, older.segment, older.who, older.why) == ("+", 1, 1, "ada", "a test")
    assert len(older.sets) == 1
    assert (newer.kind, newer.number, newer.segment, newer.sets) == ("~", 2, 2, ())  # numbered after the set


def test_a_deleted_item_is_found_and_waits_to_be_shipped(content: dict[str, Any], acme: Any) -> None:
    (one,) = find(acme.pk, "P-99").items
    assert not one.live and [(version.kind, version.number) for version in one.versions] == [("-", None), ("+", None)]


def test_any_json_and_the_key_of_what_has_no_name(acme: Any) -> None:
    specimen = Specimen.objects.create(customer=acme, label="s", free={"größe": "ü\\n"}, fixed=["ß"])
    line = Line.objects.create(site=Site.objects.create(customer=acme, name="Kassel"), name="L")
    stop = Downtime.objects.create(line=line, began_at="2026-01-31T23:59:59Z", details={"cause": "belt"})
    for text in ("größe", "ü\\n", "ß"):
        assert f"factory.specimen:{specimen.label}" in called(find(acme.pk, text))
    assert called(find(acme.pk, "belt")) == [f"factory.downtime:{stop.pk}"]
    assert f"factory.downtime:{stop.pk}" in called(find(acme.pk, str(stop.pk)))


def test_too_much_is_said(acme: Any) -> None:
    for number in range(4):
        Link.objects.create(customer=acme, reference=f"r{number}", url="https://example.org")
    found = find(acme.pk, "example", most=3)
    assert len(found.items) == 3 and found.more
    assert called(find(acme.pk, "example"))[0].endswith("r3")


def test_only_the_models_that_may_be_seen(content: dict[str, Any], acme: Any) -> None:
    assert find(acme.pk, "P-17", [registry.of(Link)]).items == ()


def test_what_is_found_can_be_restored(content: dict[str, Any], acme: Any, vault: Vault, tmp_path: Path) -> None:
    (one,) = find(acme.pk, "ultramarin").items
    restore(vault, acme, tmp_path / "out", only=Only.of_text(one.only))
    assert len(read(tmp_path / "out/history/l2l_subscriptions.datarecord.ndjson")) == 2


def test_one_item_by_its_key(content: dict[str, Any], acme: Any, acme2: Any) -> None:
    protected, key = registry.of(DataRecord), str(content["row"].pk)
    found = item(acme.pk, protected, key)
    assert found and found.reference == "P-17"
    assert item(acme2.pk, protected, key) is None


def test_what_history_does_not_know_any_more_is_in_the_sets(content: dict[str, Any], acme: Any, vault: Vault, clock: Any) -> None:
    clock.forward(days=1)
    newest = backed_up(vault, acme).backup_set
    for model in (DataRecord.history.model, JournalRow, DataRecord):  # as somebody with the database's password could
        models.QuerySet(model).all()._raw_delete("default")
    assert find(acme.pk, "ultramarin").items == ()
    told: list[str] = []
    (one,) = find_in_sets(vault, acme.pk, "ULTRAMARIN", progress=told.append).items
    assert one.only == "l2l_subscriptions.datarecord:P-17" and one.live
    assert [version.kind for version in one.versions] == ["~", "+"]
    assert {len(version.sets) for version in one.versions} == {2} and one.versions[0].sets[0].id == str(newest.pk)
    assert any("history of" in line for line in told)
    assert [found.only.rpartition(":")[2] for found in find_in_sets(vault, acme.pk, "P-99").items] == ["P-99"]


def test_values_that_are_about_the_change_do_not_count(content: dict[str, Any], acme: Any, vault: Vault) -> None:
    assert find(acme.pk, "a test").items == () == find_in_sets(vault, acme.pk, "a test").items
