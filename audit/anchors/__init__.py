"""The day's signed head over all chains, which leaves the house: made, recomputed, and read from what was mailed (P8, P13)."""
