"""Whose end is under way, by id: asked by everybody who makes, mends, prunes, tests or counts backups (design section 9)."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from subscriptions.ending.states import FROZEN, LEFT_ALONE, PAST_RETURN, State
from subscriptions.models import DeletionRequest


def frozen_for_return() -> set[uuid.UUID]:
    """Those whose data nobody changes any more: from the making of the package on. Their nights are excused."""
    return _in(FROZEN)


def left_alone() -> set[uuid.UUID]:
    """Those that are not pruned, mended or test restored: what was returned is what is destroyed. Verification goes on."""
    return _in(LEFT_ALONE)


def ended() -> set[uuid.UUID]:
    """Those past the point of no return: nothing of them is made, read or missed any more."""
    return _in(PAST_RETURN)


def _in(states: Iterable[State]) -> set[uuid.UUID]:
    return set(DeletionRequest.objects.filter(state__in=[one.value for one in states]).values_list("customer", flat=True))
