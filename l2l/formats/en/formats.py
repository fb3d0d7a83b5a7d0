"""Plain fields show days as `audit.moments` does: 4 Mar 2026."""

DATE_FORMAT = "j M Y"
