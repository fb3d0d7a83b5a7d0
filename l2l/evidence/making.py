"""Makes a pack: read in one moment, sampled, summed up, signed, read back with the verifier, and only then given its name (P13).

Nothing half-made ever has the name that was asked for: it is written beside it, with 0600, and renamed last. Whatever stands under that
name already is left alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, BinaryIO

from django.conf import settings

from audit import evidence
from audit.durability import flush
from audit.populations import Period, Reconciled, all_populations
from audit.populations.sql import one_moment
from audit.promises import PROMISES
from backups import policies
from backups.errors import BackupError
from backups.vault import Vault
from l2l.evidence import summary, verify_evidence, writing
from l2l.evidence.packing import Unfinished, Writer
from l2l.evidence.verify_evidence import FORMAT, folder_name
from l2l.evidence.writing import Listed

README = Path(__file__).with_name("readme.txt")
DAY = timedelta(days=1)
EARLIEST = date(1970, 1, 1)
SEED = re.compile(r"[\w.-]{0,64}", re.ASCII)

Tell = Callable[[str], Any]


class NotMade(BackupError):
    """The pack could not be made as it should be; nothing stands under its name."""


@dataclass(frozen=True, slots=True)
class Made:
    """What stands at `path`. `unreconciled` are the equations that do not hold, a sentence each: the pack tells of them too."""

    path: Path
    size: int
    sha256: str
    rows: dict[str, int]
    unreconciled: tuple[str, ...]
    fingerprint: str


def period_of(first: date, last: date, now: datetime) -> Period:
    """From the first day's beginning to the last one's end, in the policy's zone. Raises `NotMade`."""
    if last < first:
        raise NotMade(f"The period ends ({last}) before it begins ({first}).")
    if first < EARLIEST:
        raise NotMade(f"The period begins on {first}, when there was nothing to prove. Choose {EARLIEST} or a later day.")
    zone = policies.zone_at(now)
    if last > now.astimezone(zone).date():
        raise NotMade(f"The period ends on {last}, which is to come. Choose today or an earlier day.")
    return Period(datetime.combine(first, time.min, zone), datetime.combine(last + DAY, time.min, zone))


def make(vault: Vault, period: Period, *, seed: str, path: Path, ident: uuid.UUID, tell: Tell = lambda _: None) -> Made:
    """The pack at `path`. Stands inside `audit.acting(...)`. Raises `NotMade`, `PackTooLarge`, `NoHead`, `OSError`."""
    if path.exists():
        raise NotMade(f"{path} is there already. Choose another name, or take it away first.")
    partial = path.with_name(f".{path.name}.{ident}.partial")  # two who make one at once do not take each other's
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    evidence.sign_head(vault.signer, vault.clock())  # all that was recorded so far stands under it
    try:
        with os.fdopen(os.open(partial, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600), "w+b") as file:
            lists = _written(vault, period, seed, ident, file, tell)
            file.flush()
            os.fsync(file.fileno())
            tell("reading it back")
            _read_back(file, vault.fingerprint)
        made = _made(partial, path, lists, vault.fingerprint)
        _name(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    flush(path.parent)
    return made


def _name(partial: Path, path: Path) -> None:
    try:
        os.link(partial, path)
    except FileExistsError:
        raise NotMade(f"{path} was made by somebody else meanwhile. Choose another name, or take it away first.") from None


def _written(vault: Vault, period: Period, seed: str, ident: uuid.UUID, file: BinaryIO, tell: Tell) -> list[Listed]:
    writer, now = Writer(file), vault.clock()
    writer.add("verify_evidence.py", [_verifier()])
    tell("reading the lists")
    lists, span = _of_one_moment(writer, period, seed, now)
    manifest = _manifest(vault, period, seed, ident, now, lists, span)
    _sample(writer, lists, tell)
    writer.add("versions.json", writing.json_pieces({"software": vault.software_version, "pack": FORMAT, "made_at": manifest["made_at"]}))
    tell("the summary")
    writer.add("summary.pdf", [summary.paper(Unfinished(writer, manifest), lists, settings.L2L_SAMPLE)])
    writer.add("README.txt", [_readme(manifest).encode()])
    writer.finish(manifest, vault.signer.sign)
    return lists


def _of_one_moment(writer: Writer, period: Period, seed: str, now: datetime) -> tuple[list[Listed], writing.Span]:
    """Whoever wants to tell how far it is waits meanwhile: nothing may be written."""
    with one_moment():
        lists = list(_lists(writer, period, seed))
        _controls(writer, period, now)
        span = _trail(writer, period)
    writer.add("policy/promises.json", writing.json_pieces(_promises()))
    return lists, span


def _lists(writer: Writer, period: Period, seed: str) -> Iterator[Listed]:
    for population in all_populations():
        one = Listed(population, period, seed)
        writer.add(f"populations/{population.name}.csv", one.pieces())
        one.reconcile()
        writer.add(f"populations/{population.name}.json", writing.json_pieces(one.document))
        yield one


def _controls(writer: Writer, period: Period, now: datetime) -> None:
    writer.add("controls/readings.csv", writing.csv_pieces(writing.READING_COLUMNS, writing.readings(period)))
    writer.add("controls/changes.csv", writing.csv_pieces(writing.CHANGE_COLUMNS, writing.changes(period)))
    writer.add("controls/gaps.csv", writing.csv_pieces(("from", "to", "hours"), writing.gaps(period, now)))


def _trail(writer: Writer, period: Period) -> writing.Span:
    span = writing.span_of(period)
    writer.add("evidence/events.csv", writing.csv_pieces(writing.EVENT_COLUMNS, writing.events_of(span)))
    writer.add("evidence/heads.ndjson", writing.heads_of(span))
    writer.add("evidence/anchors.ndjson", writing.anchors_of(period))
    return span


def _promises() -> list[dict[str, Any]]:
    return [{"number": one.number, "sentence": one.sentence, "criteria": list(one.criteria)} for one in PROMISES.values()]


def _sample(writer: Writer, lists: list[Listed], tell: Tell) -> None:
    for one in lists:
        evidence_of = one.population.evidence
        if evidence_of is None:
            continue
        for key in one.sample:
            tell(f"evidence of {one.population.name} {key}")
            folder = f"sample/{one.population.name}/{folder_name(key)}"
            for name, data in sorted(evidence_of(key).items()):
                writer.add(f"{folder}/{name}", [data])


def _manifest(
    vault: Vault, period: Period, seed: str, ident: uuid.UUID, now: datetime, lists: list[Listed], span: writing.Span
) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "id": str(ident),
        "sample": bool(settings.L2L_SAMPLE),
        "period": {
            "first": period.first.isoformat(),
            "last": period.last.isoformat(),
            "begins": period.begins.astimezone(UTC).isoformat(),
            "ends": period.ends.astimezone(UTC).isoformat(),
            "zone": str(period.begins.tzinfo),
        },
        "seed": seed,
        "made_at": now.astimezone(UTC).isoformat(),
        "software": vault.software_version,
        "policy_versions": [one.number for one in policies.versions()],
        "populations": {one.population.name: {"rows": one.count, "unreconciled": len(one.unreconciled)} for one in lists},
        "evidence": span.document,
    }


def _readme(manifest: dict[str, Any]) -> str:
    customers = manifest["populations"].get("customers", {"rows": 0})["rows"]
    return README.read_text().format(
        sample="  *** SAMPLE: of an installation that holds no real data ***" if manifest["sample"] else "",
        customers=f"{customers:,}",
        first=manifest["period"]["first"],
        last=manifest["period"]["last"],
        zone=manifest["period"]["zone"],
        made_at=manifest["made_at"],
        software=manifest["software"],
        seed=manifest["seed"],
        verifier_sha256=hashlib.sha256(_verifier()).hexdigest(),
    )


def _verifier() -> bytes:
    return Path(verify_evidence.__file__).read_bytes()


def _read_back(file: BinaryIO, fingerprint: str) -> None:
    """By the same code that the auditor runs."""
    try:
        _, found = verify_evidence.verify(file, fingerprint)
    except verify_evidence.NotGenuine as problem:
        raise NotMade(f"The pack does not read back as it was written: {problem}. Look at the disk, then ask again.") from None
    if found.wrong:
        raise NotMade(f"The pack contradicts itself when it is read back: {'; '.join(found.wrong[:5])}")


def _made(partial: Path, path: Path, lists: list[Listed], fingerprint: str) -> Made:
    with partial.open("rb") as file:
        sha256, size, _ = verify_evidence.digests(iter(lambda: file.read(verify_evidence.PIECE), b""))
    return Made(
        path=path,
        size=size,
        sha256=sha256,
        rows={one.population.name: one.count for one in lists},
        unreconciled=tuple(_misfit(one, bad) for one in lists for bad in one.unreconciled),
        fingerprint=fingerprint,
    )


def _misfit(one: Listed, bad: Reconciled) -> str:
    return f"{one.population.name}: {bad.says}: {bad.expected:,} and {bad.found:,}"


def seed_for(ident: uuid.UUID, now: datetime) -> str:
    """A seed that nobody chose to please a sample: from the pack's random id and the moment of asking."""
    return hashlib.sha256(f"{ident}/{now.isoformat()}".encode()).hexdigest()[:16]


def checked_seed(seed: str) -> str:
    """A seed as it may stand in a text that people copy; `NotMade` for another one."""
    if not SEED.fullmatch(seed):
        raise NotMade("A seed has up to 64 letters, digits, dots, hyphens and underscores.")
    return seed
