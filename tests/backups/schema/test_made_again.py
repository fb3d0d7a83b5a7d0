"""A segment that was numbered before a deployment and is made again behind it has the columns and digests that it had."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from audit import canonical, chain, history_text, registry
from audit.models import ChainHead, JournalRow, RowShape
from backups.hot import numbering
from backups.vault import Vault
from subscriptions.models import Link
from tests.backups.shipping import ship

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_change_is_made_again_with_the_columns_that_it_was_numbered_with(acme: Any, vault: Vault) -> None:
    Link.objects.create(customer=acme, reference="a", title="A", url="https://example.org/")
    ship(vault)
    row = JournalRow.objects.get(stream=acme.pk, model="l2l_subscriptions.link")
    # As if the title had come with a migration since: the change was numbered without it.
    assert row.shape is not None and row.number is not None and row.salt is not None
    columns = [one for one in json.loads(row.shape.columns) if one["name"] != "title"]
    text = canonical.dumps(columns)
    RowShape.objects.filter(pk=row.shape_id).update(columns=text, sha256=hashlib.sha256(text.encode()).hexdigest())
    shape = RowShape.objects.get(pk=row.shape_id)
    texts = history_text.texts_of_shape(registry.of(Link), shape, [row.history_id])
    assert texts is not None and b"title" not in texts[row.history_id]
    leaf = chain.leaf(bytes.fromhex(row.salt), chain.change_content(row.model, numbering.moment(row.written_at), texts[row.history_id]))
    before = JournalRow.objects.filter(stream=acme.pk, number=row.number - 1).values_list("digest", flat=True).first()
    head = chain.following(chain.Head(row.number - 1, before or chain.START.digest), leaf)
    JournalRow.objects.filter(pk=row.pk).update(leaf=leaf, digest=head.digest)
    ChainHead.objects.filter(pk=acme.pk).update(digest=head.digest)

    again = numbering.read_again(acme.pk, row.number, row.number, segment=row.segment or 0, timeline=1)
    assert again.altered == [] and again.section.head == head
    assert again.section.models["l2l_subscriptions.link"]["columns"] == columns
