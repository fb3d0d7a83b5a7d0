"""A folder of plausible manufacturing data to import, made by the project itself: the same bytes for the same seed and size.

It has on purpose what real data has: accents, quotes, commas and line breaks in fields, and files with odd names.
"""

from __future__ import annotations

import csv
import random
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

Size = Literal["small", "large"]
Table = Iterator[tuple[str, ...]]

_BEGINNING = datetime(2025, 1, 6, 6, 0, tzinfo=UTC)
_PLACES = ("Halle 1", "Halle 2", "Zürich", "São Paulo", "Building C, upper floor", "Łódź")
_MACHINES = ("Press", "Lathe", "Fräse", "Laser cutter", "Paint line", 'Bender 24"', "Conveyor", "Four à recuire")
_PARTS = ("Bracket", "Gear, 12 teeth", 'Tube 3/4"', "Kugellager", "Écrou M8", "Seal ring", "Housing", "Zahnrad (gehärtet)")
_REASONS = ("Tool change", "Jam at infeed", "No material", "Wartung", "Power dip", "Operator break", "Défaut capteur")
_PEOPLE = ("J. Müller", "A. Nowak", "R. O'Brien", "Sofía Peña", "K. Šimůnek", "李 Wei")
_NOTES = (
    "",
    "Done as planned.",
    'Measured 12.04 mm, limit is 12.05 mm ("tight").',
    "Called maintenance, waited;\nthey came at 14:20.\n\nBack to normal after a reset.",
    "Vérifié deux fois; à revoir lundi.",
    "Größe 50 µm, Temperatur 21 °C",
    "see photo, page 2",
)
_FILE_NAMES = (
    "manuals/Wartungsplan {n}.txt",
    "manuals/100% check (final) {n}.txt",
    "photos/Störung {n}.png",
    "photos/machine #{n}.png",
    "drawings/pièce {n}, rév. B.bin",
    "drawings/part+{n}.dwg",
    "readme {n}",
    "measurements/2026/week {n}/raw.bin",
)


@dataclass(frozen=True, slots=True)
class _Counts:
    machines: int
    parts: int
    work_orders: int
    downtimes: int
    uploads: int
    links: int


_SIZES = {"small": _Counts(12, 48, 140, 100, 12, 6), "large": _Counts(60, 640, 2500, 1800, 60, 6)}


def write_sample(folder: Path, *, seed: int, size: Size) -> None:
    """Writes `records/`, `uploads/` and `links.csv`: about 300 records, 12 files and 6 links, or 5,000, 60 and 6. The folder may exist."""
    counts, chance = _SIZES[size], random.Random(seed)  # noqa: S311  (a sample, no secret)
    for kind, columns, rows in _tables(counts, chance):
        _write_table(folder / "records" / f"{kind}.csv", columns, rows)
    for number in range(1, counts.uploads + 1):
        _write_upload(folder / "uploads", number, chance)
    _write_table(folder / "links.csv", ("reference", "title", "url"), _links(counts))


def _tables(counts: _Counts, chance: random.Random) -> Iterator[tuple[str, tuple[str, ...], Table]]:
    yield "Machine", ("Machine", "Name", "Place", "Year", "Remarks"), _machines(counts, chance)
    yield "Part", ("PartNumber", "Name", "Unit", "Weight kg", "Price EUR"), _parts(counts, chance)
    yield "WorkOrder", ("WorkOrder", "Part", "Machine", "Quantity", "Start", "Done by", "Notes"), _work_orders(counts, chance)
    yield "Downtime", ("Downtime", "Machine", "Began", "Minutes", "Reason", "Notes"), _downtimes(counts, chance)


def _machines(counts: _Counts, chance: random.Random) -> Table:
    for n in range(1, counts.machines + 1):
        yield f"M-{n:03}", f"{chance.choice(_MACHINES)} {n}", chance.choice(_PLACES), str(chance.randint(1987, 2025)), chance.choice(_NOTES)


def _parts(counts: _Counts, chance: random.Random) -> Table:
    for n in range(1, counts.parts + 1):
        yield f"P-{n:05}", chance.choice(_PARTS), chance.choice(("pcs", "m", "kg")), _amount(chance, 9), _amount(chance, 250)


def _work_orders(counts: _Counts, chance: random.Random) -> Table:
    for n in range(1, counts.work_orders + 1):
        part, machine = f"P-{chance.randint(1, counts.parts):05}", f"M-{chance.randint(1, counts.machines):03}"
        quantity, person = str(chance.randint(1, 5000)), chance.choice(_PEOPLE)
        yield f"WO-{n:06}", part, machine, quantity, _moment(chance, n), person, chance.choice(_NOTES)


def _downtimes(counts: _Counts, chance: random.Random) -> Table:
    for n in range(1, counts.downtimes + 1):
        machine, minutes = f"M-{chance.randint(1, counts.machines):03}", str(chance.randint(1, 480))
        yield f"D-{n:06}", machine, _moment(chance, n), minutes, chance.choice(_REASONS), chance.choice(_NOTES)


def _links(counts: _Counts) -> Table:
    for n in range(1, counts.links + 1):
        title = ("Supplier portal", 'Manual, "Presse 4"', "Norme d'essai", "Prüfvorschrift", "Spare parts, region EU", "Drawing (rev. B)")[
            n % 6
        ]
        yield f"L-{n}", title, f"https://example.com/docs/{n}?lang=de&page={n}#section-{n}"


def _amount(chance: random.Random, highest: int) -> str:
    return f"{chance.randint(1, highest * 100) / 100:.2f}"


def _moment(chance: random.Random, number: int) -> str:
    return (_BEGINNING + timedelta(hours=3 * number, minutes=chance.randint(0, 170))).strftime("%Y-%m-%d %H:%M")


def _write_table(path: Path, columns: tuple[str, ...], rows: Table) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def _write_upload(folder: Path, number: int, chance: random.Random) -> None:
    path = folder / _FILE_NAMES[(number - 1) % len(_FILE_NAMES)].format(n=number)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(_CONTENTS.get(path.suffix, _binary)(chance))


def _text(chance: random.Random) -> bytes:
    lines = (f"{n}. {chance.choice(_REASONS)}: {chance.choice(_NOTES)}" for n in range(1, chance.randint(20, 200)))
    return "\n".join(lines).encode()


def _binary(chance: random.Random) -> bytes:
    return chance.randbytes(chance.randint(200, 60_000))


def _png(chance: random.Random) -> bytes:
    """A valid picture: stripes of one colour each, 8 bits a channel."""
    width, height = chance.randint(16, 64), chance.randint(16, 64)
    lines = b"".join(b"\0" + chance.randbytes(3) * width for _ in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(lines)) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


_CONTENTS: dict[str, Callable[[random.Random], bytes]] = {".txt": _text, ".png": _png}
