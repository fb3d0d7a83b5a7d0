"""Measured comparisons, each a ratio taken in one run (`make bench`). Figures are for people; nothing here passes or fails."""
