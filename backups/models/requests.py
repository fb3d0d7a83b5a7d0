"""What of the backups takes two people."""

from __future__ import annotations

from typing import Any

import audit
from audit.two_person import TwoPersonRequest


@audit.protect(system=True)
class PolicyChangeRequest(TwoPersonRequest):
    """The fields of the next version of the policy, as `backups.policies.change_policy` takes them."""

    changes: Any = audit.CanonicalJSONField()

    class Meta(TwoPersonRequest.Meta):
        verbose_name = "policy change request"
        ordering = ("-requested_at",)
