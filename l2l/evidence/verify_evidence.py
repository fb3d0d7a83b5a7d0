"""Verifies an evidence pack: python3 verify_evidence.py PACK.zip --fingerprint HEX [--questions] [--json]

Needs Python 3.9 or later and the package `cryptography`; no database, no network, nothing else of the back office. Reads everything,
changes nothing. Ends with 0 when every byte is as it was signed and everything adds up, with 1 when something was altered or does not
fit what was signed, and with 2 when all is genuine but an equation does not hold (the pack says so itself).

The fingerprint is that of the vendor's signing key: 64 hexadecimal digits, which you got by another way than this pack.

What is checked:
  1. the zip, byte by byte: its structure is rebuilt and compared, so that nothing can be added before, between or behind its files
  2. the manifest's signature, and the SHA-256 and size of each file
  3. each list: its columns, its count, that no key comes twice, and every equation that can be recounted from the pack alone
  4. the evidence trail of the period: each event's digest, and the chain of them between heads that are signed
  5. the sample: drawn again from the seed; what is signed in it (sets, test restores, certificates) is verified
"""

import argparse
import base64
import binascii
import csv
import hashlib
import heapq
import io
import itertools
import json
import struct
import sys
import zipfile
import zlib
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

FORMAT, HEAD_FORMAT = "l2l-evidence-pack-1", "l2l-evidence-head-1"
MANIFEST = "manifest.json"
STORED, DEFLATED = 0, 8
PIECE = 1024 * 1024
DAY, APART = timedelta(days=1), timedelta(hours=1)
SYSTEM = "00000000-0000-0000-0000-000000000000"
# Of so many things, so many are drawn; of fewer than the first, all.
SIZES = ((2, 2), (12, 2), (52, 5), (365, 25))
MOST_DRAWN = 40
csv.field_size_limit(1 << 30)


class NotGenuine(Exception):
    """The pack is not what was signed; the message says where."""


# 1. The zip: one local header and one entry of the directory for each file, all of one form


def local_header(one):
    """`one` has name, crc, packed, size, method."""
    name = one["name"].encode("utf-8")
    return (
        struct.pack("<4s5H3I2H", b"PK\x03\x04", 20, 0x800, one["method"], 0, 0x21, one["crc"], one["packed"], one["size"], len(name), 0)
        + name
    )


def directory_entry(one):
    """`one` has also its offset."""
    name = one["name"].encode("utf-8")
    fixed = (
        b"PK\x01\x02",
        20,
        20,
        0x800,
        one["method"],
        0,
        0x21,
        one["crc"],
        one["packed"],
        one["size"],
        len(name),
        0,
        0,
        0,
        0,
        0o600 << 16,
    )
    return struct.pack("<4s6H3I5H2I", *fixed, one["offset"]) + name


def directory_end(count, size, offset):
    return struct.pack("<4s4H2IH", b"PK\x05\x06", 0, 0, count, count, size, offset, 0)


def listed_members(file):
    """The members as the directory has them, once the whole zip is seen to be of that one form."""
    length = file.seek(0, 2)
    file.seek(max(length - 22, 0))
    end = file.read()
    if len(end) != 22 or end[:4] != b"PK\x05\x06":
        raise NotGenuine("the zip does not end where it should: it was cut, or something was added")
    count, size, offset = struct.unpack("<H2I", end[10:20])
    if end != directory_end(count, size, offset) or offset + size + 22 != length:
        raise NotGenuine("the end of the zip was altered, or something was added to it")
    file.seek(offset)
    members = list(_entries(file.read(size), count))
    at = 0
    for one in members:
        file.seek(at)
        header = local_header(one)
        if one["offset"] != at or file.read(len(header)) != header:
            raise NotGenuine("the header of %s is not what the directory says, or something lies before it" % one["name"])
        one["data"] = at + len(header)
        at = one["data"] + one["packed"]
    if at != offset:
        raise NotGenuine("something lies between the files and the directory of the zip")
    if len({one["name"] for one in members}) != len(members):
        raise NotGenuine("a name comes twice in the zip")
    return members


def _entries(data, count):
    at = 0
    for _ in range(count):
        if len(data) - at < 46:
            raise NotGenuine("the directory of the zip was cut")
        values = struct.unpack("<4s6H3I5H2I", data[at : at + 46])
        name = data[at + 46 : at + 46 + values[10]]
        try:
            one = dict(name=name.decode("utf-8"), method=values[4], crc=values[7], packed=values[8], size=values[9], offset=values[16])
        except UnicodeDecodeError:
            raise NotGenuine("a name in the directory of the zip was altered") from None
        if one["method"] not in (STORED, DEFLATED) or directory_entry(one) != data[at : at + 46 + len(name)]:
            raise NotGenuine("the directory of the zip was altered at %r" % one["name"])
        at += 46 + len(name)
        yield one
    if at != len(data):
        raise NotGenuine("the directory of the zip holds more than its files")


def content(file, one):
    """A member's bytes in pieces."""
    file.seek(one["data"])
    unpack, left = zlib.decompressobj(-15), one["packed"]
    while left:
        data = file.read(min(PIECE, left))
        if not data:
            raise NotGenuine("%s was cut" % one["name"])
        left -= len(data)
        yield data if one["method"] == STORED else unpack.decompress(data)
    if one["method"] == DEFLATED:
        yield unpack.flush()
        if not unpack.eof or unpack.unused_data:
            raise NotGenuine("%s cannot be unpacked as it was packed" % one["name"])


# 2. Signatures and digests


def canonical(value):
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def signed_by(document, trusted):
    """The document without its signature, when the key of that fingerprint signed exactly it."""
    try:
        body = {name: value for name, value in document.items() if name != "signature"}
        public = base64.b64decode(body["signed_by"]["ed25519"], validate=True)
        signature = base64.b64decode(document["signature"], validate=True)
        if base64.b64encode(signature).decode() != document["signature"]:
            raise NotGenuine("its signature is written otherwise than it was")
        if hashlib.sha256(public).hexdigest() != trusted:
            raise NotGenuine("it was signed by %s, which is not the key that you trust" % hashlib.sha256(public).hexdigest())
        Ed25519PublicKey.from_public_bytes(public).verify(signature, canonical(body))
    except (KeyError, TypeError, AttributeError, ValueError, binascii.Error) as problem:
        raise NotGenuine("it carries no signature that can be read (%s)" % problem) from None
    except InvalidSignature:
        raise NotGenuine("it was altered after it was signed") from None
    return body


def digests(pieces):
    """SHA-256, size and CRC."""
    sha256, size, crc = hashlib.sha256(), 0, 0
    for piece in pieces:
        sha256.update(piece)
        size += len(piece)
        crc = zlib.crc32(piece, crc)
    return sha256.hexdigest(), size, crc


class Pack:
    """An opened pack of which every byte is as it was signed."""

    def __init__(self, file, trusted):
        members = listed_members(file)
        if not members or members[-1]["name"] != MANIFEST or members[-1]["method"] != STORED:
            raise NotGenuine("the manifest is not the last file of the zip: this is no evidence pack")
        self.manifest = self._manifest(file, members[-1], trusted)
        self._check_before(file, members[-1]["offset"])
        self._check_files(file, members[:-1])
        self.trusted, self.zip = trusted, zipfile.ZipFile(file)
        self.names = [one["name"] for one in members]

    @staticmethod
    def _manifest(file, member, trusted):
        data = b"".join(content(file, member))
        try:
            document = json.loads(data.decode("utf-8"))
        except ValueError:
            raise NotGenuine("the manifest cannot be read") from None
        try:
            body = signed_by(document, trusted)
        except NotGenuine as problem:
            raise NotGenuine("the manifest: %s" % problem) from None
        if canonical(document) + b"\n" != data or digests([data]) != (hashlib.sha256(data).hexdigest(), member["size"], member["crc"]):
            raise NotGenuine("the manifest is written otherwise than it was signed")
        if body.get("format") != FORMAT:
            raise NotGenuine("this verifier reads %s; the pack is %r: use the verifier that lies in it" % (FORMAT, body.get("format")))
        return body

    def _check_before(self, file, offset):
        sha256, left = hashlib.sha256(), offset
        file.seek(0)
        while left:
            data = file.read(min(PIECE, left))
            sha256.update(data)
            left -= len(data)
        if self.manifest["before"] != {"sha256": sha256.hexdigest(), "size": offset}:
            raise NotGenuine("the bytes before the manifest are not those that were signed: " + self._which(file))

    def _which(self, file):
        """The first file that was altered, for the message."""
        said = {one["name"]: one["sha256"] for one in self.manifest["files"]}
        for one in listed_members(file)[:-1]:
            try:
                if digests(content(file, one))[0] != said.get(one["name"]):
                    return one["name"]
            except (NotGenuine, zlib.error):
                return one["name"]
        return "in the zip itself"

    def _check_files(self, file, members):
        said = [(one["name"], one["sha256"], one["size"]) for one in self.manifest["files"]]
        found = []
        for one in members:
            try:
                sha256, size, crc = digests(content(file, one))
            except zlib.error:
                raise NotGenuine("%s cannot be unpacked" % one["name"]) from None
            if (size, crc) != (one["size"], one["crc"]):
                raise NotGenuine("%s is not as long as the zip says, or has another CRC" % one["name"])
            found.append((one["name"], sha256, size))
        if found != said:
            raise NotGenuine("the files are not those that the manifest lists")

    def text(self, name):
        return self.zip.read(name).decode("utf-8")

    def document(self, name):
        return json.loads(self.text(name))

    def rows(self, name):
        """The rows of a CSV file, each by its columns' names."""
        with self.zip.open(name) as file:
            yield from csv.DictReader(io.TextIOWrapper(file, encoding="utf-8", newline=""))

    def population(self, name):
        return self.rows("populations/%s.csv" % name)

    def lines(self, name):
        with self.zip.open(name) as file:
            for line in io.TextIOWrapper(file, encoding="utf-8", newline="\n"):
                yield json.loads(line)


# 3. Lists and equations


def moment(text):
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def sample_size(count):
    return count if count <= 2 else next((size for most, size in SIZES if count <= most), MOST_DRAWN)


def rank(seed, population, key):
    return hashlib.sha256(("%s/%s/%s" % (seed, population, key)).encode("utf-8")).hexdigest()


def drawn(seed, population, keys, size):
    """The keys with the smallest digests, by their digests."""
    return [key for _, key in heapq.nsmallest(size, ((rank(seed, population, key), key) for key in keys))]


class Checked:
    """What was found: `wrong` is not as it was signed, `open` does not add up and says so, `said` are lines for people."""

    def __init__(self):
        self.wrong, self.open, self.said = [], [], []


def check_populations(pack, events, found):
    for name in sorted(pack.manifest["populations"]):
        about = pack.document("populations/%s.json" % name)
        keys, told = set(), {}
        columns = {one["told"]["column"] for one in about["reconciled"] if one["told"]}
        count = 0
        for row in pack.population(name):
            if list(row) != about["columns"] or None in row.values():
                found.wrong.append("%s: row %d has other columns than were said" % (name, count + 1))
            key = row[about["columns"][0]]
            if key in keys:
                found.wrong.append("%s: %s comes twice" % (name, key))
            keys.add(key)
            if columns:
                told[key] = {column: row[column] for column in columns}
            count += 1
        if count != about["rows"]:
            found.wrong.append("%s: %d rows, and %d were said" % (name, count, about["rows"]))
        check_equations(pack, name, about, told, events, found)
        if about["sample"] != drawn(pack.manifest["seed"], name, keys, sample_size(count)):
            found.wrong.append("%s: the sample is not the one that the seed draws" % name)
        found.said.append("%-16s %9s rows, %d equations" % (name, format(count, ","), len(about["reconciled"])))


def check_equations(pack, name, about, told, events, found):
    sides = {}
    for one in about["reconciled"]:
        if one["expected"] != one["found"]:
            found.open.append("%s: %s: %d and %d" % (name, one["says"], one["expected"], one["found"]))
        if one["told"]:
            side = sides[json.dumps(one["told"], sort_keys=True)] = sides.get(json.dumps(one["told"], sort_keys=True), -1) + 1
            if recounted(pack, one["told"], told, events)[side] != (one["expected"], one["found"]):
                found.wrong.append("%s: %s: recounted it is otherwise" % (name, one["says"]))


def recounted(pack, told, rows, events):
    """Both equations of a list and its events: (expected, found) of each."""
    begins, ends = (moment(pack.manifest["period"][side]) for side in ("begins", "ends"))
    label = told["label"] + ":" if told["label"] else ""
    all_events = {subject: at for subject, at in events.get(told["event"], {}).items() if subject.startswith(label)}
    subjects = {one[len(label) :]: at for one, at in all_events.items() if begins - APART <= at < ends + APART}
    inside = {key for key, row in rows.items() if row[told["column"]] and begins <= moment(row[told["column"]]) < ends}
    well_inside = {key for key, at in subjects.items() if begins + APART <= at < ends - APART}
    return [(len(inside), len(inside & subjects.keys())), (len(well_inside), len(well_inside & rows.keys()))]


def night_of(at, zone):
    """A night runs from noon to noon and is called by the day on which it begins."""
    return (at.astimezone(zone).replace(tzinfo=None) - timedelta(hours=12)).date()


class Policies:
    def __init__(self, pack):
        self.versions = sorted((moment(one["in_force_from"]), int(one["key"]), one) for one in pack.population("policies"))

    def in_force(self, at):
        begun = [one for one in self.versions if one[0] <= at]
        return max(begun, key=lambda one: one[1])[2] if begun else min(self.versions, key=lambda one: one[1])[2]

    def zone(self, at):
        return ZoneInfo(self.in_force(at)["zone"])

    def night(self, at):
        return night_of(at, self.zone(at))


def owed_nights(pack, policies):
    """For each customer, and the system, the first and the last night owed in the period: from its dates and the policy alone."""
    first, last = (date.fromisoformat(pack.manifest["period"][side]) for side in ("first", "last"))
    began, now = policies.versions[0][0], moment(pack.manifest["made_at"])
    newest, found = policies.night(now), {}
    system = {
        "code": "system",
        "taken_on_at": began.isoformat(),
        "first_day": "",
        "last_day": "",
        "destruction_began_at": "",
        "key": SYSTEM,
    }
    for one in itertools.chain([system], pack.population("customers")):
        since = max(moment(one["taken_on_at"]), began)
        begins = max(policies.night(since), date.fromisoformat(one["first_day"]) if one["first_day"] else first, first)
        ends = min(newest, date.fromisoformat(one["last_day"]) if one["last_day"] else last, last)
        if one["destruction_began_at"]:
            ends = min(ends, policies.night(moment(one["destruction_began_at"])) - DAY)
        found[one["key"]] = (one["code"], begins, ends)
    return found


def nights_of_customers(pack, owed):
    """(code, nights owed, rows of them by state, nights without a row, rows that are not filled) for each customer."""
    seen = set()
    for customer, rows in itertools.groupby(pack.population("nights"), key=lambda row: row["customer"]):
        seen.add(customer)
        yield _nights_of(owed.get(customer, ("unknown " + customer, date.max, date.min)), list(rows))
    for customer in sorted(owed.keys() - seen):
        yield _nights_of(owed[customer], [])


def _nights_of(dates, rows):
    code, begins, ends = dates
    by_night = {row["night"]: row for row in rows}
    labels = [(begins + number * DAY).isoformat() for number in range(max((ends - begins).days + 1, 0))]
    states, lacking, others = {}, [], []
    for label in labels:
        row = by_night.get(label)
        if row is None:
            lacking.append(label)
            continue
        states[row["state"]] = states.get(row["state"], 0) + 1
        if row["state"] != "filled":
            others.append(row)
    return code, len(labels), states, lacking, others


def check_nights(pack, found):
    """The equations of the nights, recounted from customers, policies and rows."""
    policies = Policies(pack)
    if not policies.versions:
        return
    expected = listed = agreeing = customers = 0
    for _, nights, states, _, _ in nights_of_customers(pack, owed_nights(pack, policies)):
        rows = sum(states.values())
        expected, listed, agreeing, customers = expected + nights, listed + rows, agreeing + (nights == rows), customers + 1
    said = [
        (one["expected"], one["found"])
        for one in pack.document("populations/nights.json")["reconciled"]
        if one["says"].startswith(("nights owed", "customers, and"))
    ]
    if said != [(expected, listed), (customers, agreeing)]:
        found.wrong.append(
            "nights: recounted from the customers' dates and the policy, %s were owed and %s are listed" % (expected, listed)
        )


# 4. The evidence trail


def check_trail(pack, found):
    """Each event's digest, and the chain between signed heads. Returns for each kind of event its subjects and when."""
    heads, events = {}, {}
    for document in pack.lines("evidence/heads.ndjson"):
        try:
            body = signed_by(document, pack.trusted)
            if body["format"] != HEAD_FORMAT or heads.setdefault(body["number"], body["digest"]) != body["digest"]:
                raise NotGenuine("it is no head, or contradicts another one")
        except NotGenuine as problem:
            found.wrong.append("a head of the evidence trail: %s" % problem)
    span = pack.manifest["evidence"]
    number, digest, vouched = span["after"], span["after_digest"], span["after"]
    if number and heads.get(number) != digest:
        found.wrong.append("no signed head vouches for where the events begin")
    for row in pack.rows("evidence/events.csv"):
        number += 1
        facts = json.loads(row["facts"])
        body = {name: row[name] for name in ("event", "at", "actor", "actor_id", "source", "subject")}
        body.update(number=int(row["number"]), customer=row["customer"] or None, facts=facts)
        leaf = hashlib.sha256(bytes.fromhex(row["salt"]) + canonical(body)).hexdigest()
        digest = hashlib.sha256(bytes.fromhex(digest) + number.to_bytes(8, "big") + bytes.fromhex(leaf)).hexdigest()
        if int(row["number"]) != number or leaf != row["leaf"] or digest != row["digest"]:
            found.wrong.append("event %s was altered, or one is missing before it" % row["number"])
            break
        if heads.get(number, digest) != digest:
            found.wrong.append("the head that was signed at event %d is another one: the chain was computed anew" % number)
        vouched = number if number in heads else vouched
        events.setdefault(row["event"], {})[row["subject"]] = moment(row["at"])
    if (number, digest) != (span["last"], span["digest"]):
        found.wrong.append("the events do not end where the manifest says")
    if vouched != number:
        found.wrong.append("events %d to %d stand under no signed head" % (vouched + 1, number))
    found.said.append(
        "%d events, %d signed heads; the chain holds from event %d to %d" % (number - span["after"], len(heads), span["after"] + 1, number)
    )
    return events


# 5. The sample


def check_sample(pack, found):
    nights = {}
    wanted = set(pack.document("populations/nights.json")["sample"])
    for row in pack.population("nights"):
        if row["key"] in wanted:
            nights[folder_name(row["key"])] = row
    certificates = {row["certificate_sha256"]: row for row in pack.population("terminations") if row["certificate_sha256"]}
    checked = 0
    for name in pack.names:
        parts = name.split("/")
        if parts[0] != "sample" or not name.endswith(".json"):
            continue
        data = pack.zip.read(name)
        document = json.loads(data)
        if "signature" not in document:
            continue
        checked += 1
        try:
            body = signed_by(document, pack.trusted)
        except NotGenuine as problem:
            found.wrong.append("%s: %s" % (name, problem))
            continue
        sha256 = hashlib.sha256(data).hexdigest()
        if parts[-1] == "set-envelope.json" and parts[1] == "nights" and sha256 != nights.get(parts[2], {}).get("envelope_sha256"):
            found.wrong.append("%s is not the envelope that the list of nights names" % name)
        if parts[-1].startswith("certificate-") and sha256 not in certificates and body.get("kind") == "certificate":
            found.said.append("%s is an earlier certificate than the one in the list" % name)
    found.said.append("%d signed documents in the sample are what was signed" % checked)


def folder_name(key):
    return "".join(one if one.isalnum() or one in "-._" else "_" for one in key)


# The auditor's questions


def answers(pack):
    """Of each question: its text, what was counted, and the exceptions by name."""
    yield backed_up(pack)
    yield tested(pack)
    yield kept(pack)
    yield destroyed(pack)


def backed_up(pack):
    policies = Policies(pack)
    totals, exceptions, owed, customers = {}, [], 0, 0
    for code, nights, states, lacking, others in nights_of_customers(pack, owed_nights(pack, policies)) if policies.versions else ():
        owed, customers = owed + nights, customers + 1
        for state, count in states.items():
            totals[state] = totals.get(state, 0) + count
        exceptions += ["%s, night of %s: no row at all" % (code, label) for label in lacking]
        exceptions += ["%s, night of %s: %s" % (code, row["night"], _why(row)) for row in others]
    counts = ", ".join("%d %s" % (totals[state], state) for state in ("filled", "late", "missed", "excused", "open") if totals.get(state))
    said = "%d nights were owed to %d customers (the system is one): %s." % (owed, customers, counts or "none listed")
    return "Was each night of the period backed up for each customer?", said, exceptions


def _why(row):
    if row["state"] == "late":
        return "late, begun %s" % row["started_at"]
    if row["state"] == "excused":
        return "excused by %s" % (row["excused_by"] or "?")
    return "%s (%s after %s attempts)" % (row["state"], row["run_state"], row["attempts"])


def tested(pack):
    policies = Policies(pack)
    begins, ends = (moment(pack.manifest["period"][side]) for side in ("begins", "ends"))
    ends = min(ends, moment(pack.manifest["made_at"]))
    passed, exceptions, failed, unsigned, made = {}, [], 0, 0, 0
    for row in pack.population("test_restores"):
        made += 1
        where = (row["customer"], row["tier"], row["location"])
        if row["result"] == "passed":
            passed.setdefault(where, []).append(moment(row["ended_at"]))
        else:
            failed += 1
            exceptions.append(
                "%s, %s at %s: test %s of %s %s" % (row["code"], row["tier"], row["location"], row["key"], row["ended_at"], row["result"])
            )
        unsigned += not row["signed_off_by"]
    allowed = int(policies.in_force(ends)["test_days"]) * DAY if policies.versions else DAY
    cells = 0
    for row in pack.population("tests_owed"):
        cells += 1
        since = max(filter(None, (moment(row["since"]), moment(row["tested_before_at"]))))
        times = [since, *sorted(passed.get((row["customer"], row["tier"], row["location"]), [])), ends]
        longest, until = max((later - earlier, later) for earlier, later in zip(times, times[1:])) if len(times) > 1 else (DAY, ends)
        if longest > allowed and until > begins:
            exceptions.append(
                "%s, %s at %s: %d days without a test that passed" % (row["code"], row["tier"], row["location"], longest.days)
            )
    said = "%d customers x tiers x locations were owed a test within %d days; %d tests were made, %d failed, %d are not signed off." % (
        cells,
        allowed.days,
        made,
        failed,
        unsigned,
    )
    return "Was each customer tested, from each tier and each location?", said, exceptions


def kept(pack):
    policies, exceptions = Policies(pack), []
    states, removed = {}, 0
    for row in pack.population("kept"):
        states[row["state"]] = states.get(row["state"], 0) + 1
        if row["state"] in ("missed", "stood in"):
            near = " by the set of %s" % row["set_night"] if row["set_night"] else ""
            exceptions.append("%s, %s: %s%s" % (row["code"], row["slot"], row["state"], near))
    for row in pack.population("removals"):
        removed += 1
        days = int(policies.in_force(moment(row["left_at"]))["nightly_days"])
        if row["reason"] != "customer destroyed" and moment(row["left_at"]).date() - date.fromisoformat(row["night"]) < days * DAY:
            exceptions.append(
                "%s, set %s of %s: let go on %s, within %d days" % (row["code"], row["key"], row["night"], row["left_at"], days)
            )
    counts = ", ".join("%d %s" % (count, state) for state, count in sorted(states.items())) or "none ended"
    return "Was everything kept as promised?", "Weeks and months that ended: %s. %d sets were let go." % (counts, removed), exceptions


def destroyed(pack):
    states, exceptions = {}, []
    for row in pack.population("terminations"):
        states[row["state"]] = states.get(row["state"], 0) + 1
        if row["in_time"] == "no":
            exceptions.append(
                "%s: due %s, %s"
                % (row["code"], row["due_at"], "destroyed " + row["destroyed_at"] if row["destroyed_at"] else "not destroyed")
            )
        if row["state"] == "destroyed" and not row["certificate_sha256"]:
            exceptions.append("%s: destroyed %s, and not certified when this pack was made" % (row["code"], row["destroyed_at"]))
        if row["receipt"] and row["receipt_package_sha256"] != row["package_sha256"]:
            exceptions.append("%s: the receipt is about another package" % row["code"])
    counts = ", ".join("%d %s" % (count, state) for state, count in sorted(states.items())) or "none"
    return "Was the data of each customer that ended returned, and destroyed in time?", "Ends of customers: %s." % counts, exceptions


def verify(file, trusted):
    """The opened pack and what was found. Raises `NotGenuine` for a pack of which a byte is not as it was signed."""
    found = Checked()
    pack = Pack(file, trusted)
    events = check_trail(pack, found)
    check_populations(pack, events, found)
    check_nights(pack, found)
    check_sample(pack, found)
    return pack, found


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pack", metavar="PACK.zip")
    parser.add_argument("--fingerprint", required=True, metavar="HEX", help="the signing key's, got by another way")
    parser.add_argument("--questions", action="store_true", help="answers the auditor's questions, with the exceptions by name")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    options = parser.parse_args(arguments)
    trusted = "".join(options.fingerprint.split()).lower()
    if len(trusted) != 64 or set(trusted) - set("0123456789abcdef"):
        parser.error("a fingerprint has 64 hexadecimal digits")
    try:
        with open(options.pack, "rb") as file:
            pack, found = verify(file, trusted)
            told = [dict(question=one, answer=said, exceptions=names) for one, said, names in answers(pack)] if options.questions else []
    except NotGenuine as problem:
        print(json.dumps({"genuine": False, "wrong": [str(problem)]}) if options.json else "NOT GENUINE: %s" % problem)
        return 1
    except OSError as problem:
        parser.error(str(problem))
    report(pack, found, told, options.json)
    return 1 if found.wrong else 2 if found.open else 0


def report(pack, found, told, as_json):
    said = pack.manifest
    if as_json:
        print(json.dumps(dict(genuine=not found.wrong, wrong=found.wrong, unreconciled=found.open, manifest=said, questions=told)))
        return
    for one in found.wrong:
        print("WRONG: " + one)
    for one in found.open:
        print("DOES NOT ADD UP: " + one)
    if not found.wrong:
        print("Genuine: every byte is as it was signed by %s" % pack.trusted)
    if said["sample"]:
        print("SAMPLE: of an installation that holds no real data")
    print(
        "period %(first)s to %(last)s, days and nights in %(zone)s" % said["period"]
        + "; made %s; seed %s" % (said["made_at"], said["seed"])
    )
    for line in found.said:
        print("  " + line)
    for one in told:
        print("\n%s\n%s" % (one["question"], one["answer"]))
        print("".join("  EXCEPTION: %s\n" % name for name in one["exceptions"]) or "  No exceptions.\n", end="")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
