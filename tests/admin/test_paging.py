"""Long lists are counted as far as a person reads, and every row of them is still reached."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.paginator import EmptyPage, PageNotAnInteger
from django.db import connection
from django.db.models import F
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from audit import paging
from audit.models import Stream
from audit.paging import CappedPaginator


@pytest.fixture
def seven(db: None) -> Any:
    """Streams, by name."""
    Stream.objects.bulk_create(Stream(name=f"p{number}") for number in range(7))
    return Stream.objects.filter(name__startswith="p").order_by("name")


def names(page: Any) -> list[str]:
    return [stream.name for stream in page]


def test_a_short_list_is_counted_exactly(seven: Any) -> None:
    pages = CappedPaginator(seven, 3)
    assert (pages.count, pages.num_pages, pages.more, pages.template_name) == (7, 3, False, "")
    assert names(pages.page(3)) == ["p6"]
    with pytest.raises(EmptyPage):
        pages.page(4)


def test_a_long_list_is_counted_so_far_and_all_of_it_is_reached(seven: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paging, "MOST_COUNTED", 4)
    pages = CappedPaginator(seven, 3)
    with CaptureQueriesContext(connection) as captured:
        assert (pages.count, pages.more) == (5, True)
    assert "LIMIT 5" in captured[0]["sql"] and "ORDER BY" not in captured[0]["sql"]
    assert [names(pages.page(number)) for number in (1, 2, 3, 4)] == [["p0", "p1", "p2"], ["p3", "p4", "p5"], ["p6"], []]
    for number, error in ((0, EmptyPage), ("x", PageNotAnInteger)):
        with pytest.raises(error):
            pages.page(number)


def test_the_list_says_that_there_are_more_and_goes_on(
    seven: Any, as_: Callable[[str], Client], belongings: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    belongings("acme")
    belongings("bolt")
    monkeypatch.setattr(paging, "MOST_COUNTED", 1)
    page = as_("otto").get(reverse("admin:l2l_subscriptions_customer_changelist")).content.decode()
    assert "more than 1 customers" in page and "Page 1" in page and "2 results" not in page
    monkeypatch.setattr(paging, "MOST_COUNTED", 2)
    assert "more than" not in as_("otto").get(reverse("admin:l2l_subscriptions_customer_changelist")).content.decode()


def test_rows_of_a_persons_own_customers_are_sorted_and_not_looked_for_along_the_order_of_all(
    as_: Callable[[str], Client], belongings: Callable[..., Any], people: dict[str, User]
) -> None:
    belongings("acme", people["ada"])
    listed = {}
    for name in ("ada", "otto"):
        client = as_(name)
        with CaptureQueriesContext(connection) as captured:
            assert "P-1" in client.get(reverse("admin:l2l_subscriptions_datarecord_changelist")).content.decode()
        [statement] = [one["sql"] for one in captured if 'FROM "l2l_subscriptions_datarecord"' in one["sql"] and "ORDER BY" in one["sql"]]
        listed[name] = statement.partition("ORDER BY")[2].strip()
    assert listed["otto"].startswith('"l2l_subscriptions_datarecord"."id" DESC') and listed["ada"].startswith("COALESCE(")


@pytest.mark.parametrize("ordering", [["name"], ["-name"], ["-pk"], ["name", "-pk"], [F("name").desc(nulls_last=True), "pk"]])
def test_sorting_the_whole_gives_the_same_order(seven: Any, ordering: list[Any]) -> None:
    expected = [stream.pk for stream in seven.order_by(*ordering)]
    assert [stream.pk for stream in seven.order_by(*paging.sorted_whole(Stream, ordering))] == expected
