"""An estate of many customers as it stands after two years, written by statements that each make all rows of a table: for pages and for
what is measured each minute. On PostgreSQL.

For each customer: a contract, 100 sets (28 nights, 52 weeks, 20 months), 100 runs, two stored objects a set with two copies each, and 500
history rows of 100 records with their journal rows. Digests are of the right length and prove nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.db import connection, models
from django.db.models.fields import NOT_PROVIDED

from audit import models as audit
from audit.findings import Kind
from audit.models import Stream
from backups import models as backups
from backups.hot.durations import BOUNDS
from subscriptions import models as subscriptions
from subscriptions.models import Customer, DataRecord, Link, UploadedContent

NIGHTLY, WEEKLY, MONTHLY = 28, 52, 20
SETS = NIGHTLY + WEEKLY + MONTHLY
RECORDS, VERSIONS = 100, 5
OBJECTS_A_SET = 2

# What a column without a value is, by its type; text is empty, numbers are 0.
_EMPTY = {"date": "current_date", "timestamp": "now()", "boolean": "false", "jsonb": "'{}'", "bytea": "''", "uuid": "gen_random_uuid()"}


def fill(model: type[models.Model], source: str, values: Mapping[str, str]) -> int:
    """Rows of that model from the rows of `source` (what stands behind FROM), a column for each expression, the others as empty as they
    can be. Returns how many."""
    columns = {field.column: values.get(field.column) or _empty(field) for field in model._meta.local_concrete_fields}
    given = {column: value for column, value in columns.items() if value}
    if unknown := values.keys() - columns.keys():
        raise ValueError(f"{model.__name__} has no {', '.join(sorted(unknown))}.")
    names = ", ".join(f'"{column}"' for column in given)
    with connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO {model._meta.db_table} ({names}) SELECT {', '.join(given.values())} FROM {source}")
        return int(cursor.rowcount)


def _empty(field: Any) -> str:
    """Nothing for what the database gives itself."""
    if field.null or field.db_default is not NOT_PROVIDED or isinstance(field, models.AutoField | models.BigAutoField):
        return ""
    if field.default is not NOT_PROVIDED and isinstance(field.default, bool | int | float | str):
        return f"'{field.default}'"
    kind = str(field.db_type(connection))
    text = "''" if kind.startswith(("varchar", "text")) else "0"
    return next((value for name, value in _EMPTY.items() if kind.startswith(name)), text)


CUSTOMER = "md5('c' || n)::uuid"
CODE = "'c' || lpad(n::text, 6, '0')"
SET = "md5('s' || n || '-' || k)::uuid"
# How many nights ago a set was made: nights, then weeks, then months.
_WEEKS, _MONTHS = f"{NIGHTLY} + 7 * (k - {NIGHTLY})", f"392 + 31 * (k - {NIGHTLY + WEEKLY})"
AGE = f"CASE WHEN k < {NIGHTLY} THEN k WHEN k < {NIGHTLY + WEEKLY} THEN {_WEEKS} ELSE {_MONTHS} END"
SHA = "md5(n || 'a') || md5(n || 'b')"


def seed(first: int, last: int, managers: Mapping[str, int]) -> None:
    """Customers of these numbers with all that is theirs. `managers` are who looks after those of whose number `n` that is true."""
    numbers = f"generate_series({first}, {last}) n"
    with unhindered():
        _customers(numbers, managers)
        _content(first, last)
        _sets(numbers)
        _requests(numbers)
        _proof(numbers)


@contextmanager
def unhindered() -> Iterator[None]:
    """Foreign keys are right by what is written, and the indexes of the large tables are made once, at the end."""
    with connection.cursor() as cursor:
        cursor.execute(INDEXES, [[model._meta.db_table for model in LARGE]])
        indexes = cursor.fetchall()
        for drop, _ in indexes:
            cursor.execute(drop)
        cursor.execute("SET session_replication_role = replica")
        yield
        cursor.execute("SET session_replication_role = origin")
        cursor.execute("SET maintenance_work_mem = '1GB'")
        for _, make in indexes:
            cursor.execute(make)
        cursor.execute("RESET maintenance_work_mem")


LARGE = (
    *(DataRecord, DataRecord.history.model, audit.JournalRow, audit.Event),
    *(backups.BackupSet, backups.Blob, backups.Copy, backups.Run, backups.Slot, backups.TestRestore),
)
# For each index of these tables beside the primary key the statement that drops it, and the one that makes it again.
INDEXES = """
    SELECT CASE WHEN c.oid IS NULL THEN format('DROP INDEX %%s', i.indexrelid::regclass)
                ELSE format('ALTER TABLE %%s DROP CONSTRAINT %%I', i.indrelid::regclass, c.conname) END,
           CASE WHEN c.oid IS NULL THEN pg_get_indexdef(i.indexrelid)
                ELSE format('ALTER TABLE %%s ADD CONSTRAINT %%I %%s', i.indrelid::regclass, c.conname, pg_get_constraintdef(c.oid)) END
    FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('u', 'x')
    WHERE i.indrelid = ANY (SELECT t::regclass FROM unnest(%s::text[]) t) AND NOT i.indisprimary
"""


@contextmanager
def in_haste() -> Iterator[None]:
    """The server neither flushes nor tidies while the estate is written: one that was broken off is thrown away."""
    haste = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off", "autovacuum": "off", "max_wal_size": "'16GB'"}
    _say(*(f"ALTER SYSTEM SET {name} = {value}" for name, value in haste.items()), "SELECT pg_reload_conf()")
    yield
    _say(*(f"ALTER SYSTEM RESET {name}" for name in haste), "SELECT pg_reload_conf()", "CHECKPOINT")


def _say(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


def _customers(numbers: str, managers: Mapping[str, int]) -> None:
    looks_after = f"CASE {' '.join(f'WHEN {which} THEN {user}' for which, user in managers.items())} END"
    about = {"id": CUSTOMER, "code": CODE, "name": "'Works number ' || n", "zone": "'UTC'", "account_manager_id": looks_after}
    fill(Stream, numbers, {"id": CUSTOMER, "name": CODE})
    fill(Customer, numbers, about)
    history = {"history_stream": "'00000000-0000-0000-0000-000000000000'", "history_actor": "'bench'", "history_type": "'+'"}
    fill(Customer.history.model, numbers, about | history)
    end = "CASE WHEN n % 20 = 0 THEN current_date + (n % 400)::int END"
    contract = {"customer_id": CUSTOMER, "agreement_number": f"{CODE} || '-1'", "start": "current_date - 700", "end": end}
    fill(subscriptions.Subscription, numbers, contract)
    fill(audit.ChainHead, numbers, {"stream_id": CUSTOMER, "number": str(RECORDS * VERSIONS), "digest": SHA, "at": "now()"})
    fill(backups.RetentionLook, numbers, _of_stream({"look_at": "now() + interval '3 days'", "policy": "1", "years": "20"}))
    fill(backups.TermLook, numbers, _of_stream({"standard": "n % 7", "agreed": "CASE WHEN n % 50 = 0 THEN 3 ELSE 0 END"}))


def _of_stream(values: Mapping[str, str]) -> dict[str, str]:
    return {"stream_id": CUSTOMER, **values}


def _content(first: int, last: int) -> None:
    """Change `i` of everybody before change `i + 1` of anybody, as it comes about."""
    customers, base = last - first + 1, (first - 1) * RECORDS
    each = f"LATERAL (SELECT {first} + i % {customers} AS n, i / {customers} AS s) c"
    changes = f"generate_series(0, {customers * RECORDS * VERSIONS - 1}) i, {each}"
    record, at = (
        f"{base} + (n - {first}) * {RECORDS} + s % {RECORDS} + 1",
        f"now() - interval '1 second' * ({RECORDS * VERSIONS} - s) * 3600",
    )
    row = {"id": record, "kind": "'part'", "reference": f"'P-' || s % {RECORDS}", "customer_id": CUSTOMER}
    row["data"] = '\'{"Bin":"\' || s % 61 || \'","Name":"Part \' || i % 1000 || \'","Serial":"\' || md5(i::text) || \'"}\''
    fill(DataRecord, f"({_last_versions(first, last)}) x", row)
    about = {"history_stream": CUSTOMER, "history_transaction": "md5((i / 100)::text)::uuid", "history_actor": "'bench'"}
    history = DataRecord.history.model
    begun = _next_id(history, "history_id")
    kinds = {"history_id": f"{begun} + i", "history_date": at, "history_type": f"CASE WHEN s < {RECORDS} THEN '+' ELSE '~' END"}
    fill(history, changes, row | about | kinds)
    journal = {"stream_id": CUSTOMER, "model": "'l2l_subscriptions.datarecord'", "history_id": f"{begun} + i", "number": "s + 1"}
    journal |= {"transaction": about["history_transaction"], "written_at": at, "salt": "md5(i::text)", "segment": "1"}
    fill(audit.JournalRow, changes, journal | {"leaf": "md5('l' || i) || md5(i || 'l')", "digest": "md5('d' || i) || md5(i || 'd')"})
    five = f"generate_series({first}, {last}) n, generate_series(1, 5) k"
    upload = {
        "customer_id": CUSTOMER,
        "name": "'manuals/' || k || '.pdf'",
        "sha256": SHA,
        "size": "1000 * k",
        "file": "'x/' || n || '-' || k",
    }
    fill(UploadedContent, five, upload)
    fill(Link, five, {"customer_id": CUSTOMER, "reference": "'L-' || k", "title": "'Handbook ' || k", "url": "'https://example.org/' || k"})
    _settle(DataRecord, "id")
    _settle(history, "history_id")


def _last_versions(first: int, last: int) -> str:
    return f"SELECT n, s, n * {RECORDS} + s AS i FROM generate_series({first}, {last}) n, generate_series(0, {RECORDS - 1}) s"


def _next_id(model: type[models.Model], key: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT coalesce(max({key}), 0) + 1 FROM {model._meta.db_table}")
        return int(cursor.fetchone()[0])


def _settle(model: type[models.Model], key: str) -> None:
    """The numbers that the database gives out next follow what was written."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT setval(pg_get_serial_sequence('{model._meta.db_table}', '{key}'), {_next_id(model, key)})")


def _sets(numbers: str) -> None:
    each = f"{numbers}, generate_series(0, {SETS - 1}) k, LATERAL (SELECT {AGE} AS age) a"
    at = "date_trunc('day', now()) - interval '1 day' * age - interval '2 hours' + interval '1 second' * (n % 7200)"
    night = "(date_trunc('day', now()) - interval '1 day' * (age + 1))::date"
    blobs = "(md5(n || 'a' || k) || md5(k || 'b') || md5(n || 'c') || md5(n || 'd' || k))::bytea"
    made = {"id": SET, "stream_id": CUSTOMER, "state": "'made'", "night": night, "started_at": at, "snapshot_at": at, "complete_at": at}
    made |= {"protected_at": f"CASE WHEN k > 0 OR n % 500 > 0 THEN {at} + interval '9 seconds' END", "ended_at": at, "policy": "1"}
    made |= {"rows": "110", "history_rows": "500", "content_bytes": "200000", "new_bytes": "9000", "blob_ids": blobs, "proof": "'proved'"}
    made |= {"goes_at": "now() + interval '1 day' * (abs(400 - age) + 1)", "journal_number": str(RECORDS * VERSIONS), "key_number": "1"}
    fill(backups.BackupSet, each, made)
    state = "CASE WHEN k = 0 AND n % 500 = 0 THEN 'complete' WHEN (n + k) % 2003 = 0 THEN 'missed' ELSE 'done' END"
    run = {"stream_id": CUSTOMER, "night": "(now() - interval '12 hours' - interval '1 day' * k)::date", "state": state, "policy": "1"}
    run |= {"attempts": "1", "late": "(n + k) % 97 = 0", "backup_set_id": f"CASE WHEN k < {NIGHTLY} THEN {SET} END", "kind": "'backup'"}
    fill(backups.Run, each, run)
    slots = f"{numbers}, generate_series({NIGHTLY}, {SETS - 1}) k, LATERAL (SELECT {AGE} AS age) a"
    slot = {"stream_id": CUSTOMER, "first": night, "last": night, "state": "'filled'", "backup_set_id": SET, "policy": "1"}
    kind = f'CASE WHEN k < {NIGHTLY + WEEKLY} THEN to_char({night}, \'"week:"IYYY-"W"IW\') ELSE to_char({night}, \'"month:"YYYY-MM\') END'
    fill(backups.Slot, slots, slot | {"key": kind})
    _stored(f"{each}, generate_series(1, {OBJECTS_A_SET}) j", numbers)


def _stored(each: str, numbers: str) -> None:
    kinds = "CASE WHEN j = 2 THEN 'envelope' WHEN k % 2 = 0 THEN 'blob' ELSE 'body' END"
    name = f"'customers/' || {CUSTOMER} || '/' || {kinds} || '/' || md5(n || '-' || k || '-' || j)"
    blob = {"stream_id": CUSTOMER, "kind": kinds, "state": "'stored'", "name": name, "sha256": SHA, "size": "3000 * j", "made_by_id": SET}
    begun = _next_id(backups.Blob, "id")
    fill(backups.Blob, each, blob)
    key = {"stream_id": CUSTOMER, "kind": "'key'", "state": "'stored'", "name": f"'keys/' || {CUSTOMER} || '/1.age'", "sha256": SHA}
    fill(backups.Blob, numbers, key | {"size": "300"})
    owed = "b.id % 5003 = 0 AND l.offsite"
    checked = "now() - interval '1 second' * (b.id * 7919 % 2500000)"
    copy = {"blob_id": "b.id", "location_id": "l.id", "state": f"CASE WHEN {owed} THEN 'owed' ELSE 'present' END"}
    source = f"{backups.Blob._meta.db_table} b, {backups.Location._meta.db_table} l WHERE b.id >= {begun}"
    fill(backups.Copy, source, copy | {"checked_at": f"CASE WHEN {owed} THEN NULL ELSE {checked} END"})


def _requests(numbers: str) -> None:
    """Ends, holds, changes of terms, exports and what was taken out: of a few customers in a hundred."""
    some = f"{numbers} WHERE n % 33 = 0"
    users = {"requested_by_id": "(SELECT min(id) FROM auth_user)", "requested_at": "now() - interval '1 hour' * n", "why": "'bench'"}
    fill(
        subscriptions.DeletionRequest,
        some,
        users | {"customer_id": CUSTOMER, "state": "CASE n % 2 WHEN 0 THEN 'returned' ELSE 'returning' END"},
    )
    hold = {"customer_id": CUSTOMER, "holder": "'court'", "basis": "'case ' || n", "review_on": "current_date + n % 90", "placed_by": "'x'"}
    fill(subscriptions.LegalHold, f"{numbers} WHERE n % 100 = 1", hold)
    asked = users | {"what": "'what ' || n", "plan_digest": SHA, "state": "'requested'"}
    contract = f"{subscriptions.Subscription._meta.db_table} t JOIN (SELECT n FROM {some}) x ON t.customer_id = {CUSTOMER}"
    fill(subscriptions.TermChangeRequest, contract, asked | {"subscription_id": "t.id", "changes": "'{}'"})
    purge = asked | {"customer_id": CUSTOMER, "term": "'standard'", "counts": "'{}'"}
    fill(backups.PurgeRequest, some, purge)
    fill(backups.LiveRestoreRequest, some, asked | {"customer_id": CUSTOMER, "only_keys": "'[]'", "counts": "'{}'"})
    fill(subscriptions.Export, some, {"customer_id": CUSTOMER, "what": "'restore'", "by": "'olga'", "reason": "'bench'"})
    fill(backups.ItemExport, some, {"stream_id": CUSTOMER, "model": "'l2l_subscriptions.datarecord'", "key": "'1'", "by": "'olga'"})


def _proof(numbers: str) -> None:
    """Events, findings, tests and what is owed of them."""
    begun = _next_id(audit.Event, "number")
    event = {"number": f"{begun} + row_number() OVER ()", "actor": "'bench'", "salt": "md5(n::text)", "leaf": SHA, "digest": SHA}
    names = "CASE k % 4 WHEN 0 THEN 'customer:added' WHEN 1 THEN 'session:opened' WHEN 2 THEN 'file:downloaded' ELSE 'prune:done' END"
    event |= {"event": names, "at": "now() - interval '1 minute' * (20 - k) * 1000", "customer": CUSTOMER, "facts": "'{\"sets\":1}'"}
    fill(audit.Event, f"{numbers}, generate_series(1, 20) k", event)
    kinds = ", ".join(
        f"'{kind.value}'" for kind in (Kind.OBJECT_DAMAGED, Kind.TEST_RESTORE_FAILED, Kind.KEY_MISSING, Kind.RECEIPT_OUTSTANDING)
    )
    found = {
        "kind": f"(ARRAY[{kinds}])[1 + n % 4]",
        "subject": "'blob:' || n",
        "customer": CUSTOMER,
        "text": "'damaged'",
        "opened_by": "'w'",
    }
    found |= {"due_on": "current_date + (n % 9)::int - 3", "closed_at": "CASE WHEN n % 50 > 0 THEN now() END", "closed_by": "'olga'"}
    fill(audit.Finding, f"{numbers} WHERE n % 5 = 0", found)
    tests = f"{numbers}, generate_series(0, 5) k, (VALUES (0, 'nightly'), (1, 'weekly'), (2, 'monthly')) t(i, tier) WHERE k % 3 = i"
    at = "now() - interval '1 hour' * ((n * 7 + k) % 2000)"
    test = {
        "stream": CUSTOMER,
        "called": CODE,
        "set_id": SET,
        "tier": "tier",
        "location": "CASE WHEN k < 3 THEN 'primary' ELSE 'offsite' END",
    }
    test |= {
        "result": "CASE WHEN (n + k) % 997 = 0 THEN 'failed' ELSE 'passed' END",
        "asked_by": "'worker'",
        "begun_at": at,
        "ended_at": at,
    }
    fill(backups.TestRestore, tests, test | {"document": "'{}'", "night": "current_date - 30", "policy": "1"})
    cell = {"stream_id": CUSTOMER, "tier": "tier", "location_id": "l.id", "there": "true", "tested_at": at.replace("k", "l.id")}
    cell["due_at"] = f"{at.replace('k', 'l.id')} + interval '90 days'"
    tiers = f"(VALUES ('nightly'), ('weekly'), ('monthly')) t(tier), {backups.Location._meta.db_table} l"
    fill(backups.TestCell, f"{numbers}, {tiers}", cell)


def seed_service(hours: int) -> None:
    """What is nobody's alone: segments and the loss window, nights of verification, readings of the controls."""
    location = f"{backups.Location._meta.db_table} l"
    each = f"generate_series(1, {hours}) h"
    at = f"date_trunc('hour', now()) - interval '1 hour' * ({hours} - h)"
    segment = {"number": "h", "epoch": "1", "name": "'hot/' || h", "sha256": "md5(h::text) || md5(h || 'x')", "made_at": at, "until": at}
    fill(backups.Segment, each, segment | {"changes": "5000", "sections": "'[]'", "waiting": "'{}'", "size": "90000"})
    copies = f"{each}, {location}"
    fill(backups.SegmentCopy, copies, {"segment_id": "h", "location_id": "l.id", "durable_at": at, "checked_at": at})
    buckets = f"'{[0, 40, 60] + [0] * (len(BOUNDS) - 3)}'"
    fill(backups.LossHour, copies, {"hour": at, "location_id": "l.id", "changes": "100", "buckets": buckets, "longest": "0.4"})
    nights = f"generate_series(1, {hours // 24}) d, {location}"
    passed = {
        "location_id": "l.id",
        "night": "current_date - d",
        "ended_at": "now()",
        "objects_read": "100000",
        "oldest_at": "now() - interval '29 days'",
    }
    fill(backups.VerificationPass, nights, passed)
    reading = {"hour": at, "at": at, "controls": "'{}'", "software": "'1'"}
    fill(audit.Reading, each, reading)
    fill(audit.SignedHead, each, {"number": "h", "digest": "md5(h::text)", "at": at, "document": "'{}'"})


def analyze() -> None:
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
