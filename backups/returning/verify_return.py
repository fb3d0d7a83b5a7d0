"""Verifies a returned package: python3 verify_return.py [FOLDER or FILE.zip] [--trust FINGERPRINT]. Needs nothing but Python 3.8.

Without an argument it verifies the folder that it lies in. Reads everything, changes nothing, ends with 0 only when all is right.
"""

import base64
import hashlib
import json
import re
import sys
import zipfile
from pathlib import Path

PRIME = 2**255 - 19
D = -121665 * pow(121666, PRIME - 2, PRIME) % PRIME
ORDER = 2**252 + 27742317777372353535851937790883648493


class Folder:
    """An unpacked bag."""

    def __init__(self, root):
        self.root = root
        self.names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if not path.is_dir() or path.is_symlink())

    def open(self, name):
        return (self.root / name).open("rb")


class Zip:
    """A bag in a zip with one folder at its top."""

    def __init__(self, path):
        self.zip = zipfile.ZipFile(path)
        members = [one.filename for one in self.zip.infolist()]
        tops = {name.partition("/")[0] for name in members}
        if len(tops) != 1:
            raise SystemExit("This zip has no single folder at its top: it is no package.")
        self.top = tops.pop()
        self.names = sorted(name[len(self.top) + 1 :] for name in members if not name.endswith("/"))

    def open(self, name):
        return self.zip.open(self.top + "/" + name)


def content(bag, name):
    with bag.open(name) as file:
        return file.read()


def sha256_of(file):
    """The digest and the number of bytes."""
    digest, size = hashlib.sha256(), 0
    while True:
        piece = file.read(1024 * 1024)
        if not piece:
            return digest.hexdigest(), size
        digest.update(piece)
        size += len(piece)


def listed(bag, manifest):
    """The digests by path of a list of BagIt."""
    found = {}
    for line in content(bag, manifest).decode("utf-8").split("\n")[:-1]:
        if not re.fullmatch("[0-9a-f]{64} [ *].+", line):
            raise SystemExit(manifest + " cannot be read.")
        digest, path = line[:64], line[66:]
        found[re.sub("%(25|0D|0A)", lambda one: chr(int(one.group(1), 16)), path)] = digest
    return found


def problems_of(bag):
    """What is missing, added or altered, a sentence each."""
    beside, payload = listed(bag, "tagmanifest-sha256.txt"), listed(bag, "manifest-sha256.txt")
    expected = dict(beside)
    expected.update(payload)
    for name in bag.names:
        if name not in expected and name != "tagmanifest-sha256.txt":
            yield name + " was added: no list names it"
    size = 0
    for name, digest in expected.items():
        if name not in bag.names:
            yield name + " is missing"
            continue
        with bag.open(name) as file:
            found, length = sha256_of(file)
        if found != digest:
            yield name + " was altered"
        size += length if name in payload else 0
    if "Payload-Oxum: %d.%d\n" % (size, len(payload)) not in content(bag, "bag-info.txt").decode("utf-8"):
        yield "bag-info.txt counts otherwise than what is here"


# Ed25519, as RFC 8032 has it in section 6; slow, and it verifies one signature.


def added(p, q):
    a, b = (p[1] - p[0]) * (q[1] - q[0]) % PRIME, (p[1] + p[0]) * (q[1] + q[0]) % PRIME
    c, d = 2 * p[3] * q[3] * D % PRIME, 2 * p[2] * q[2] % PRIME
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME


def times(number, point):
    result = (0, 1, 1, 0)
    while number:
        if number & 1:
            result = added(result, point)
        point, number = added(point, point), number >> 1
    return result


def point_of(data):
    y = int.from_bytes(data, "little")
    sign, y = y >> 255, y & (2**255 - 1)
    square = (y * y - 1) * pow(D * y * y + 1, PRIME - 2, PRIME) % PRIME
    x = pow(square, (PRIME + 3) // 8, PRIME)
    if (x * x - square) % PRIME:
        x = x * pow(2, (PRIME - 1) // 4, PRIME) % PRIME
    if y >= PRIME or (x * x - square) % PRIME or (x == 0 and sign):
        raise ValueError("no point of the curve")
    x = PRIME - x if x & 1 != sign else x
    return x, y, 1, x * y % PRIME


def is_signed(public, message, signature):
    try:
        a, r = point_of(public), point_of(signature[:32])
    except ValueError:
        return False
    s = int.from_bytes(signature[32:], "little")
    h = int.from_bytes(hashlib.sha512(signature[:32] + public + message).digest(), "little") % ORDER
    base = point_of((4 * pow(5, PRIME - 2, PRIME) % PRIME).to_bytes(32, "little"))
    left, right = times(s, base), added(r, times(h, a))
    return s < ORDER and not (left[0] * right[2] - right[0] * left[2]) % PRIME and not (left[1] * right[2] - right[1] * left[2]) % PRIME


def problems_of_head(head, manifest_sha256, trusted):
    body = {name: value for name, value in head.items() if name != "signature"}
    message = json.dumps(body, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")
    public = base64.b64decode(head["signed_by"]["ed25519"])
    if not is_signed(public, message, base64.b64decode(head["signature"])):
        yield "signed-head.json was altered after it was signed"
    if head["manifest_sha256"] != manifest_sha256:
        yield "signed-head.json is about another manifest-sha256.txt"
    if trusted and hashlib.sha256(public).hexdigest() != trusted:
        yield "signed-head.json was signed by another key than the one that you trust"


def main(arguments):
    trusted = ""
    if "--trust" in arguments:
        at = arguments.index("--trust")
        trusted = "".join(arguments[at + 1 : at + 2]).lower()
        del arguments[at : at + 2]
        if not re.fullmatch("[0-9a-f]{64}", trusted):
            raise SystemExit("--trust takes a fingerprint of 64 hexadecimal digits.")
    path = Path(arguments[0]) if arguments else Path(__file__).resolve().parent
    bag = Zip(path) if path.is_file() else Folder(path)
    manifest = hashlib.sha256(content(bag, "manifest-sha256.txt")).hexdigest()
    head = json.loads(content(bag, "signed-head.json").decode("utf-8"))
    problems = list(problems_of(bag)) + list(problems_of_head(head, manifest, trusted))
    for problem in problems:
        print("WRONG: " + problem)
    if problems:
        return 1
    print("All is there, and all is as it was signed.")
    made = (head["number"], head["customer"]["code"], head["made_at"], " (SAMPLE)" * head["sample"])
    print("package            %s of customer %s, made %s%s" % made)
    print("signed by the key  " + hashlib.sha256(base64.b64decode(head["signed_by"]["ed25519"])).hexdigest())
    print("                   " + ("which you trust" if trusted else "compare it with your agreement's, or give that with --trust"))
    print("digest of manifest " + manifest)
    if path.is_file():
        with path.open("rb") as file:
            print("for the receipt    " + sha256_of(file)[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
