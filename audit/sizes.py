"""Sizes as people read them (pure)."""

from __future__ import annotations


def in_units(count: int) -> str:
    """Bytes in binary units with one digit: `0 B`, `999 B`, `1.5 KiB`, `2.0 GiB`."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"
