"""Find in backups: text, items, versions, "give me this one": an export with its reason, made by the queue, downloaded and recorded."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.files.base import ContentFile
from django.test import Client
from django_q.models import OrmQ

import audit
from audit import clock
from audit.models import Event, Stream
from backups import item_exports, tasks
from backups import vault as vaults
from backups.hot import shipper
from backups.models import ItemExport
from backups.nightly import back_up
from subscriptions.models import Export
from tests.admin.conftest import PDF, Belongings, url
from tests.admin.test_backup_now import home, installed

__all__ = ["home", "installed"]
As = Callable[[str], Client]


@pytest.fixture
def exports(installed: Path, settings: Any, tmp_path: Path) -> Path:
    settings.L2L_EXPORTS = tmp_path / "exports"
    return tmp_path / "exports"


@pytest.fixture
def kept(exports: Path, own: Belongings) -> Belongings:
    """Two versions of an upload, a set, and what came after it shipped."""
    vault = vaults.from_settings()
    with audit.acting("setup", reason="a correction", source="test"):
        back_up(vault, Stream.objects.get(pk=own.customer.pk))
        own.upload.file = ContentFile(b"the second version", "x")
        own.upload.save()
        shipper.ship_once(vault)
    return own


def find(client: Client, one: Belongings, text: str) -> Any:
    return client.get(url("customer_find", one.customer.pk), {"q": text})


def take(client: Client, one: Belongings, version: int, **values: str) -> Any:
    about = f"?model=l2l_subscriptions.uploadedcontent&key={one.upload.pk}&version={version}"
    return client.post(url("customer_take", one.customer.pk) + about, {"reason": "the customer lost it"} | values, follow=True)


def work() -> None:
    """What the worker does with the messages in the queue."""
    for message in OrmQ.objects.order_by("pk"):
        if message.task["func"] == "backups.tasks.export_item":
            tasks.export_item(*message.task["args"])
        message.delete()


def first_version(one: Belongings) -> int:
    return int(type(one.upload).history.filter(id=one.upload.pk).earliest().history_id)


def test_a_text_finds_the_item_with_its_versions(kept: Belongings, as_: As) -> None:
    page = find(as_("ada"), kept, "MANUALS").content.decode()
    assert "manuals/Über.pdf" in page and page.count("Give me this one") == 2 and "a correction" in page and "live" in page


def test_nothing_found_says_what_to_do(kept: Belongings, as_: As) -> None:
    assert "--in-sets" in find(as_("ada"), kept, "nowhere to be found").content.decode()
    assert "at least 2" in find(as_("ada"), kept, "x").content.decode()


def test_nobody_looks_into_a_foreign_customer(kept: Belongings, foreign: Belongings, as_: As) -> None:
    assert "P-1" not in find(as_("ada"), foreign, "P-1").content.decode()
    client = as_("olga")
    about = f"?model=l2l_subscriptions.datarecord&key={foreign.record.pk}"
    assert client.get(url("customer_take", kept.customer.pk) + about).status_code == 404  # it is another customer's


def test_who_may_only_look_takes_nothing(kept: Belongings, as_: As) -> None:
    page = find(as_("otto"), kept, "manuals").content.decode()
    assert "manuals" in page and "Give me this one" not in page
    assert take(as_("otto"), kept, first_version(kept)).status_code == 403
    assert not ItemExport.objects.exclude(pk__in=[kept.item_export.pk]).exists()


def test_the_chosen_version_comes_and_is_on_record(kept: Belongings, as_: As, exports: Path) -> None:
    client, version = as_("ada"), first_version(kept)
    page = take(client, kept, version)
    asked = ItemExport.objects.get(reason="the customer lost it")
    assert "waits for the worker" in page.content.decode() and asked.by == "ada"
    assert client.get(url("itemexport_download", asked.pk), follow=True).redirect_chain  # not there yet
    work()
    asked.refresh_from_db()
    assert (asked.state, asked.trouble) == ("ready", "")
    answer = client.get(url("itemexport_download", asked.pk))
    archive = zipfile.ZipFile(io.BytesIO(b"".join(answer.streaming_content)))
    (chosen,) = [name for name in archive.namelist() if name.startswith("chosen version/") and not name.endswith("row.json")]
    assert archive.read(chosen) == PDF
    assert json.loads(archive.read("chosen version/row.json"))["history_id"] == version
    assert archive.read(f"files/{kept.upload.file.name}") == b"the second version"
    assert json.loads(archive.read("restore.json"))["moment"]["number"]
    export = Export.objects.get(path=str(exports / f"item-{asked.pk}" / "item.zip"))
    assert (export.by, export.reason, export.expires_at) == ("ada", "the customer lost it", asked.expires_at)
    event = Event.objects.get(event="file:downloaded")
    assert (event.subject, event.customer, event.actor) == (f"l2l_backups.itemexport:{asked.pk}", kept.customer.pk, "ada")
    assert as_("otto").get(url("itemexport_download", asked.pk)).status_code == 403


def test_without_a_reason_nothing_is_asked_for(kept: Belongings, as_: As) -> None:
    take(as_("ada"), kept, first_version(kept), reason=" ")
    assert ItemExport.objects.count() == 1


def test_it_is_made_once_however_often_the_queue_delivers(kept: Belongings, as_: As) -> None:
    take(as_("ada"), kept, first_version(kept))
    asked = ItemExport.objects.get(reason="the customer lost it")
    assert tasks.export_item(asked.pk) == "ready" and tasks.export_item(asked.pk) == "not waiting"
    assert Export.objects.filter(customer=kept.customer, by="ada").count() == 1


def test_a_failure_is_said_and_leaves_nothing(kept: Belongings, as_: As, exports: Path, installed: Path) -> None:
    take(as_("ada"), kept, first_version(kept))
    asked = ItemExport.objects.get(reason="the customer lost it")
    for path in installed.iterdir():
        path.rename(path.with_name(f"{path.name}-gone"))
    assert tasks.export_item(asked.pk) == "running"  # as it was claimed; its row tells the rest
    asked.refresh_from_db()
    assert asked.state == "failed" and "No location can be used" in asked.trouble
    assert list(exports.iterdir()) == []
    assert "ask for it again" in as_("ada").get(url("itemexport_change", asked.pk)).content.decode()


def test_what_a_killed_worker_left_is_ended(kept: Belongings, as_: As, exports: Path) -> None:
    take(as_("ada"), kept, first_version(kept))
    asked = ItemExport.objects.get(reason="the customer lost it")
    item_exports.folder_of(asked).mkdir(parents=True)
    ItemExport.objects.filter(pk=asked.pk).update(state="running", holder=f"{item_exports.process_name().split(':')[0]}:999999999:1")
    item_exports.recover(clock.now())
    asked.refresh_from_db()
    assert asked.state == "failed" and list(exports.iterdir()) == []


def test_it_goes_after_its_time(kept: Belongings, as_: As, exports: Path) -> None:
    take(as_("ada"), kept, first_version(kept))
    work()
    asked = ItemExport.objects.get(reason="the customer lost it")
    item_exports.expire(clock.now())
    assert ItemExport.objects.get(pk=asked.pk).state == "ready"
    later = clock.now() + timedelta(days=8)
    item_exports.expire(later)
    asked.refresh_from_db()
    assert asked.state == "removed" and list(exports.iterdir()) == []
    assert Export.objects.get(by="ada").removed_at == later
    assert as_("ada").get(url("itemexport_download", asked.pk)).status_code == 302
