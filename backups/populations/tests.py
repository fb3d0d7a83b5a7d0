"""Which tests were owed and which were made, with what they found; restores of what people needed (P7, P14)."""

from __future__ import annotations

from audit.populations import Period, Reconciled, Told
from audit.populations.own import in_history
from audit.populations.sql import As, Column, Listing
from backups.models import TestRestore
from backups.populations import sampled


def _of_tests(period: Period) -> list[Reconciled]:
    return in_history(TestRestore)


def evidence(key: str) -> dict[str, bytes]:
    """The signed document of the test: what was expected and found."""
    return {"test-restore.json": sampled.as_lines(TestRestore.objects.get(pk=key).document)}


_BEFORE = (
    "(SELECT max(t.ended_at) FROM l2l_backups_testrestore AS t WHERE t.stream = c.stream_id AND t.tier = c.tier AND t.location = l.name "
    "AND t.result = 'passed' AND t.ended_at < :begins)"
)
OWED = Listing(
    name="tests_owed",
    title="Each customer, tier and location of which there are sets: what has to be tested",
    promises=("P7",),
    key=(Column("cell", "c.id", As.NUMBER),),
    columns=(
        Column("customer", "c.stream_id", As.ID),
        Column("code", "st.name"),
        Column("tier", "c.tier"),
        Column("location", "l.name"),
        Column("since", "c.since", As.TIME),
        Column("tested_before_at", _BEFORE, As.TIME),
    ),
    source=(
        "FROM l2l_backups_testcell AS c JOIN l2l_audit_stream AS st ON st.id = c.stream_id "
        "JOIN l2l_backups_location AS l ON l.id = c.location_id WHERE c.there AND c.since < :ends"
    ),
)
TESTS = Listing(
    name="test_restores",
    title="Test restores, failed ones too",
    promises=("P7",),
    key=(Column("test", "t.id", As.NUMBER),),
    columns=(
        Column("customer", "t.stream", As.ID),
        Column("code", "t.called"),
        Column("set", "t.set_id", As.ID),
        Column("night", "t.night", As.DAY),
        Column("tier", "t.tier"),
        Column("location", "t.location"),
        Column("oldest_monthly", "t.oldest", As.FLAG),
        Column("second", "t.second", As.TIME),
        Column("result", "t.result"),
        Column("asked_by", "t.asked_by"),
        Column("begun_at", "t.begun_at", As.TIME),
        Column("ended_at", "t.ended_at", As.TIME),
        Column("until_open_ms", "t.list_ms", As.NUMBER),
        Column("until_restored_ms", "t.restore_ms", As.NUMBER),
        Column("until_judged_ms", "t.judge_ms", As.NUMBER),
        Column("content_bytes", "t.content_bytes", As.NUMBER),
        Column("software", "t.software"),
        Column("policy", "t.policy", As.NUMBER),
        Column("signed_off_by", "u.username"),
        Column("signed_off_at", "so.at", As.TIME),
    ),
    source=(
        "FROM l2l_backups_testrestore AS t LEFT JOIN l2l_backups_testsignoff AS so ON so.test_id = t.id "
        "LEFT JOIN auth_user AS u ON u.id = so.by_id WHERE t.ended_at >= :begins AND t.ended_at < :ends"
    ),
    told=(Told("test-restore:done", "l2l_backups.testrestore", "ended_at"),),
    more=_of_tests,
    evidence=evidence,
)
RESTORES = Listing(
    name="restores",
    title="Restores into a customer's live data",
    promises=("P14",),
    key=(Column("request", "r.id", As.NUMBER),),
    columns=(
        Column("customer", "r.customer_id", As.ID),
        Column("code", "c.code"),
        Column("state_of", "r.state_at", As.TIME),
        Column("set", "r.set_id", As.ID),
        Column("asked_by", "asked.username"),
        Column("approved_by", "approved.username"),
        Column("executed_at", "r.executed_at", As.TIME),
        Column("plan_sha256", "r.plan_digest"),
    ),
    source=(
        "FROM l2l_backups_liverestorerequest AS r JOIN l2l_subscriptions_customer AS c ON c.id = r.customer_id "
        "JOIN auth_user AS asked ON asked.id = r.requested_by_id LEFT JOIN auth_user AS approved ON approved.id = r.approved_by_id "
        "WHERE r.executed_at >= :begins AND r.executed_at < :ends"
    ),
    told=(Told("restore:done", "l2l_backups.liverestorerequest", "executed_at"),),
)
ITEMS = Listing(
    name="items_taken",
    title="Single items that people had taken from the backups",
    promises=("P14",),
    key=(Column("item", "i.id", As.NUMBER),),
    columns=(
        Column("customer", "i.stream_id", As.ID),
        Column("code", "st.name"),
        Column("model", "i.model"),
        Column("asked_by", 'i."by"'),
        Column("asked_at", "i.asked_at", As.TIME),
        Column("state", "i.state"),
        Column("ended_at", "i.ended_at", As.TIME),
        Column("removed_from", "i.expires_at", As.TIME),
    ),
    source=(
        "FROM l2l_backups_itemexport AS i JOIN l2l_audit_stream AS st ON st.id = i.stream_id "
        "WHERE i.asked_at >= :begins AND i.asked_at < :ends"
    ),
)
DRILLS = Listing(
    name="escrow_drills",
    title="Proofs that the escrow key opens what it should",
    promises=("P7", "P14"),
    key=(Column("drill", "d.id", As.NUMBER),),
    columns=(
        Column("recipient", "d.recipient"),
        Column("wrapping", "d.wrapping", As.NUMBER),
        Column("drilled_at", "d.drilled_at", As.TIME),
        Column("drilled_by", "d.drilled_by"),
        Column("keys", "d.keys", As.NUMBER),
        Column("opened", "d.opened", As.NUMBER),
        Column("failed", "d.failed", As.NUMBER),
        Column("missing", "d.missing", As.NUMBER),
        Column("result", "d.result"),
    ),
    source="FROM l2l_backups_escrowdrill AS d WHERE d.drilled_at >= :begins AND d.drilled_at < :ends",
    told=(Told("escrow:drilled", "l2l_backups.escrowdrill", "drilled_at"),),
)
POPULATIONS = tuple(one.population for one in (OWED, TESTS, RESTORES, ITEMS, DRILLS))
