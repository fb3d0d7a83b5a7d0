"""What one database takes and another refuses or changes is refused on both, and names its field; the rest reads back as it was."""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from audit.errors import Unstorable
from subscriptions.models import DataRecord
from tests.audit.reading import history, types
from tests.factory.models import Specimen

NAIVE = datetime(2026, 1, 1)
FAR = timezone(timedelta(hours=14))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("text", "a\x00b"),
        ("text", "\ud800"),
        ("label", "x" * 51),
        ("whole", 2**31),
        ("whole", -(2**31) - 1),
        ("whole", 1.5),
        ("whole", "one"),
        ("large", 2**63),
        ("small", -1),
        ("small", 32768),
        ("flag", "perhaps"),
        ("moment", NAIVE),
        ("moment", "2026-01-01T00:00:00"),
        ("moment", date(2026, 1, 1)),
        ("moment", datetime(1, 1, 1, tzinfo=FAR)),
        ("moment", datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-14)))),
        ("day", "yesterday"),
        ("hour", time(1, 2, tzinfo=UTC)),
        ("span", timedelta.max),
        ("span", -timedelta(days=2**63 // 86_400_000_000 + 1)),
        ("key", "not a key"),
        ("amount", Decimal("NaN")),
        ("amount", Decimal("Infinity")),
        ("amount", Decimal("1.00001")),
        ("amount", Decimal("123456789")),
        ("amount", Decimal("1e9999")),
        ("amount", Decimal("1e-9999")),
        ("amount", "much"),
        ("ratio", float("nan")),
        ("ratio", float("-inf")),
        ("ratio", "much"),
        ("free", {"a": ["\x00"]}),
        ("free", {"\x00": 1}),
        ("free", {"a": "\udfff"}),
        ("free", {1: "a"}),
        ("free", [float("nan")]),
        ("free", {"a": {1, 2}}),
        ("free", {"a": Decimal("1.5")}),
        pytest.param("free", 10**5000, id="free-huge"),
        pytest.param("large", 10**5000, id="large-huge"),
        ("fixed", {"a": ["\x00"]}),
        ("fixed", {1: "a"}),
    ],
)
def test_refused_on_both_databases(acme, column, value):
    specimen = Specimen(customer=acme, label="s")
    setattr(specimen, column, value)
    with pytest.raises(Unstorable) as refused:
        specimen.save()
    assert refused.value.field == column
    with pytest.raises(Unstorable):
        Specimen.objects.tracked_create([specimen])
    assert types(Specimen) == ""


@pytest.mark.parametrize(
    ("column", "value", "kept"),
    [
        ("text", "", ""),
        ("text", "line\r\nbreak\t\x1f \U0001f6b2 é e\u0301 \u2028", "line\r\nbreak\t\x1f \U0001f6b2 é e\u0301 \u2028"),
        ("text", gettext_lazy("lazy"), "lazy"),
        ("text", mark_safe("<b>"), "<b>"),
        ("text", 12, "12"),
        ("label", "é" * 50, "é" * 50),
        ("whole", "12", 12),
        ("whole", 12.0, 12),
        ("whole", True, 1),
        ("large", -(2**63), -(2**63)),
        ("small", 32767, 32767),
        ("flag", "True", True),
        ("flag", 0, False),
        ("moment", datetime(2026, 1, 1, 2, 30, 0, 1, tzinfo=FAR), datetime(2025, 12, 31, 12, 30, 0, 1, tzinfo=UTC)),
        ("moment", "2026-01-01T00:00:00+01:00", datetime(2025, 12, 31, 23, tzinfo=UTC)),
        ("moment", datetime.min.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)),
        ("moment", datetime.max.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
        ("day", date.min, date.min),
        ("day", date.max, date.max),
        ("hour", time.max, time.max),
        ("span", timedelta(microseconds=-1), timedelta(microseconds=-1)),
        ("span", timedelta(days=100_000, microseconds=1), timedelta(days=100_000, microseconds=1)),
        ("span", "1 02:03:04", timedelta(days=1, hours=2, minutes=3, seconds=4)),
        ("key", "12345678123456781234567812345678", uuid.UUID(int=0x12345678123456781234567812345678)),
        ("amount", "12345678.9012", Decimal("12345678.9012")),
        ("amount", Decimal("1E+2"), Decimal("100")),
        ("amount", Decimal("-0"), Decimal("0")),
        ("amount", 1.5, Decimal("1.5")),
        ("ratio", 0.1 + 0.2, 0.1 + 0.2),
        ("ratio", 5e-324, 5e-324),
        ("ratio", 1.7976931348623157e308, 1.7976931348623157e308),
        ("ratio", -0.0, 0.0),
        ("raw", b"\x00\xff", b"\x00\xff"),
        ("raw", bytearray(b"ab"), b"ab"),
        ("raw", memoryview(b"ab"), b"ab"),
        ("free", None, None),
        ("free", {"a": (1, 2), "": None}, {"a": [1, 2], "": None}),
        ("free", 2**70, 2**70),
        ("fixed", {"b": 1.0, "a": [1e23]}, {"a": [10**23], "b": 1}),
    ],
)
def test_kept_alike_in_the_row_and_in_history(acme, column, value, kept):
    specimen = Specimen(customer=acme, label="s")
    setattr(specimen, column, value)
    specimen.save()
    stored = [getattr(Specimen.objects.get(), column), getattr(history(Specimen)[0], column)]
    assert [bytes(one) if column == "raw" else one for one in stored] == [kept, kept]
    Specimen.objects.get().save()
    specimen.save()
    assert types(Specimen) == "+"


def test_a_refused_change_leaves_the_row_and_its_history(record):
    record.data = {"a": "\x00"}
    with pytest.raises(Unstorable, match="data holds a NUL character"):
        record.save()
    with pytest.raises(Unstorable):
        DataRecord.objects.tracked_update([record])
    with pytest.raises(Unstorable):
        DataRecord.objects.tracked_change(data={"a": "\x00"})
    assert types(DataRecord) == "+"


def test_a_row_already_stored_with_what_we_would_refuse_can_be_read_and_mended(acme):
    from django.db import connection

    if connection.vendor == "postgresql":
        pytest.skip("PostgreSQL itself would refuse it")
    specimen = Specimen.objects.create(customer=acme, label="s")
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE {Specimen._meta.db_table} SET free = %s", ['"\\ud800"'])
    specimen = Specimen.objects.get()
    specimen.free = "mended"
    specimen.save()
    assert types(Specimen) == "+~"
