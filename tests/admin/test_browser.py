"""A real browser signs in and walks from a customer over its content and history to a set."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections

import audit
from audit.grants import grant_role
from audit.roles import Role
from backups.models import Run, Slot
from backups.policies import ensure_first_policy
from backups.slots import month_of
from tests.admin.conftest import Belongings, url
from tests.admin.measured import a_day, stand

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: the walk with a real browser is left out"),
]


@pytest.fixture
def no_connection_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server's threads keep none open, or PostgreSQL's test database could not be removed."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)


@pytest.fixture
def kept_month(own: Belongings) -> str:
    """The month of the customer's set, decided."""
    month = month_of(own.backup_set.night)
    about = {"state": "filled", "policy": 1, "decided_at": datetime.now(UTC), "backup_set": own.backup_set}
    Slot.objects.create(stream_id=own.customer.pk, key=month.key, first=month.first, last=month.last, **about)
    return f"{month.first:%B %Y}"


@pytest.fixture
def browser(own: Belongings, failed_night: None, kept_month: str, ripe: None, no_connection_stays: None) -> Iterator[Any]:
    """The rows are made before it: no query of ours may run in the thread while Playwright's event loop does."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: the walk with a real browser is left out")
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield found
        found.close()


@pytest.fixture
def page(browser: Any, live_server: Any) -> Any:
    """A page on a phone."""
    return browser.new_page(base_url=live_server.url, viewport={"width": 390, "height": 844})


@pytest.fixture
def failed_night(own: Belongings) -> None:
    Run.objects.filter(pk=own.run.pk).update(state="failed", trouble="the disk is full", backup_set=None)


@pytest.fixture
def ripe(people: dict[str, Any], settings: Any) -> None:
    """Olga and rita have had their roles for a month."""
    settings.L2L_SAMPLE = True
    ensure_first_policy()
    since = datetime.now(UTC) - timedelta(days=30)
    with audit.acting("setup", reason="a test"):
        for name, role in (("olga", Role.BACKUP_OPERATOR), ("rita", Role.RECEIPT_APPROVER)):
            people[name].groups.clear()
            grant_role(people[name], role, reason="a test", now=datetime.now(UTC), since=since)


def sign_in(page: Any, name: str) -> None:
    page.goto("/")
    page.fill("#id_username", name)
    page.fill("#id_password", "pw")
    page.click("button[type=submit]")
    page.wait_for_url("**/")


def fits(page: Any) -> bool:
    """Whether nothing stands beyond the right edge of the screen."""
    return page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") == 0


@pytest.mark.django_db(transaction=True)
def test_an_account_manager_changes_a_record_and_reads_its_history(page: Any, own: Belongings) -> None:
    problems: list[str] = []
    page.on("pageerror", lambda problem: problems.append(str(problem)))
    sign_in(page, "ada")
    page.goto(url("customer_changelist"))
    page.click("text=acme works")
    page.wait_for_url("**/overview/")
    page.click("a.bo-tile:has-text('Data records')")
    page.click("text=P-1")
    page.fill("#id_data", '{"colour": "crème"}')
    page.fill("#id_change_reason", "The customer asked")
    page.click("button[name=_continue]")
    page.wait_for_selector("text=was changed successfully")
    page.goto(url("datarecord_history", own.record.pk))
    assert "The customer asked" in page.inner_text(".bo-timeline")
    assert "blue → crème" in page.inner_text(".bo-timeline")
    page.goto(url("backupset_changelist"))
    page.click("table >> text=acme")
    assert "whole, and read back, at every required location" in page.inner_text("main, #main")
    assert (fits(page), problems) == (True, [])


@pytest.mark.django_db(transaction=True)
def test_an_account_manager_looks_at_what_is_kept_and_opens_a_set_by_keyboard(page: Any, kept_month: str, own: Belongings) -> None:
    sign_in(page, "ada")
    page.goto(url("customer_overview", own.customer.pk))
    page.click("text=Kept backups")
    page.wait_for_selector("text=What is promised for acme")
    assert fits(page)
    page.focus(f"a.bo-slot[title^='{kept_month}: filled']")
    page.keyboard.press("Enter")
    page.wait_for_selector("text=Why it is kept")
    assert f"Chosen for {kept_month}" in page.inner_text("main, #main") and fits(page)


@pytest.mark.django_db(transaction=True)
def test_an_operator_retries_a_failed_night_from_the_list(page: Any, own: Belongings) -> None:
    page.set_viewport_size({"width": 1280, "height": 900})
    sign_in(page, "olga")
    page.click("text=One run of the night of")
    page.check("input.action-select")
    page.select_option("select[name=action]", "retry")
    page.click("#changelist-actions button[type=submit]")
    page.fill("#id_reason", "the disk has room again")
    page.click("button:has-text('Retry')")
    page.wait_for_selector("text=1 of 1 runs: due now.")
    page.goto(url("run_change", own.run.pk))
    assert "It waits for the worker" in page.inner_text("main, #main") and "the disk has room again" in page.inner_text("main, #main")


@pytest.mark.django_db(transaction=True)
def test_two_people_change_the_policy(page: Any, browser: Any, live_server: Any) -> None:
    sign_in(page, "olga")
    page.goto(url("backuppolicy_changelist"))
    page.click("text=Change the policy")
    page.fill("#id_nightly_days", "60")
    page.fill("#id_why", "the new contract says so")
    page.click("button:has-text('What if?')")
    page.wait_for_selector("text=It begins at once, with its approval.")
    assert fits(page)
    page.click("button:has-text('Ask for it')")
    page.wait_for_selector("text=It waits for another person")
    other = browser.new_context(base_url=live_server.url).new_page()
    sign_in(other, "rita")
    other.click("text=olga asks to change the backup policy")
    other.click("text=Approve")
    other.fill("#id_password", "pw")
    other.click("button:has-text('Approve')")
    other.wait_for_selector("text=version 2 of the policy is in force from")


@pytest.fixture
def a_broken_promise(measured: Any) -> None:
    stand("of-p3-too", "broken", figure="2 things", why="2 copies are owed to vault.", todo="Mend the location vault.")
    for back in range(30):
        a_day("of-p3-too", datetime.now(UTC).date() - timedelta(days=back), "at risk" if back == 9 else "kept")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_the_policy_is_read_on_a_phone_and_a_desk_in_light_and_dark(
    width: int, scheme: str, a_broken_promise: None, browser: Any, live_server: Any
) -> None:
    problems: list[str] = []
    page = browser.new_page(base_url=live_server.url, viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.on("pageerror", lambda problem: problems.append(str(problem)))
    sign_in(page, "otto")
    assert page.inner_text("#policy-word") == "1 broken, 13 kept"
    assert fits(page) and contrast(page, "#policy-word") >= 4.5 and contrast(page, "#P3 .bo-badge") >= 4.5
    page.focus("#P3 a.bo-sentence")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/controls/#P3")
    page.click("text=What of-p3-too counts")
    page.wait_for_selector("text=Mend the location vault.")
    assert "at risk on 1" in page.get_attribute(".bo-tall svg", "aria-label")
    assert (fits(page), problems) == (True, [])


def contrast(page: Any, element: str) -> float:
    """Of the text against what is behind it, as WCAG counts it."""
    return page.evaluate(CONTRAST, element)


CONTRAST = """
element => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const laid = [];
  for (let at = document.querySelector(element); at; at = at.parentElement) laid.unshift(getComputedStyle(at).backgroundColor);
  const drawn = colours => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of ["white", ...colours]) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map(one => one / 255)
      .map(one => one <= .04045 ? one / 12.92 : ((one + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const [dark, light] = [drawn(laid), drawn([...laid, getComputedStyle(document.querySelector(element)).color])].sort((a, b) => a - b);
  return (light + .05) / (dark + .05);
}
"""
