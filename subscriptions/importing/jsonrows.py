"""The rows of one NDJSON file, streamed, with every problem named by line: `{"reference": "P-1", "data": {...}}`.

For what a CSV cannot say: numbers, nested values, rows of one kind with different columns. A line of white space alone is no row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import BinaryIO

from audit import canonical
from subscriptions.importing.csvrows import MAX_ROW, Row
from subscriptions.importing.report import Problems


def read_json_rows(file: BinaryIO, problems: Problems) -> Iterator[Row]:
    """The rows without a problem; the others stand in `problems` afterwards. Ends at a line that is too long."""
    number = 0
    while line := file.readline(MAX_ROW + 1):
        number += 1
        if len(line) > MAX_ROW:
            problems.add(f"the row is longer than {MAX_ROW // 1024**2} MiB", number)
            return
        if line.strip():
            yield from _row(line, number, problems)


def _row(line: bytes, number: int, problems: Problems) -> Iterator[Row]:
    try:
        document = json.loads(line)
        canonical.normal(document)
    except canonical.NotCanonical as problem:
        problems.add(str(problem), number)
        return
    except (ValueError, RecursionError) as problem:
        problems.add(f"is no JSON: {problem}", number)
        return
    if not isinstance(document, dict) or set(document) != {"reference", "data"} or not isinstance(document["reference"], str):
        problems.add('is not {"reference": TEXT, "data": ...}', number)
    elif not document["reference"].strip():
        problems.add("the reference is missing", number, "reference")
    else:
        yield Row(number, document["reference"], document["data"], len(line))
