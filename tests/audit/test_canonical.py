"""One text for one value, whichever database it came from."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from audit import canonical
from tests.factory.models import Specimen

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
numbers = st.integers(-(10**300), 10**300) | st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)


@given(json_values)
def test_it_is_json_and_reading_it_gives_the_same_text(value):
    text = canonical.dumps(value)
    assert canonical.dumps(json.loads(text)) == text
    assert canonical.dump_bytes(value) == text.encode()


@given(st.dictionaries(texts, json_values), st.randoms(use_true_random=False))
def test_the_order_of_keys_does_not_matter(value, shuffle: random.Random):
    keys = list(value)
    shuffle.shuffle(keys)
    assert canonical.dumps({key: value[key] for key in keys}) == canonical.dumps(value)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(value=json_values)
def test_a_json_column_of_either_kind_reads_back_with_the_same_text(acme, value):
    """On both databases the text equals the one of the value itself, hence one database's equals the other's."""
    pk = Specimen.objects.create(customer=acme, label="s", free=value, fixed=value).pk
    stored = Specimen.objects.get(pk=pk)
    assert canonical.dumps(stored.free) == canonical.dumps(stored.fixed) == canonical.dumps(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": [True, None]}, '{"a":[true,null],"b":1}'),
        ({"é": 'say "hi"\n\\', "\U0001f6b2": "\x7f\x01/"}, '{"é":"say \\"hi\\"\\n\\\\","\U0001f6b2":"\x7f\\u0001/"}'),
        (
            [1.0, -0.0, 1e3, 1e23, 0.1, 1e-7, 123456789012345678901234567890],
            "[1,0,1000,100000000000000000000000,0.1,1e-07,123456789012345678901234567890]",
        ),
        ((1, (2,)), "[1,[2]]"),
        ("", '""'),
    ],
)
def test_worked_examples(value, text):
    assert canonical.dumps(value) == text


@pytest.mark.parametrize(
    "value",
    ["\x00", "\ud800", ["a\udfff"], {"\x00": 1}, {1: 1}, {None: 1}, float("nan"), float("inf"), 1 << 5000, b"", {1}, object()],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_canonical_form(value):
    with pytest.raises(canonical.NotCanonical):
        canonical.dumps(value)


def test_depth_is_bounded():
    def nested(depth: int) -> list:
        return [nested(depth - 1)] if depth else []

    canonical.dumps(nested(canonical.MAX_DEPTH))
    with pytest.raises(canonical.NotCanonical, match="nested deeper"):
        canonical.dumps(nested(canonical.MAX_DEPTH + 1))
