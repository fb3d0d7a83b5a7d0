"""All settings, in one module, from the environment (or `.env` beside manage.py). `.env.example` names each one.

What is wrong here is reported by `l2l/checks.py`, with an id and a hint, before anything runs.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

import environ

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()
environ.Env.read_env(BASE_DIR / ".env")

SOFTWARE_VERSION = "0.1.0"

# Everything that the embedded default writes lies under one folder.
L2L_HOME = Path(env.str("L2L_HOME", str(BASE_DIR / "var"))).resolve()
L2L_KEYS = Path(env.str("L2L_KEYS", str(L2L_HOME / "keys"))).resolve()
L2L_EXPORTS = Path(env.str("L2L_EXPORTS", str(L2L_HOME / "exports"))).resolve()
L2L_SPOOL = Path(env.str("L2L_SPOOL", str(L2L_HOME / "spool"))).resolve()
# Where test restores are loaded: an empty PostgreSQL database; a file of its own in the spool when it is left out.
L2L_SCRATCH_URL = env.str("L2L_SCRATCH_URL", "")
L2L_ZONE = env.str("L2L_ZONE", "UTC")
# name=url, separated by white space; the first one is the primary. Credentials stand apart (.env.example).
L2L_LOCATIONS = env.str("L2L_LOCATIONS", f"primary=file://{L2L_HOME}/locations/primary offsite=file://{L2L_HOME}/locations/offsite")
L2L_OFFSITE = env.list("L2L_OFFSITE", default=["offsite"] if "offsite=" in L2L_LOCATIONS else [])
L2L_SAMPLE = (L2L_HOME / "SAMPLE").exists()
# Only in a sample home: the moment at which each process begins.
L2L_NOW = env.str("L2L_NOW", "")

# As customers and staff reach the back office, for links in messages: https://backoffice.example.org
L2L_ADDRESS = env.str("L2L_ADDRESS", "")


def secret(value: str, path: str) -> str:
    """A secret as it stands in the environment, or in the file that is named there: only its owner may read that (`l2l/checks.py`)."""
    return Path(path).read_text().strip() if path else value


def secret_key() -> str:
    """Django's secret from the environment, from the home (mode 0600, written by `init`), or one that lives as long as this process."""
    from_environment = env.str("L2L_SECRET_KEY", "")
    stored = L2L_KEYS / "django-secret-key"
    if from_environment:
        return from_environment
    return stored.read_text().strip() if stored.exists() else secrets.token_urlsafe(50)


SECRET_KEY = secret_key()
DEBUG = env.bool("L2L_DEBUG", False)
ALLOWED_HOSTS = env.list("L2L_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("L2L_ORIGINS", default=[])
HTTPS = env.bool("L2L_HTTPS", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE_SSL_REDIRECT = HTTPS
# Probes come from beside the process, without TLS.
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("L2L_BEHIND_PROXY", False) else None
SESSION_COOKIE_AGE = 12 * 60 * 60
LOGIN_REDIRECT_URL = "admin:index"
LOGIN_URL = "admin:login"
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "unfold.apps.BasicAppConfig",  # its default config would put its own site in the place of ours
    "unfold.contrib.simple_history",
    "l2l.apps.BackOfficeAdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "simple_history",
    "django_q",
    "audit",
    "subscriptions",
    "backups",
    "l2l",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "audit.actors.ActingUserMiddleware",
    "audit.access.EvidenceMiddleware",
]

ROOT_URLCONF = "l2l.urls"
WSGI_APPLICATION = "l2l.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# What a process of the queue may take, in seconds, before it is held to hang: no sign of life at all, a lease that is not renewed.
L2L_STALL_SECONDS = env.int("L2L_STALL_SECONDS", 180)
L2L_LEASE_SECONDS = env.int("L2L_LEASE_SECONDS", 120)
# The hot shipper's: short, for whoever stands by on another machine waits that long before it leads.
L2L_HOT_LEASE_SECONDS = env.int("L2L_HOT_LEASE_SECONDS", 6)
# The longest upload that a person may make or import: the file goes to the upload storage in the middle of its row's transaction.
UPLOAD_SECONDS = 60 * 60


def server_limits(options: str) -> str:
    """PostgreSQL's command-line options for our connections, after those that DATABASE_URL gives.

    A process that is stopped in the middle of a transaction, or whose machine is gone, keeps its locks until the server ends that
    transaction; whoever needs them waits without end. In the queue, whose transactions are short, the sleeper is ended well before the
    waiting attempt gives up (a trouble of its run, tried again), and that well before the cluster is held to hang. A woken process
    finds its connection closed and records nothing. Elsewhere a transaction may last as long as an upload, and waits for the one before.
    """
    in_queue = bool(os.environ.get("Q_CLUSTER_NAME"))  # set by who starts the cluster, never by an operator
    idle, wait = (L2L_STALL_SECONDS / 3, L2L_STALL_SECONDS / 2) if in_queue else (UPLOAD_SECONDS, 0)
    limits = {"idle_in_transaction_session_timeout": idle, "lock_timeout": wait}
    return " ".join([options, *(f"-c {name}={seconds * 1000:.0f}" for name, seconds in limits.items())]).strip()


DATABASES = {"default": env.db_url("DATABASE_URL", f"sqlite:///{L2L_HOME}/l2l.sqlite3")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # IMMEDIATE gives one writer at a time from the start of a transaction, so that no lock is upgraded in the middle (measured:
    # 0 lost writes against 235); FULL, for a commit that we acknowledge survives a power cut; secure_delete, for destroyed is gone.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA secure_delete=ON",
    }
    DATABASES["default"]["TEST"] = {"NAME": str(BASE_DIR / "build" / "test.sqlite3")}
if DATABASES["default"]["ENGINE"] == "django.db.backends.postgresql":
    DATABASES["default"].setdefault("OPTIONS", {})["options"] = server_limits(DATABASES["default"].get("OPTIONS", {}).get("options", ""))
DATABASES["default"].setdefault("CONN_MAX_AGE", 60)
# How long others keep the database's bytes, in days: what a certificate of destruction says of them. None: not known here.
L2L_DATABASE_BACKUPS_KEPT_DAYS = env.int("L2L_DATABASE_BACKUPS_KEPT_DAYS", None)
L2L_DATABASE_WAL_KEPT_DAYS = env.int("L2L_DATABASE_WAL_KEPT_DAYS", None)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Uploads: a folder by default, S3 when L2L_UPLOADS names a bucket (s3://bucket/prefix?endpoint=...&region=...).
L2L_UPLOADS = env.str("L2L_UPLOADS", f"file://{L2L_HOME}/uploads")
STORAGES = {
    "default": {"BACKEND": "audit.files.DurableFolderStorage", "OPTIONS": {"location": L2L_UPLOADS.removeprefix("file://")}}
    if L2L_UPLOADS.startswith("file://")
    else {
        "BACKEND": "audit.files.BucketStorage",
        "OPTIONS": {
            "url": L2L_UPLOADS,
            "access_key": env.str("L2L_UPLOADS_ACCESS_KEY_ID", ""),
            "secret_key": env.str("L2L_UPLOADS_SECRET_ACCESS_KEY", ""),
        },
    },
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedStaticFilesStorage"},
}
# Uploads are served only through views that check who asks; the storage itself has no public address.
MEDIA_URL = "/no-public-media/"
STATIC_URL = "/static/"
STATIC_ROOT = L2L_HOME / "static"
WHITENOISE_USE_FINDERS = True

LANGUAGE_CODE = "en-us"
USE_I18N = True
FORMAT_MODULE_PATH = ["l2l.formats"]
USE_TZ = True
TIME_ZONE = "UTC"

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]

# Reminders to customers, alarms and digests. Without a host no customer is reminded, and the page of the request says to remind by hand;
# alarms and digests are written to the worker's output then (`l2l/staff_mail.py`).
EMAIL_HOST = env.str("L2L_MAIL_HOST", "")
L2L_MAIL_TLS = env.str("L2L_MAIL_TLS", "starttls")
EMAIL_USE_TLS, EMAIL_USE_SSL = L2L_MAIL_TLS == "starttls", L2L_MAIL_TLS == "tls"
EMAIL_PORT = env.int("L2L_MAIL_PORT", {"tls": 465, "starttls": 587}.get(L2L_MAIL_TLS, 25))
EMAIL_HOST_USER = env.str("L2L_MAIL_USER", "")
EMAIL_HOST_PASSWORD = secret(env.str("L2L_MAIL_PASSWORD", ""), env.str("L2L_MAIL_PASSWORD_FILE", ""))
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = env.str("L2L_MAIL_FROM", "")
L2L_ALARMS_TO = env.list("L2L_ALARMS_TO", default=[])
L2L_ALARMS_WEBHOOK = env.str("L2L_ALARMS_WEBHOOK", "")
L2L_ALARMS_WEBHOOK_SECRET = secret(env.str("L2L_ALARMS_WEBHOOK_SECRET", ""), env.str("L2L_ALARMS_WEBHOOK_SECRET_FILE", ""))
L2L_DIGEST_TO = env.list("L2L_DIGEST_TO", default=L2L_ALARMS_TO)
# Somebody outside, who keeps the signed heads over all chains.
L2L_AUDITOR_ADDRESS = env.str("L2L_AUDITOR_ADDRESS", "")

# For whoever reads /metrics; without one that address answers 404.
L2L_METRICS_TOKEN = secret(env.str("L2L_METRICS_TOKEN", ""), env.str("L2L_METRICS_TOKEN_FILE", ""))

SIMPLE_HISTORY_HISTORY_CHANGE_REASON_USE_TEXT_FIELD = True
SIMPLE_HISTORY_REVERT_DISABLED = True
SIMPLE_HISTORY_DATE_INDEX = False

# The queue, on the same database. What is owed stands in our own runs, so failures are acknowledged and successes not kept; the rule that
# `l2l/checks.py` holds: retry > timeout x (queue_limit / workers + 1), for the time counts from when a task is fetched, not when it begins.
# Small backups wait for disks more than they compute, so that twice as many workers as processors do most (measured); SQLite, with one
# writer at a time, gains nothing from more than two.
ON_SQLITE = DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3"
L2L_WORKERS = env.int("L2L_WORKERS", 2 if ON_SQLITE else 2 * (os.cpu_count() or 1))
L2L_STOP_SECONDS = env.int("L2L_STOP_SECONDS", 20)
TASK_SECONDS = 6 * 60 * 60
Q_CLUSTER = {
    "name": "l2l",
    "cluster_name": "worker",
    "label": "Queue",
    "orm": "default",
    "workers": L2L_WORKERS,
    "queue_limit": L2L_WORKERS,
    "bulk": 1,
    "timeout": TASK_SECONDS,
    "retry": 2 * TASK_SECONDS + 600,
    "max_attempts": 1,
    "ack_failures": True,
    "save_limit": -1,
    "catch_up": False,
    "time_zone": "UTC",
    "poll": 0.5,
    "recycle": 500,
    "ALT_CLUSTERS": {"destroyer": {"workers": 1, "queue_limit": 1}},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"()": "l2l.door.masking.MaskedLinks", "fmt": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "filters": {"probes": {"()": "l2l.quiet_probes.Unlogged"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["console"], "level": env.str("L2L_LOG_LEVEL", "INFO")},
    "loggers": {
        "django-q": {"level": env.str("L2L_LOG_LEVEL", "WARNING")},  # else three lines a task
        "django.request": {"filters": ["probes"]},
    },
}

UNFOLD = {
    "SITE_TITLE": "L2L back office",
    "SITE_HEADER": "L2L back office",
    "SITE_SUBHEADER": "Customers, backups, proof",
    "SITE_SYMBOL": "shield_lock",
    "SITE_URL": None,
    "ENVIRONMENT": "l2l.admin.site.environment_badge",
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "COLORS": {
        "primary": {
            "50": "oklch(98.4% .014 180.7)",
            "100": "oklch(95.3% .051 180.8)",
            "200": "oklch(91% .096 180.4)",
            "300": "oklch(85.5% .138 181.1)",
            "400": "oklch(77.7% .152 181.9)",
            "500": "oklch(70.4% .14 182.5)",
            "600": "oklch(52.5% .098 186)",
            "700": "oklch(46% .087 187)",
            "800": "oklch(41% .075 188.2)",
            "900": "oklch(36% .063 188.4)",
            "950": "oklch(27.7% .046 192.5)",
        },
    },
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": "l2l.admin.site.navigation"},
}
