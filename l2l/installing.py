"""Setting up an installation: folders, database, keys with their recovery kit, locations; the sample customers of `make run`; and the
same from the backups alone, when the machine is lost."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

import audit
from audit import actors, clock, evidence, people
from audit.roles import ensure_roles
from backups import keyfiles, locations, policies
from backups import vault as vaults
from backups.errors import BackupError
from backups.keys import recorded
from backups.recovery import carrying_out, state
from backups.recovery.carrying_out import Report
from backups.recovery.keys import AnyMaster
from backups.recovery_kit import put_back_key_files, read_kit
from backups.stores.contract import StoreError
from l2l import deploying, schedules
from l2l.sample import add_sample

LOCATION_README = "l2l/location-readme.txt"


def install(*, sample: bool, without_sets: str = "", tell: Callable[[str], None] = lambda _: None) -> Iterator[str]:
    """Does each step that is not done yet and yields what a person should read. `without_sets` is a person's reason to run migrations
    though newest changes are in no good set. Raises `BackupError`, `AuditError`; nothing is replaced."""
    settings.L2L_HOME.mkdir(parents=True, exist_ok=True, mode=0o700)
    if sample:
        mark_as_sample()
    new_kit = keyfiles.make_key_files(settings.L2L_KEYS, clock.now().date().isoformat())
    deploying.migrate(without_sets=without_sets, tell=tell)
    ensure_roles()
    with audit.acting("init", reason="people as they are stored", source="init"):
        people.keep()
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    policies.ensure_first_policy()
    recorded.ensure_recorded(settings.L2L_KEYS, clock.now())
    schedules.keep()
    yield from prepare_locations(sample=sample)
    yield from deploying.settle(tell)
    if sample:
        yield from add_sample()
    evidence.sign_head(keyfiles.signer(settings.L2L_KEYS), clock.now())
    if new_kit:
        yield from kit_warning()


def recover(location: str, kit_file: Path, *, sample: bool, accept: Sequence[str], tell: Callable[[str], None]) -> Report:
    """The whole service from that location and the recovery kit, on an empty database. Run again, it goes on where it was.

    Raises `BackupError` (keys, a database that is not empty, what cannot be read), `StoreError`, `OSError`.
    """
    kit = read_kit(kit_file)
    if state.under_way() is None:
        state.refuse_full()
    settings.L2L_HOME.mkdir(parents=True, exist_ok=True, mode=0o700)
    if sample:
        mark_as_sample()
    tell("keys")
    put_back_key_files(settings.L2L_KEYS, kit)
    keyfiles.write_once(settings.L2L_KEYS / "django-secret-key", secrets.token_urlsafe(50))
    tell("database")
    call_command("migrate", verbosity=0, interactive=False)
    vault = vaults.from_settings()
    ring = vault.keys.now()
    any_master = AnyMaster(ring.master, ring.escrow, ring.further, ring.wrapping, ring.retired, opens=kit.opens)
    vault = carrying_out.ordered(replace(vault, keys=any_master), location)
    for place in vault.places:
        carrying_out.refuse_sample(place, sample=settings.L2L_SAMPLE)
    with audit.acting(actors.of_shell("recover", reason=f"the service is recovered from {location}")):
        report = carrying_out.recover(vault, location, accept=accept, tell=tell)
    settings.STATIC_ROOT.mkdir(parents=True, exist_ok=True)
    schedules.keep()
    evidence.sign_head(keyfiles.signer(settings.L2L_KEYS), clock.now())
    return report


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
