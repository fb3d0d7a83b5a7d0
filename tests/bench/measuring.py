"""Stopwatch and scales: time, memory and processor time of this process, printed as they are taken."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def timed(what: str, figures: dict[str, float]) -> Iterator[None]:
    began = time.perf_counter()
    yield
    figures[what] = time.perf_counter() - began
    show(what, figures[what], "s")


def show(what: str, figure: float, unit: str = "") -> None:
    print(f"{what:<64}{figure:9.2f} {unit}", flush=True)


def peak_mib() -> float:
    """The most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
