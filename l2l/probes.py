"""What machines ask: does the process answer, is the service ready, its figures (P13).

No session, no sign-in, no event: a probe comes every few seconds. What is not ready is named by one word; why it is not is for people, on
the pages and in the logs.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import cache

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from audit import clock
from backups import heartbeats, keyfiles
from backups.errors import BackupError
from backups.hot import figures, shipper
from backups.queueing import WORKER
from l2l import metrics

# Three looks at what is due.
WORKER_SILENT = timedelta(minutes=3)


@never_cache
@require_safe
def healthz(request: HttpRequest) -> HttpResponse:
    """The process answers, whatever else does not: for whoever starts it again."""
    return HttpResponse("ok\n", content_type="text/plain")


@never_cache
@require_safe
def readyz(request: HttpRequest) -> HttpResponse:
    """200 when all that the service needs is there; 503 and the names of what is not: for whoever sends it people."""
    lacking = list(_lacking())
    return JsonResponse({"ready": not lacking, "not_ready": lacking}, status=503 if lacking else 200)


@never_cache
@require_safe
def metrics_page(request: HttpRequest) -> HttpResponse:
    """The figures, for whoever has the token. An answer 403 would be an event each time."""
    if not settings.L2L_METRICS_TOKEN:
        return HttpResponse("Not found\n", status=404, content_type="text/plain")
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer" or not hmac.compare_digest(token.encode(), settings.L2L_METRICS_TOKEN.encode()):
        return HttpResponse("Unauthorized\n", status=401, content_type="text/plain", headers={"WWW-Authenticate": "Bearer"})
    return HttpResponse(metrics.exposition(clock.now()), content_type=CONTENT_TYPE_LATEST)


def _lacking() -> Iterator[str]:
    if not _keys():
        yield "keys"
    try:
        yield from (name for name, is_there in _OF_THE_DATABASE if not is_there())
    except (DatabaseError, InterfaceError):
        yield "database"


def _keys() -> bool:
    try:
        keyfiles.key_ring(settings.L2L_KEYS)
        keyfiles.signer(settings.L2L_KEYS)
    except (BackupError, OSError):
        return False
    return True


def _migrated() -> bool:
    return _newest_migrations() <= set(MigrationRecorder(connection).applied_migrations())


@cache
def _newest_migrations() -> frozenset[tuple[str, str]]:
    """The last one of each app, of this process's code."""
    return frozenset(MigrationLoader(None).graph.leaf_nodes())


def _worker() -> bool:
    seen = heartbeats.newest(WORKER)
    return seen is not None and timezone.now() - seen <= WORKER_SILENT


def _shipper() -> bool:
    """One leads; or one gave a sign of life, and takes over."""
    shipping = figures.shipping(clock.now())
    seen = heartbeats.alive(shipper.BEAT, since=timezone.now() - figures.STANDS_BY)
    return not shipping.stopped and bool(shipping.holder or seen)


_OF_THE_DATABASE: tuple[tuple[str, Callable[[], bool]], ...] = (("migrations", _migrated), ("worker", _worker), ("shipper", _shipper))


urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics_page, name="metrics"),
]
