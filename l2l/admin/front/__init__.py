"""The front page: the policy, sentence by sentence, with how it stands now; then what needs a person, and the figures behind it.

One module for each block. Each takes the person, shows what they may see, and costs a number of queries that grows with nothing; what two
blocks need is read once here.
"""

from __future__ import annotations

from typing import Any

from audit import clock
from backups.admin.charts import KINDS
from l2l.admin.ending_todos import receipts_waiting, under_way
from l2l.admin.front.coverage import grid
from l2l.admin.front.nights import of_last_night
from l2l.admin.front.places import hot_now, places_now
from l2l.admin.front.policy import policy
from l2l.admin.front.protection import going_soon, protection_now
from l2l.admin.front.requests import ends, waiting_for_a_second
from l2l.admin.front.storage import storage, stored_per_night
from l2l.admin.front.todos import Found, todos

# More are behind a fold.
TODOS_SHOWN = 8


def front_page(user: Any) -> dict[str, Any]:
    """The context of the front page for one person: numbers of the customers that they may see."""
    now = clock.now()
    sees_sets, sees_ends = user.has_perm("l2l_backups.view_backupset"), user.has_perm("l2l_subscriptions.view_deletionrequest")
    protection, places, hot, tests = protection_now(user), places_now(user), hot_now(user, now), grid(user, now)
    standing, windows = hot or (None, [])
    waiting, ending = waiting_for_a_second(user), under_way(user)
    to_do = todos(user, Found(protection, standing, places, tests, waiting, ending))
    soonest, more_ends = ends(ending, now)
    return {
        "policy": policy(user, now),
        "protection": protection,
        "places": places,
        "standing": standing,
        "windows": windows,
        "standing_kind": KINDS[standing.state] if standing else "",
        "lost_kind": KINDS[standing.lost_state] if standing else "",
        "receipts": receipts_waiting(user),
        "todos": to_do,
        "todos_first": to_do[:TODOS_SHOWN],
        "todos_more": to_do[TODOS_SHOWN:],
        "last_night": of_last_night(user),
        "tests": tests,
        "waiting": waiting,
        "ends": soonest,
        "more_ends": more_ends,
        "may_see_ends": sees_ends,
        "storage": storage(places, now.date()) if any(one.newest for one in places) else None,
        "chart": stored_per_night(user) if sees_sets else "",
        "going": going_soon(user) if sees_sets else None,
        "may_see_sets": sees_sets,
        "may_see_customers": user.has_perm("l2l_subscriptions.view_customer"),
    }
