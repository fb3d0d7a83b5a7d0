"""The people of a sample home have their roles by grants that are old enough to approve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.contrib.auth.models import User

import audit
from audit import clock, grants
from audit.models import Grant
from l2l import sample


def test_sample_people_have_grants(db: None, settings: Any, tmp_path: Path) -> None:
    settings.L2L_SAMPLE, settings.L2L_HOME = True, tmp_path
    with audit.acting("sample", source="test"):
        list(sample._add_people())
    roles = {name: role for name, (role, _) in sample.PEOPLE.items() if role}
    assert dict(Grant.objects.values_list("user__username", "role")) == roles
    rita = User.objects.get(username="rita")
    assert grants.may_approve(rita, "l2l_backups.approve_policychangerequest", clock.now())
    assert [one.person for one in grants.ungranted()] == ["admin"]
