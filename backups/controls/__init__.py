"""What the backups' promises come to, minute by minute (P1 to P4, P6 to P9, P14): each control asks what the pages ask, and nothing else.

No measurement looks at a location or reads a stored object: the worker looks at the locations each minute (`backups.tasks.see_locations`),
verification reads. The statements of each are a handful, however many customers there are, and answered from indexes.
"""

from __future__ import annotations

from audit import controls
from backups.controls import access, copies, kept, nights, proofs, restoring, verification

CONTROLS = (
    *access.CONTROLS,
    *nights.CONTROLS,
    *copies.CONTROLS,
    *verification.CONTROLS,
    *kept.CONTROLS,
    *restoring.CONTROLS,
    *proofs.CONTROLS,
)


def register() -> None:
    """Once, when the app is ready."""
    for control in CONTROLS:
        controls.register(control)
