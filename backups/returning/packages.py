"""Where packages lie, and their removal: below the exports' folder, which only this user can open (P10, P12)."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from django.conf import settings

from audit.durability import flush
from subscriptions.ending import returns
from subscriptions.ending.states import State
from subscriptions.models import DataReturn, DeletionRequest, Export


def folder_of(request: DeletionRequest, number: int) -> Path:
    """Where package `number` of the request lies."""
    return Path(settings.L2L_EXPORTS) / f"return-{request.pk}-{number}"


def building_of(request: DeletionRequest) -> Path:
    """Where the request's next package is made. Whoever makes it clears it first: what is there was left by a killed worker."""
    return Path(settings.L2L_EXPORTS) / f"return-{request.pk}.building"


def folders_of(request: DeletionRequest) -> list[Path]:
    """Those that there are: of every package, and of one that is being made."""
    found = [*Path(settings.L2L_EXPORTS).glob(f"return-{request.pk}-*"), building_of(request)]
    return [folder for folder in found if folder.is_dir()]


def clear_building(request: DeletionRequest) -> Path:
    folder = building_of(request)
    if folder.exists():
        shutil.rmtree(folder)
    return folder


def remove(data_return: DataReturn, *, now: datetime) -> bool:
    """The package goes from our disk and is seen to be gone; returns whether it is. Safe to repeat. Inside of `audit.acting(...)`."""
    path = Path(data_return.path)
    path.unlink(missing_ok=True)
    if path.parent.is_dir() and not any(path.parent.iterdir()):
        path.parent.rmdir()
        flush(path.parent.parent)
    if path.exists():
        return False
    Export.objects.filter(customer=data_return.request.customer_id, path=str(path), removed_at=None).update(removed_at=now)
    if data_return.removed_at is None:
        returns.removed(data_return, now=now)
    return True


def remove_all(request: DeletionRequest, *, now: datetime) -> list[str]:
    """Every package of the request and what was begun of one; returns the paths that are still there. For the destruction, and when a
    request is cancelled. Raises `OSError` when the disk refuses."""
    clear_building(request)
    left = [one.path for one in DataReturn.objects.filter(request=request).select_related("request") if not remove(one, now=now)]
    strays = folders_of(request)
    for stray in strays:
        shutil.rmtree(stray)
    return left + [str(stray) for stray in strays if stray.exists()]


def remove_needless(now: datetime) -> int:
    """Packages of requests that were cancelled, and those whose fault was reported once another one stands; returns how many went."""
    gone = 0
    for one in DataReturn.objects.filter(removed_at=None).select_related("request"):
        replaced = one.fault_at is not None and DataReturn.objects.filter(request=one.request_id, number__gt=one.number).exists()
        if replaced or one.request.state == State.CANCELLED:
            gone += remove(one, now=now)
    return gone
