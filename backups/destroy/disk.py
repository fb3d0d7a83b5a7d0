"""What lies beside the locations goes: the package, exports, scratch databases, what runs left in the spool."""

from __future__ import annotations

import shutil
from datetime import datetime
from pathlib import Path

from django.conf import settings

from audit.durability import flush
from backups import item_exports
from backups.destroy import inventory
from backups.models import ItemExport
from backups.returning import packages
from backups.spool import clear
from backups.test_restores import trials
from backups.vault import Vault
from subscriptions.models import Customer, DataReturn, DeletionRequest, Export


def remove_package(customer: Customer, now: datetime) -> tuple[int, int]:
    """Every package that was made for it and still lies here, parts of one that was never finished included. Raises `OSError`."""
    there = _packages(customer)
    size = sum(path.stat().st_size for path in there)
    for request in DeletionRequest.objects.filter(customer=customer):
        packages.remove_all(request, now=now)
    return len(there), size


def package_left(customer: Customer) -> list[str]:
    return [f"{path} is still there" for path in _packages(customer)]


def _packages(customer: Customer) -> list[Path]:
    """The files, wherever a row says that one lies, and in every folder of its requests."""
    found = {Path(path) for path in DataReturn.objects.filter(request__customer=customer).values_list("path", flat=True)}
    for request in DeletionRequest.objects.filter(customer=customer):
        found.update(path for folder in packages.folders_of(request) for path in folder.rglob("*"))
    return sorted(path for path in found if path.is_file() or path.is_symlink())


def remove_exports(vault: Vault, customer: Customer, now: datetime) -> tuple[int, int]:
    """Exports that lie here and are the customer's for certain (`inventory.is_export_of`), items taken from the backups, and what runs left
    in the spool; scratch databases of processes that are gone. The row of an export says when its copy was seen to be gone; of one that
    was taken elsewhere it goes on saying where. Raises `OSError`."""
    gone = size = 0
    for export in Export.objects.filter(customer=customer):
        if inventory.is_export_of(customer, export):
            size, gone = size + _remove(Path(export.path)), gone + 1
            Export.objects.filter(pk=export.pk).update(removed_at=now)
    for item in ItemExport.objects.filter(stream=customer.pk):
        if item_exports.folder_of(item).exists():
            size, gone = size + _remove(item_exports.folder_of(item)), gone + 1
    ItemExport.objects.filter(stream=customer.pk).exclude(state=ItemExport.State.REMOVED).update(state=ItemExport.State.REMOVED)
    gone += len(inventory.spool_of(vault.spool, customer.pk))
    clear(vault.spool, customer.pk)
    trials.sweep(vault.spool)
    Export.objects.filter(customer=customer, path__startswith=f"{Path(settings.L2L_EXPORTS)}/", removed_at=None).update(removed_at=now)
    return gone, size


def exports_left(vault: Vault, customer: Customer) -> list[str]:
    found = inventory.on_disk(customer, vault.spool)
    return [f"{path} is still there" for path in (*found.exports.values(), *found.spool)]


def _remove(path: Path) -> int:
    """Its bytes."""
    if path.is_dir() and not path.is_symlink():
        size = sum(one.lstat().st_size for one in path.rglob("*") if one.is_file())
        shutil.rmtree(path)
    else:
        size = path.lstat().st_size
        path.unlink()
    flush(path.parent)
    return size
