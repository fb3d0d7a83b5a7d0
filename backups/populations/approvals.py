"""Everything that took two people: who asked, who approved or refused, bound to which plan (P5)."""

from __future__ import annotations

from django.apps import apps

from audit.populations import Population, Told
from audit.populations.sql import As, Column, Listing
from audit.two_person import TwoPersonRequest

_COLUMNS = "id, state, plan_digest, requested_at, approved_at, executed_at, ended_at, requested_by_id, approved_by_id, refused_by_id"


def _of_all_kinds() -> str:
    """One table of all kinds of requests there are, so that a new kind cannot be forgotten."""
    kinds = sorted(one._meta.label_lower for one in apps.get_models() if issubclass(one, TwoPersonRequest))
    tables = {label: apps.get_model(label)._meta.db_table for label in kinds}
    return " UNION ALL ".join(f"SELECT '{label}' AS kind, {_COLUMNS} FROM {table}" for label, table in tables.items())  # noqa: S608


def _listing() -> Listing:
    return Listing(
        name="approvals",
        title="Requests that take two people",
        promises=("P5", "P11"),
        key=(Column("kind", "a.kind"), Column("request", "a.id", As.NUMBER)),
        joint=":",
        columns=(
            Column("kind", "a.kind"),
            Column("state", "a.state"),
            Column("asked_by", "asked.username"),
            Column("requested_at", "a.requested_at", As.TIME),
            Column("approved_by", "approved.username"),
            Column("approved_at", "a.approved_at", As.TIME),
            Column("refused_by", "refused.username"),
            Column("executed_at", "a.executed_at", As.TIME),
            Column("ended_at", "a.ended_at", As.TIME),
            Column("plan_sha256", "a.plan_digest"),
        ),
        source=(
            f"FROM ({_of_all_kinds()}) AS a JOIN auth_user AS asked ON asked.id = a.requested_by_id "
            "LEFT JOIN auth_user AS approved ON approved.id = a.approved_by_id "
            "LEFT JOIN auth_user AS refused ON refused.id = a.refused_by_id "
            "WHERE a.requested_at < :ends AND "
            "(coalesce(a.executed_at, a.ended_at) IS NULL OR coalesce(a.executed_at, a.ended_at) >= :begins)"
        ),
        told=tuple(
            Told(event, "", column)
            for event, column in (
                ("request:made", "requested_at"),
                ("request:approved", "approved_at"),
                ("request:executed", "executed_at"),
            )
        ),
    )


POPULATIONS: tuple[Population, ...] = (_listing().population,)
