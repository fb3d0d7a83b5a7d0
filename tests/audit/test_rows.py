"""A row's canonical text is the same before and after it went through a database, for every kind of column."""

from __future__ import annotations

import json
import uuid
from datetime import UTC, timedelta
from decimal import Decimal

import pytest
from django.db import models
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit import registry, rows
from tests.audit.test_canonical import json_values, texts
from tests.factory.models import Downtime, Specimen

LONGEST = timedelta(microseconds=2**63 - 1)
VALUES = {
    "label": texts.map(lambda text: text[:50]),
    "text": texts,
    "whole": st.integers(-(2**31), 2**31 - 1),
    "large": st.integers(-(2**63), 2**63 - 1),
    "small": st.integers(0, 32767),
    "flag": st.booleans(),
    "moment": st.datetimes(timezones=st.just(UTC)),
    "day": st.dates(),
    "hour": st.times(),
    "span": st.timedeltas(-LONGEST, LONGEST),
    "key": st.uuids(),
    "amount": st.decimals(Decimal("-99999999.9999"), Decimal("99999999.9999"), places=4),
    "ratio": st.floats(allow_nan=False, allow_infinity=False),
    "raw": st.binary(max_size=300),
    "free": json_values,
    "fixed": json_values,
}


def test_every_kind_has_a_column_here():
    assert {column.kind for column in rows.columns(Specimen)} == set(rows.KIND_OF_FIELD.values())
    assert set(VALUES) == {column.attname for column in rows.columns(Specimen)} - {"id", "customer_id", "touched"}


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None)
@given(
    values=st.fixed_dictionaries({}, optional={name: st.none() | values if name != "label" else values for name, values in VALUES.items()})
)
def test_a_row_of_every_kind_goes_through_the_database_and_json_unchanged(acme, values):
    written = Specimen(customer=acme, **values)
    written.save()
    stored = Specimen.objects.get(pk=written.pk)
    text = rows.instance_json(stored)
    assert rows.instance_json(written) == text
    (past,) = registry.of(Specimen).history_model.objects.filter(id=written.pk)
    assert rows.row_json(Specimen, {column.attname: getattr(past, column.attname) for column in rows.columns(Specimen)}) == text

    document = json.loads(text)
    restored = Specimen(**{column.attname: rows.from_json(column, document[column.name]) for column in rows.columns(Specimen)})
    assert rows.instance_json(restored) == text
    written.delete()
    # As a restore puts it back: under its own key, and `raw`, or auto_now would touch it.
    models.QuerySet(Specimen)._insert([restored], Specimen._meta.concrete_fields, using="default", raw=True)
    assert rows.instance_json(Specimen.objects.get(pk=restored.pk)) == text
    Specimen.objects.get(pk=restored.pk).delete()


def test_the_shapes(acme):
    specimen = Specimen(
        id=7,
        customer=acme,
        label="ü",
        whole=1,
        flag=True,
        span=timedelta(days=-1),
        amount=Decimal("-1.5"),
        ratio=2.0,
        raw=b"\x00",
        free={"b": 1.0},
    )
    specimen.key, specimen.fixed = uuid.UUID(int=1), [1]
    document = json.loads(rows.instance_json(specimen))
    assert document == {
        "id": 7,
        "customer_id": str(acme.pk),
        "label": "ü",
        "whole": 1,
        "flag": True,
        "span": -86_400_000_000,
        "amount": "-1.5000",
        "ratio": 2,
        "raw": "AA==",
        "key": "00000000-0000-0000-0000-000000000001",
        "free": {"b": 1},
        "fixed": [1],
        **dict.fromkeys(("text", "large", "small", "moment", "day", "hour", "touched")),
    }


@pytest.mark.parametrize(
    ("column", "value", "text"),
    [
        (rows.Column("a", "a", "decimal", places=30), Decimal("12345678.5"), "12345678.500000000000000000000000000000"),
        (rows.Column("a", "a", "decimal", places=2), Decimal("-0.00"), "0.00"),
        (rows.Column("a", "a", "decimal", places=0), Decimal("1E+3"), "1000"),
    ],
)
def test_decimals_have_their_columns_places(column, value, text):
    assert rows.to_json(column, value) == text


def test_columns_are_described_well_enough_to_build_them_again():
    described = {column.name: column.described() for column in rows.columns(Downtime)}
    assert described["line_id"] == {"name": "line_id", "kind": "integer", "null": False}
    assert described["photo"]["kind"] == "text"
    assert [column.name for column in rows.columns(Downtime)] == sorted(described)


def test_a_field_of_an_unknown_kind_is_refused():
    with pytest.raises(rows.UnknownKind, match="GenericIPAddressField"):
        rows.kind_of(models.GenericIPAddressField())
