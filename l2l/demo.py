"""The demo: the same commands that a person would type, in processes of their own, and a comparison that knows nothing of our code.

What was imported is held against what comes back, read from the folders alone: records by kind and reference, links, every file byte for
byte; for the newest set and for the one before.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings

from audit.sizes import in_units
from subscriptions.sample_content import write_sample

csv.field_size_limit(1 << 30)
DATA, UPLOADS, LINKS = ("l2l_subscriptions.datarecord", "l2l_subscriptions.uploadedcontent", "l2l_subscriptions.link")


class DemoFailed(Exception):
    """A step did not do what it says; the message is the step's own."""


@dataclass
class Content:
    """What a customer has: records by (kind, reference), uploads by name as SHA-256, links by reference."""

    records: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)
    uploads: dict[str, str] = field(default_factory=dict)
    links: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{len(self.records):,} records, {len(self.uploads):,} uploads, {len(self.links):,} links"


class Demo:
    """Runs in `scratch`; `say` prints a line."""

    def __init__(self, scratch: Path, say: Callable[[str], Any], content: Path | None) -> None:
        self.scratch, self.say = scratch, say
        self.home, self.content = scratch / "home", scratch / "content"
        self._write_content(content)

    def _write_content(self, given: Path | None) -> None:
        if given is None:
            write_sample(self.content, seed=2026, size="large")
        else:
            shutil.copytree(given, self.content)

    def run(self) -> None:
        """Every step, timed. Raises `DemoFailed` at the first that fails."""
        self.step("Set up a scratch home", "init")
        self.step("Add the customer", "add_customer", "demo", "--name", "Demo Manufacturing")
        first_content = read_folder(self.content)
        self.step(f"Import {first_content}", "import_content", "demo", str(self.content))
        first = self.step("First night: a full set to two locations, read back", "backup", "demo")[0]
        self._tell_set(first)
        self._edit()
        second_content = read_folder(self.content)
        self.step(f"Import the edited content: {second_content}", "import_content", "demo", str(self.content), "--delete-missing")
        second = self.step("Second night: what did not change is reused", "backup", "demo")[0]
        self._tell_set(second)
        shutil.rmtree(self.home / "locations" / "primary")
        self.say("The primary location is lost: its folder is deleted.")
        self._restore_and_compare("newest", second["set"], second_content)
        self._restore_and_compare("first", first["set"], first_content)
        self.say("Everything that went in came back, from the offsite location alone.")

    def step(self, what: str, *arguments: str) -> Any:
        """One command to its end; its JSON document, if it gives one."""
        began = time.monotonic()
        asked = [*arguments, "--json"] if arguments[0] != "init" else list(arguments)
        done = subprocess.run(  # noqa: S603  (our own commands)
            [sys.executable, str(settings.BASE_DIR / "manage.py"), *asked],
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise DemoFailed(f"{' '.join(arguments)} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
        self.say(f"{what}: {time.monotonic() - began:.1f} s")
        return json.loads(done.stdout) if "--json" in asked else None

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("L2L_") and name != "DATABASE_URL"}
        return kept | {"L2L_HOME": str(self.home)}

    def _tell_set(self, one: dict[str, Any]) -> None:
        self.say(
            f"  {one['rows']:,} rows, {one['history_rows']:,} history rows, {one['files']:,} files, {in_units(one['content_bytes'])}: "
            f"stored {one['new_blobs']} new blobs ({in_units(one['new_bytes'])}), reused {one['reused_blobs']}; "
            f"whole at {', '.join(one['whole_at'])}"
        )

    def _restore_and_compare(self, which: str, set_id: str, expected: Content) -> None:
        folder = self.scratch / f"restored-{which}"
        document = self.step(
            f"Restore the {which} set from offsite alone",
            *("restore", "demo", "--location", "offsite", "--set", set_id, "--to", str(folder), "--reason", "demo"),
        )
        self.say(f"  {in_units(document['file_bytes'])} in {document['files']:,} files; every byte checked as it was written")
        difference = differences(expected, read_restored(folder))
        if difference:
            raise DemoFailed(f"the {which} set does not give back what was imported: {difference}")
        self.say(f"  equal to what was imported: {expected}")

    def _edit(self) -> None:
        """Changes a tenth of the largest table, deletes some rows, replaces, removes and adds a file, changes the links."""
        table = max((self.content / "records").glob("*.csv"), key=lambda path: path.stat().st_size)
        header, rows = read_table(table)
        rows = [[*row[:-1], f"{row[-1]} (edited)"] if number % 10 == 0 else row for number, row in enumerate(rows) if number % 97 != 5]
        write_table(table, [header, *rows])
        uploads = sorted(path for path in (self.content / "uploads").rglob("*") if path.is_file())
        uploads[0].write_bytes(uploads[0].read_bytes() + b"edited")
        uploads[-1].unlink()
        (self.content / "uploads" / "added later.txt").write_text("Added between the two nights.\n")
        header, rows = read_table(self.content / "links.csv")
        write_table(self.content / "links.csv", [header, *rows[1:], ["demo-added", "Added", "https://example.org/added"]])
        self.say(f"Edited: {table.name}, three uploads, two links.")


def read_table(path: Path) -> tuple[list[str], list[list[str]]]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        header, *rows = list(csv.reader(file))
    return header, [row for row in rows if row]


def write_table(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def read_folder(folder: Path) -> Content:
    """What an importable folder holds."""
    found = Content()
    for path in sorted((folder / "records").glob("*.csv")):
        header, rows = read_table(path)
        for row in rows:
            found.records[path.stem, row[0]] = dict(zip(header[1:], row[1:], strict=True))
    for path in sorted((folder / "uploads").rglob("*")):
        if path.is_file():
            found.uploads[path.relative_to(folder / "uploads").as_posix()] = hashlib.sha256(path.read_bytes()).hexdigest()
    _, links = read_table(folder / "links.csv")
    found.links = {row[0]: (row[1], row[2]) for row in links}
    return found


def read_restored(folder: Path) -> Content:
    """What a restored folder holds; files are digested from their bytes, not from what the rows say."""
    found = Content()
    for row in _rows(folder, DATA):
        found.records[row["kind"], row["reference"]] = row["data"]
    for row in _rows(folder, UPLOADS):
        found.uploads[row["name"]] = hashlib.sha256((folder / "files" / row["file"]).read_bytes()).hexdigest()
    found.links = {row["reference"]: (row["title"], row["url"]) for row in _rows(folder, LINKS)}
    return found


def _rows(folder: Path, model: str) -> list[dict[str, Any]]:
    with (folder / "rows" / f"{model}.ndjson").open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def differences(expected: Content, found: Content) -> str:
    """In words what is not equal; empty when all is."""
    told = []
    for what in ("records", "uploads", "links"):
        wanted, have = getattr(expected, what), getattr(found, what)
        wrong = [name for name in wanted.keys() | have.keys() if wanted.get(name) != have.get(name)]
        if wrong:
            told.append(f"{len(wrong)} of {len(wanted):,} {what} differ, such as {wrong[0]!r}")
    return "; ".join(told)
