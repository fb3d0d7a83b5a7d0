"""Which seconds can be restored: what is said to be covered can be had, and what cannot is a gap that is named."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from backups.choosing import At
from backups.coverage import Coverage, covered
from backups.errors import Gap, NotCovered
from backups.restore import restore
from backups.vault import Vault
from tests.backups.shipping import ship
from tests.backups.test_back_up import backed_up
from tests.backups.test_moments import MICROSECOND, Told, record, restored, story, tars, told

__all__ = ["story", "told"]
pytestmark = pytest.mark.django_db(transaction=True)


def ends(found: Coverage) -> dict[str, datetime]:
    return {span.place: span.end for span in found.spans}


def test_everything_is_covered_until_the_newest_segment(story: list[datetime], acme: Any, vault: Vault, told: Told, tmp_path: Path) -> None:
    newest = ship(vault)
    found = covered(vault, acme.pk)
    assert ends(found) == {"": newest.until, "primary": newest.until, "offsite": newest.until}
    assert found.until == newest.until and not found.gaps
    assert {span.start for span in found.spans} == {story[0]}
    restore(vault, acme, tmp_path / "out", at=At(found.until - MICROSECOND))
    assert restored(tmp_path / "out", acme) == told.at(story[-1])[0]
    with pytest.raises(NotCovered):
        restore(vault, acme, tmp_path / "later", at=At(found.until))


def test_a_location_that_lacks_a_segment_covers_less(story: list[datetime], acme: Any, vault: Vault, folders: Any) -> None:
    tars(folders["offsite"])[3].unlink()
    found = covered(vault, acme.pk)
    reach = ends(found)
    assert reach["offsite"] < story[3] < reach["primary"] == reach[""] == found.until
    (hole,) = found.gaps
    assert (hole.place, hole.first, hole.last, hole.after) == ("offsite", 4, 4, reach["offsite"])
    assert hole.before == found.until and "segment 4 is missing or damaged at offsite" in hole.text


def test_a_gap_everywhere_ends_what_is_covered(story: list[datetime], acme: Any, vault: Vault, folders: Any, tmp_path: Path) -> None:
    for folder in folders.values():
        tars(folder)[3].unlink()
    found = covered(vault, acme.pk)
    assert {hole.place for hole in found.gaps} == {"", "primary", "offsite"}
    assert found.until is not None and found.until < story[3]
    assert restore(vault, acme, tmp_path / "out", at=At(found.until - MICROSECOND)).good
    with pytest.raises(Gap):
        restore(vault, acme, tmp_path / "later", at=At(story[3]))


def test_a_new_set_covers_what_a_gap_had_taken(story: list[datetime], acme: Any, vault: Vault, folders: Any, clock: Any) -> None:
    for folder in folders.values():
        tars(folder)[3].unlink()
    clock.forward(days=1)
    backed_up(vault, acme)
    newest = ship(vault)
    found = covered(vault, acme.pk)
    assert found.until == newest.until and not found.gaps


def test_points_say_for_what_they_are_kept(acme: Any, vault: Vault) -> None:
    record(acme, "1")
    ship(vault)
    backed_up(vault, acme)
    (point,) = covered(vault, acme.pk).points
    assert (point.tier, point.reason, point.places, point.protected) == ("asked", "a person asked for it", ("primary", "offsite"), True)
    assert (point.number, point.segment, point.timeline) == (1, 1, 1)


def test_without_a_segment_only_what_a_set_has_is_covered(acme: Any, vault: Vault) -> None:
    record(acme, "1")
    assert covered(vault, acme.pk) == Coverage((), (), (), None, ())
    backed_up(vault, acme)
    found = covered(vault, acme.pk)
    assert len(found.points) == 1 and found.spans == found.gaps == () and found.until is None
