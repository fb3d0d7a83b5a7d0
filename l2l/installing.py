"""Setting up an installation: folders, database, keys with their recovery kit, locations; and the sample customers of `make run`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from django.conf import settings

from audit import clock, evidence
from audit.roles import ensure_roles
from backups import keyfiles, locations, policies
from backups.errors import BackupError
from backups.stores.contract import StoreError
from l2l import deploying, schedules
from l2l.alone import alone
from l2l.sample import add_sample

LOCATION_README = "l2l/location-readme.txt"


def install(*, sample: bool, without_sets: str = "", tell: Callable[[str], None] = lambda _: None) -> Iterator[str]:
    """Does each step that is not done yet and yields what a person should read. `without_sets` is a person's reason to run migrations
    though newest changes are in no good set. Raises `BackupError`, `AuditError`; nothing is replaced."""
    settings.L2L_HOME.mkdir(parents=True, exist_ok=True, mode=0o700)
    with alone():
        yield from _installed(sample=sample, without_sets=without_sets, tell=tell)


def _installed(*, sample: bool, without_sets: str, tell: Callable[[str], None]) -> Iterator[str]:
    if sample:
        mark_as_sample()
    new_kit = keyfiles.make_key_files(settings.L2L_KEYS, clock.now().date().isoformat())
    deploying.migrate(without_sets=without_sets, tell=tell)
    ensure_roles()
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    policies.ensure_first_policy()
    schedules.keep()
    yield from prepare_locations(sample=sample)
    yield from deploying.settle(tell)
    if sample:
        yield from add_sample()
    evidence.sign_head(keyfiles.signer(settings.L2L_KEYS), clock.now())
    if new_kit:
        yield from kit_warning()


def mark_as_sample() -> None:
    """Marks the home as a sample for ever. A home with real data cannot become one."""
    marker = settings.L2L_HOME / "SAMPLE"
    if not marker.exists() and (settings.L2L_KEYS / "master.age").exists():
        raise BackupError(f"{settings.L2L_HOME} is a real installation; it cannot become a sample. Set L2L_HOME to another folder.")
    marker.write_text("This home holds sample data. It is marked for ever; do not keep real data in it.\n")
    settings.L2L_SAMPLE = True


def prepare_locations(*, sample: bool) -> Iterator[str]:
    """Prepares each named location. The default folders are made; a folder named in the environment must exist, for it may be a mount."""
    signer, readme = keyfiles.signer(settings.L2L_KEYS), (Path(settings.BASE_DIR) / LOCATION_README).read_text()
    named = locations.named_locations(settings.L2L_LOCATIONS, settings.L2L_OFFSITE)
    for one in named:
        folder = Path(one.url.removeprefix("file://"))
        if one.url.startswith("file://") and folder.is_relative_to(settings.L2L_HOME):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for place in locations.open_places(named):
        try:
            locations.prepare(place.store, signer, readme, made=clock.now().date().isoformat(), sample=sample)
            place.store.check()
        except StoreError as problem:
            yield f"Location {place.name} cannot be used: {problem}"


def kit_warning() -> Iterator[str]:
    kit = settings.L2L_KEYS / keyfiles.KIT
    yield from (
        "",
        "=" * 78,
        "KEEP THE RECOVERY KIT. It was written just now to",
        f"    {kit}",
        "Print it or store it in a vault, away from this machine, then delete the file.",
        "Without it, backups cannot be opened once this machine is lost.",
        f"Signing key's fingerprint: {keyfiles.signer(settings.L2L_KEYS).fingerprint}",
        "=" * 78,
        "",
    )
