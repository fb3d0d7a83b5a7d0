"""`manage.py verify [CUSTOMER ...] [--location NAME] [--mend] [--all]`: what is stored is read again, found wrong, mended (P4)."""

from __future__ import annotations

import uuid
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError, CommandParser

from audit import actors
from audit.commands import BackOfficeCommand
from audit.models import Stream
from audit.registry import SYSTEM_STREAM
from audit.sizes import in_units
from backups import vault as vaults
from backups.errors import BackupError
from backups.locations import FORMAT_FILE
from backups.models import Damage
from backups.stores.contract import StoreError
from backups.verification.carrying_out import Turn, Wanted, carry_out
from subscriptions.models import Customer


class Command(BackOfficeCommand):
    help = "Reads stored objects again and says what is missing, altered or unknown. Nothing is put back without --mend."
    known = (BackupError, StoreError)

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("customers", nargs="*", metavar="CUSTOMER", help="short codes, or 'system': all that is theirs is read")
        parser.add_argument("--location", metavar="NAME", help="that location alone; the others still give what it lacks")
        parser.add_argument("--mend", action="store_true", help="put right what is wrong, from another location that has it whole")
        parser.add_argument("--all", dest="everything", action="store_true", help="all that is stored, not only tonight's share")

    def work(self, *, customers: list[str], location: str | None, mend: bool, everything: bool, **options: Any) -> None:
        streams = [_stream(code) for code in customers] or None
        wanted = Wanted(location, streams, everything, mend)
        with actors.acting(actors.of_shell("verify")):
            turns = carry_out(vaults.from_settings(), wanted, self.progress())
        damages = _open_damages(turns, streams)
        self.report([*map(_line, turns), *_details(turns), *map(_damage_line, damages)], _document(turns, damages))
        if not all(turn.good for turn in turns):
            raise CommandError(_what_is_wrong(turns, mend))


def _stream(code: str) -> uuid.UUID:
    return SYSTEM_STREAM if code == "system" else Stream.objects.get(pk=Customer.objects.all().by_code(code).pk).pk


def _open_damages(turns: list[Turn], streams: list[uuid.UUID] | None) -> list[Damage]:
    found = Damage.objects.open().filter(location__name__in=[turn.location for turn in turns])
    found = found if streams is None else found.filter(stream__in=streams)
    return list(found.select_related("location", "stream").order_by("location__position", "name"))


def _line(turn: Turn) -> str:
    return (
        f"{turn.location}: {turn.objects:,} objects ({in_units(turn.bytes)}) read; {turn.found} found wrong, {turn.mended} mended, "
        f"{turn.left} still wrong ({turn.beyond} nowhere whole), {turn.unknown} unknown."
    )


def _details(turns: list[Turn]) -> list[str]:
    lines = []
    for turn in turns:
        lines += [f"{turn.location} cannot be read now, so nothing is said of the rest there: {turn.trouble}"] if turn.trouble else []
        lines += [turn.behind] if turn.behind else []
        lines += [f"{turn.leftovers} leftovers removed at {turn.location}"] if turn.leftovers else []
    return [*lines, *dict.fromkeys(why for turn in turns for why in turn.waits)]


def _damage_line(damage: Damage) -> str:
    nowhere = ", and whole nowhere" if damage.beyond_at else ""
    return f"{damage.location.name}: {damage.name} ({damage.kind}, {damage.stream.name}): {damage.get_what_display()}{nowhere}"


def _document(turns: list[Turn], damages: list[Damage]) -> dict[str, Any]:
    wrong = [
        {
            "location": one.location.name,
            "object": one.name,
            "kind": one.kind,
            "stream": str(one.stream_id),
            "wrong": one.what,
            "beyond": one.beyond_at is not None,
        }
        for one in damages
    ]
    return {"locations": [asdict(turn) for turn in turns], "damaged": wrong}


def _what_is_wrong(turns: list[Turn], mend: bool) -> str:
    left, beyond = sum(turn.left for turn in turns), sum(turn.beyond for turn in turns)
    unknown = sum(turn.unknown for turn in turns)
    told = []
    if left - beyond:
        told.append(f"{left - beyond} copies are not as they should be" + ("" if mend else ": run it with --mend"))
    if beyond:
        told.append(f"{beyond} copies are of objects that no location has whole: the findings name every restore point that this hits")
    if unknown:
        told.append(f"{unknown} objects are known to nobody: see Findings")
    if any(turn.trouble or turn.waits or not turn.finished for turn in turns):
        told.append("not everything could be done, see above; the next one goes on from there")
    if not mend and any(FORMAT_FILE in turn.trouble for turn in turns):
        told.append(f"with --mend a location's {FORMAT_FILE} is put back from another location, if what lies there is ours")
    if any(turn.behind for turn in turns):
        told.append("the checks are not in time, see above")
    return "; ".join(told)[:1].upper() + "; ".join(told)[1:] + "."
