"""The nightly proof: whatever raw SQL did to rows, history or journal is named with its fields; nothing else ever is (P8)."""

from __future__ import annotations

import json
import threading
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.management import CommandError, call_command
from django.db import connection, transaction

import audit
from audit import chain, history_text, registry
from audit import clock as clocks
from audit.models import ChainHead, Event, JournalRow, Stream
from backups import proof
from backups.hot import shipper
from backups.hot.numbering import moment
from backups.models import BackupSet, HotState, Timeline
from backups.nightly import back_up
from backups.reading import find_sets
from backups.vault import Vault
from subscriptions.models import DataRecord, Link, UploadedContent
from tests.factory.models import Downtime, Line, Site, Specimen

pytestmark = pytest.mark.django_db(transaction=True)

RECORDS, PAST = "l2l_subscriptions_datarecord", "l2l_subscriptions_historicaldatarecord"
JOURNAL = "l2l_audit_journalrow"


def raw(*statements: str) -> None:
    """As somebody with the database's password."""
    with transaction.atomic(), connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA defer_foreign_keys = ON")
        for statement in statements:
            cursor.execute(statement)


def proved(vault: Vault, customer: Any) -> BackupSet:
    vault.clock.forward(minutes=1)  # type: ignore[attr-defined]
    return back_up(vault, Stream.objects.get(pk=customer.pk)).backup_set


@pytest.fixture
def filled(acme: Any) -> dict[str, DataRecord]:
    """Records, one of them changed twice and one deleted, a link and an upload."""
    found = {}
    for reference in ("P-1", "P-2", "P-3", "P-4"):
        found[reference] = DataRecord.objects.create(customer=acme, kind="part", reference=reference, data={"Name": reference})
    for name in ("x", "y"):
        found["P-2"].data = {"Name": name}
        found["P-2"].save()
    DataRecord.objects.get(reference="P-4").delete()
    Link.objects.create(customer=acme, reference="a", title="A", url="https://example.org/")
    UploadedContent.objects.create(customer=acme, name="doc", file=ContentFile(b"doc", name="x"))
    return found


def test_tracked_writes_are_proved(filled: Any, acme: Any, vault: Vault) -> None:
    found = proved(vault, acme)
    assert (found.proof, found.proof_text, found.proved_at) == ("proved", "", vault.clock())
    envelope = find_sets(vault.places, str(acme.pk), vault.fingerprint, [])[0].envelope
    assert envelope["proof"] == {"result": "proved", "after": 0, "changes": 0, "faults": {}}
    assert not Event.objects.filter(event="proof:failed").exists()


@pytest.mark.parametrize(
    ("statement", "reference", "told"),
    [
        (
            'UPDATE {records} SET data = \'{{"Name":"secret"}}\' WHERE id = {id}',
            "P-1",
            "data differs from its newest history row ({image})",
        ),
        (
            "UPDATE {records} SET data = '{{}}', kind = 'secret' WHERE id = {id}",
            "P-2",
            "data, kind differ from its newest history row ({image})",
        ),
        ("DELETE FROM {records} WHERE id = {id}", "P-3", "it is gone, though history tells of no deletion"),
        ("DELETE FROM {past} WHERE id = {id}", "P-3", "it is there, and no history row tells of it"),
        ("DELETE FROM {past} WHERE id = {id} AND history_id = {image}", "P-2", "data differs from its newest history row"),
        ("UPDATE {past} SET data = '{{}}' WHERE history_id = {image}", "P-2", "data differs from its newest history row ({image})"),
    ],
)
def test_what_raw_sql_did_is_named_with_its_fields_and_no_value(
    statement: str, reference: str, told: str, filled: Any, acme: Any, vault: Vault
) -> None:
    row = filled[reference]
    image = row.history.first().history_id
    raw(statement.format(records=RECORDS, past=PAST, id=row.pk, image=image))
    found = proved(vault, acme)
    assert found.proof == "broken" and found.state == BackupSet.State.MADE and found.protected_at
    assert found.proof_text.startswith(f"l2l_subscriptions.datarecord {row.pk} ({reference}): {told.format(image=image)}")
    assert "\n" not in found.proof_text and "secret" not in found.proof_text
    [event] = Event.objects.filter(event="proof:failed")
    assert event.customer == acme.pk and event.facts["set"] == str(found.pk) and len(event.facts) == 3


def test_a_row_that_is_back_after_its_deletion_is_named(filled: Any, acme: Any, vault: Vault) -> None:
    gone = registry.of(DataRecord).history_model.objects.get(reference="P-4", history_type="-")
    raw(
        f"INSERT INTO {RECORDS} (id, customer_id, kind, reference, data) SELECT id, customer_id, kind, reference, data FROM {PAST} "
        f"WHERE history_id = {gone.history_id}"
    )
    assert proved(vault, acme).proof_text == (
        f"l2l_subscriptions.datarecord {gone.id} (P-4): it is there, though history says that it was deleted ({gone.history_id})"
    )


def test_a_row_moved_to_another_customer_is_named_by_both(filled: Any, acme: Any, acme2: Any, vault: Vault) -> None:
    stored = Stream._meta.pk.get_db_prep_value(acme2.pk, connection)
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {RECORDS} SET customer_id = %s WHERE id = {filled['P-1'].pk}", [stored])
    assert "(P-1): it is gone" in proved(vault, acme).proof_text
    assert "(P-1): it is there, and no history row tells of it" in proved(vault, acme2).proof_text


def test_how_many_are_there_is_counted_and_the_first_are_told(acme: Any, vault: Vault) -> None:
    DataRecord.objects.tracked_create(DataRecord(customer=acme, kind="part", reference=f"P-{n}", data={}) for n in range(300))
    raw(f"UPDATE {RECORDS} SET kind = 'other'")
    lines = proved(vault, acme).proof_text.splitlines()
    assert len(lines) == 51 and lines[-1] == "and 250 more"
    assert Event.objects.get(event="proof:failed").facts["altered"] == 300


def test_a_proof_stays_broken_until_it_is_mended_and_then_holds(filled: Any, acme: Any, vault: Vault) -> None:
    assert proved(vault, acme).proof == "proved"
    raw(f"UPDATE {RECORDS} SET kind = 'other' WHERE reference = 'P-1'")
    assert [proved(vault, acme).proof for _ in range(2)] == ["broken", "broken"]
    row = DataRecord.objects.get(reference="P-1")
    row.data = {"Name": "mended"}
    row.save()  # history tells the present values, with a reason
    assert proved(vault, acme).proof == "proved"


VALUES: dict[str, Any] = {
    "text": "text",
    "whole": 1,
    "large": 2**40,
    "small": 7,
    "flag": True,
    "moment": datetime(2026, 3, 1, 12, 0, 0, 120000, tzinfo=UTC),
    "day": datetime(2026, 3, 1, tzinfo=UTC).date(),
    "hour": datetime(2026, 3, 1, 12, 30, tzinfo=UTC).time(),
    "span": timedelta(hours=25),
    "amount": Decimal("12.5"),
    "ratio": 0.1,
    "raw": b"\x00\xff",
    "free": {"b": [1.0, 1e22, None], "a": "ü"},
    "fixed": {"b": [1, None]},
}


def test_every_kind_of_column_is_compared_as_it_is_stored(acme: Any, vault: Vault) -> None:
    full = Specimen.objects.create(customer=acme, label="full", key=uuid4(), **VALUES)
    Specimen.objects.create(customer=acme, label="empty")
    assert proved(vault, acme).proof == "proved"
    for name in (*VALUES, "key", "touched"):
        other = "NULL" if Specimen._meta.get_field(name).null else "'2001-01-01 00:00:00+00'"
        raw(f"UPDATE factory_specimen SET {name} = {other} WHERE id = {full.pk}")
        assert proved(vault, acme).proof_text.startswith(f"factory.specimen {full.pk} (full): {name} differs"), name
        image = f"SELECT {name} FROM factory_historicalspecimen WHERE id = {full.pk}"
        raw(f"UPDATE factory_specimen SET {name} = ({image}) WHERE id = {full.pk}")
        assert proved(vault, acme).proof == "proved", name


def test_how_a_number_is_written_counts_too(acme: Any, vault: Vault) -> None:
    row = Specimen.objects.create(customer=acme, label="full", free={"n": 1}, ratio=0.0)
    raw(f"""UPDATE factory_specimen SET free = '{{"n": 1.0}}' WHERE id = {row.pk}""")
    assert "free differs" in proved(vault, acme).proof_text


def test_models_two_foreign_keys_away_and_moves_on_the_way(acme: Any, acme2: Any, vault: Vault) -> None:
    site, elsewhere = (Site.objects.create(customer=one, name="Kassel") for one in (acme, acme2))
    line = Line.objects.create(site=site, name="Line 1", speed=Decimal("12.500"))
    stop = Downtime.objects.create(line=line, began_at=datetime(2026, 1, 31, tzinfo=UTC), details={"b": 1})
    assert proved(vault, acme).proof == "proved"
    raw(f"UPDATE factory_downtime SET factor = 2, photo = 'other' WHERE id = {stop.pk}")
    assert proved(vault, acme).proof_text.startswith(f"factory.downtime {stop.pk}: factor, photo differ")
    raw(f"UPDATE factory_line SET site_id = {elsewhere.pk} WHERE id = {line.pk}")
    told = proved(vault, acme).proof_text
    assert f"factory.line {line.pk} (Line 1): it is gone" in told and f"factory.downtime {stop.pk}: it is gone" in told
    assert f"factory.line {line.pk} (Line 1): it is there, and no history row" in proved(vault, acme2).proof_text


def test_the_system_stream_is_proved_too(acme: Any, vault: Vault) -> None:
    system = Stream.objects.get(pk=registry.SYSTEM_STREAM)
    assert back_up(vault, system).backup_set.proof == "proved"
    raw("UPDATE l2l_subscriptions_customer SET name = 'Other'")
    vault.clock.forward(minutes=1)  # type: ignore[attr-defined]
    assert "(acme): name differs" in back_up(vault, system).backup_set.proof_text
    assert Event.objects.get(event="proof:failed").customer is None


# History and journal


def test_the_chain_since_the_last_proved_set_is_recomputed(filled: Any, acme: Any, vault: Vault, monkeypatch: Any) -> None:
    monkeypatch.setattr(proof, "WHOLE_EVERY", 2**129)
    assert shipper.ship_once(vault) == []
    first = proved(vault, acme)
    assert (first.proof, first.journal_number) == ("proved", 9)
    filled["P-1"].data = {"Name": "newer"}
    filled["P-1"].save()
    shipper.ship_once(vault)
    second = proved(vault, acme)
    assert (second.proof, second.journal_number) == ("proved", 10)
    envelopes = [one.envelope["proof"] for one in find_sets(vault.places, str(acme.pk), vault.fingerprint, [])]
    assert envelopes == [
        {"result": "proved", "after": 9, "changes": 1, "faults": {}},
        {"result": "proved", "after": 0, "changes": 9, "faults": {}},
    ]


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (
            "UPDATE {past} SET history_actor = 'bob' WHERE history_id = {first}",
            "change 1 (l2l_subscriptions.datarecord {key}, history row {first}): its history row is not what was numbered",
        ),
        ("DELETE FROM {past} WHERE history_id = {middle}", "its history row is gone: deleted behind our back"),
        ("UPDATE {journal} SET leaf = digest WHERE number = 2", "its history row is not what was numbered"),
        ("UPDATE {journal} SET digest = leaf WHERE number = 2", "change 2 (l2l_subscriptions.datarecord"),
        ("UPDATE {journal} SET salt = NULL WHERE number = 2", "its history row is there, and the salt that proves it is gone"),
        ("UPDATE {journal} SET shape_id = NULL WHERE number = 2", "which columns its digest covers is unknown"),
        ("UPDATE {journal} SET model = 'no.model' WHERE number = 2", "it tells of no protected model of this software"),
        ("UPDATE {journal} SET written_at = '2001-01-01 00:00:00+00' WHERE number = 2", "its history row is not what was numbered"),
        ("DELETE FROM {journal} WHERE number = 3", "number 3 is missing before it"),
        ("DELETE FROM {journal} WHERE number = 9", "the chain ends here with the digest"),
        ("UPDATE l2l_audit_chainhead SET digest = 'ab'", "it was known to end at 9 with ab"),
        ("""UPDATE l2l_audit_rowshape SET columns = '[{{"name":"id"}}]'""", "which columns its digest covers is unknown"),
    ],
)  # fmt: skip
def test_what_raw_sql_did_to_history_and_journal_is_named(statement: str, told: str, filled: Any, acme: Any, vault: Vault) -> None:
    shipper.ship_once(vault)
    versions = list(filled["P-2"].history.order_by("history_id"))
    first = filled["P-1"].history.get()
    values = {"past": PAST, "journal": JOURNAL, "first": first.history_id, "middle": versions[1].history_id, "key": filled["P-1"].pk}
    raw(statement.format(**values))
    found = proved(vault, acme)
    assert found.proof == "broken" and told.format(**values) in found.proof_text
    assert Event.objects.get(event="proof:failed").facts["chain"] >= 1
    assert proved(vault, acme).proof == "broken"  # not forgotten the night after


def test_history_altered_below_the_last_proved_set_is_found_within_28_nights_until_it_is_mended(
    filled: Any, acme: Any, vault: Vault
) -> None:
    first = date(2026, 4, 1)
    nights = [first + timedelta(days=day) for day in range(proof.WHOLE_EVERY)]
    [whole] = [night for night in nights if proof.is_whole(acme.pk, night)]
    others = [night for night in nights if night != whole][:2]
    shipper.ship_once(vault)
    assert _of_night(vault, acme, others[0]).proof == "proved"
    oldest = filled["P-2"].history.order_by("history_id")[0]
    raw(f"UPDATE {PAST} SET history_actor = 'forged' WHERE history_id = {oldest.history_id}")
    assert _of_night(vault, acme, others[1]).proof == "proved"  # the last proved set vouches for it
    assert f"history row {oldest.history_id}): its history row is not what was numbered" in _of_night(vault, acme, whole).proof_text
    assert _of_night(vault, acme, others[1]).proof == "broken"  # not forgotten the night after
    raw(f"UPDATE {PAST} SET history_actor = '{oldest.history_actor}' WHERE history_id = {oldest.history_id}")
    assert _of_night(vault, acme, others[1]).proof == "proved"


def _of_night(vault: Vault, customer: Any, night: date) -> BackupSet:
    vault.clock.forward(minutes=1)  # type: ignore[attr-defined]
    return back_up(vault, Stream.objects.get(pk=customer.pk), night=night).backup_set


@pytest.mark.parametrize("number", [1, 4, 9])
def test_what_was_removed_below_the_last_proved_set_is_noticed(number: int, filled: Any, acme: Any, vault: Vault) -> None:
    shipper.ship_once(vault)
    assert proved(vault, acme).proof == "proved"
    raw(f"DELETE FROM {JOURNAL} WHERE number = {number}")
    told = proved(vault, acme).proof_text
    assert "the last proved set ended with change 9; of the changes up to it 8 are there" in told


def test_a_chain_computed_anew_does_not_fit_the_last_set(filled: Any, acme: Any, vault: Vault) -> None:
    shipper.ship_once(vault)
    assert proved(vault, acme).proof == "proved"
    recompute(acme, 3)
    assert proved(vault, acme).proof_text.startswith("change 9: the last proved set ended with this change, and with another digest")


def recompute(customer: Any, number: int) -> None:
    """Somebody edits the history row of that number, and computes leaf, digests and head anew: a chain without a fault."""
    rows = list(JournalRow.objects.filter(stream=customer.pk, number__isnull=False).order_by("number"))
    edited = next(row for row in rows if row.number == number)
    protected = registry.by_label(edited.model)
    assert protected is not None
    raw(f"UPDATE {protected.history_model._meta.db_table} SET history_actor = 'nobody' WHERE history_id = {edited.history_id}")
    head = chain.START
    for row in rows:
        if row.number == number:
            text = history_text.texts(protected, [row.history_id])[row.history_id]
            row.leaf = chain.leaf(bytes.fromhex(row.salt), chain.change_content(row.model, moment(row.written_at), text))
        if row.number > head.number + 1:
            head = chain.Head(row.number - 1, head.digest)  # a timeline begins
        head = chain.following(head, row.leaf)
        raw(f"UPDATE {JOURNAL} SET leaf = '{row.leaf}', digest = '{head.digest}' WHERE id = {row.pk}")
    raw(f"UPDATE l2l_audit_chainhead SET digest = '{head.digest}' WHERE number = {head.number}")


@pytest.mark.parametrize("after_a_proved_set", [False, True])
def test_content_that_is_gone_whole_is_named_unless_a_purge_lists_it(
    after_a_proved_set: bool, filled: Any, acme: Any, vault: Vault
) -> None:
    shipper.ship_once(vault)
    if after_a_proved_set:
        assert proved(vault, acme).proof == "proved"
    gone = filled["P-3"]
    image = gone.history.get().history_id
    number = JournalRow.objects.get(history_id=image, model="l2l_subscriptions.datarecord").number
    raw(
        f"DELETE FROM {RECORDS} WHERE id = {gone.pk}",
        f"DELETE FROM {PAST} WHERE history_id = {image}",
        f"UPDATE {JOURNAL} SET salt = NULL WHERE history_id = {image} AND model = 'l2l_subscriptions.datarecord'",
    )
    found = proved(vault, acme)
    assert found.proof == "broken" and "its content is gone, and no purge lists it" in found.proof_text
    assert f"change {number}" in found.proof_text


def begin_timeline(customer: Any, highest: int) -> Timeline:
    """As when the database went back, and locations know changes up to `highest` that it lacks."""
    head = ChainHead.objects.get(pk=customer.pk)
    state = HotState.objects.get(pk=1)
    line = {"number": 2, "first_segment": state.last_segment + 10, "forks": {str(customer.pk): [head.number, head.digest, highest]}}
    timeline = Timeline(started_at=clocks.now(), started_by="olga", reason="a test", **line)
    timeline.save(force_insert=True)
    ChainHead.objects.filter(pk=customer.pk).update(number=highest)
    HotState.objects.filter(pk=1).update(timeline=2, last_segment=state.last_segment + 9)
    return timeline


def test_numbers_that_an_abandoned_timeline_had_are_no_gap(filled: Any, acme: Any, vault: Vault) -> None:
    shipper.ship_once(vault)
    begin_timeline(acme, 20)
    assert [proved(vault, acme).proof_text for _ in range(2)] == ["", ""]  # before any change, and with that set as the last one
    filled["P-1"].data = {"Name": "newer"}
    filled["P-1"].save()
    shipper.ship_once(vault)
    assert [(one.proof_text, one.journal_number) for one in (proved(vault, acme), proved(vault, acme))] == [("", 21), ("", 21)]
    raw(f"DELETE FROM {JOURNAL} WHERE number = 4")
    assert "of the changes up to it 9 are there" in proved(vault, acme).proof_text


# Nothing is raised falsely


@pytest.mark.slow
@pytest.mark.parametrize("rounds", [3])
def test_writers_at_work_break_no_proof(rounds: int, acme: Any, vault: Vault) -> None:
    """Four writers insert, change and delete all the time, and a shipper numbers, while sets are made and proved."""
    ending = threading.Event()
    troubles: list[BaseException] = []

    def write(worker: int) -> None:
        try:
            with audit.acting(f"writer {worker}", reason="a test", source="test"):
                turn = 0
                while not ending.is_set():
                    turn += 1
                    _write_some(acme, worker, turn)
        except BaseException as trouble:  # noqa: BLE001  (told to the test)
            troubles.append(trouble)
        finally:
            connection.close()

    writers = [threading.Thread(target=write, args=(worker,)) for worker in range(4 if connection.vendor == "postgresql" else 2)]
    for writer in writers:
        writer.start()
    try:
        found = []
        for _ in range(rounds):
            found.append(proved(vault, acme))
            shipper.ship_once(vault, patience=1.0)
    finally:
        ending.set()
        for writer in writers:
            writer.join()
    assert not troubles
    assert [(one.proof, one.proof_text) for one in found] == [("proved", "")] * rounds
    assert found[-1].journal_number and found[-1].history_rows > found[0].history_rows


def _write_some(customer: Any, worker: int, turn: int) -> None:
    with transaction.atomic():
        made = DataRecord.objects.tracked_create(
            DataRecord(customer=customer, kind=f"w{worker}", reference=f"{turn}-{n}", data={"n": n}) for n in range(5)
        )
        for row in made[:3]:
            row.data = {"changed": turn}
            row.save()
        made[4].delete()
    older = DataRecord.objects.filter(customer=customer, kind=f"w{worker}").order_by("pk").first()
    if older is not None and turn % 3 == 0:
        older.delete()


# Told


def test_the_command_names_it_says_what_to_do_and_ends_with_1(filled: Any, acme: Any, vault: Vault) -> None:
    raw(f"UPDATE {RECORDS} SET kind = 'other' WHERE reference = 'P-1'")
    out = StringIO()
    with pytest.MonkeyPatch.context() as given:
        given.setattr("backups.vault.from_settings", lambda: vault)
        with pytest.raises(CommandError, match=r"rows are not what history says \(acme\)\. .*verify_audit"):
            call_command("backup", "acme", "--json", stdout=out)
    [document] = json.loads(out.getvalue())
    assert document["proof"] == "broken" and "(P-1): kind differs" in document["proof_text"]


@pytest.mark.parametrize("many", [0, 10**6])
def test_a_large_customers_rows_are_joined_otherwise_with_the_same_result(
    many: int, filled: Any, acme: Any, vault: Vault, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("audit.images.MANY", many)
    assert proved(vault, acme).proof == "proved"
    raw(f"UPDATE {RECORDS} SET kind = 'other' WHERE reference = 'P-1'", f"DELETE FROM {RECORDS} WHERE reference = 'P-2'")
    assert [line.partition("(P-")[2][:8] for line in proved(vault, acme).proof_text.splitlines()] == ["1): kind", "2): it i"]
