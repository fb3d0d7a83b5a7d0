"""Which promise of the policy a test holds us to."""

from __future__ import annotations

import pytest

from audit.promises import PROMISES


def promise(*numbers: str) -> pytest.MarkDecorator:
    """`@promise("P6")`. `KeyError` for a promise that there is not."""
    return pytest.mark.promise(*(PROMISES[number].number for number in numbers))
