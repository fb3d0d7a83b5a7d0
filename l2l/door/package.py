"""The package is handed over as a download, by the customer's link or by staff: each time it is recorded before the first byte."""

from __future__ import annotations

from pathlib import Path

from django.http import FileResponse

from audit import clock
from l2l.door import links
from subscriptions.ending import returns
from subscriptions.models import DataReturn


class PackageMissing(OSError):
    """The file of a package is not where it was put."""


def response(package: DataReturn, *, way: str) -> FileResponse:
    """The file, streamed, under its own name; `way` is `staff` or `link`. Raises `LinkRefused` for a package that is no longer given out,
    and `PackageMissing`."""
    links.check_open(package, clock.now())
    path = Path(package.path)
    if not path.is_file() or path.stat().st_size != package.size:
        raise PackageMissing(f"The file of {package} is not there whole: report a fault, and it is made anew from the final set.")
    file = path.open("rb")
    returns.delivered(package, way=way, now=clock.now())
    answer = FileResponse(file, as_attachment=True, filename=package.file_name, content_type="application/octet-stream")
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer["Cache-Control"] = "private, no-store"
    return answer
