"""A vendor's project, at the version of its own app that `DEPLOYED` names: each has its models and its migrations up to there."""

import os

from l2l.settings import *  # noqa: F403

VERSION = int(os.environ["DEPLOYED"])
INSTALLED_APPS = [*INSTALLED_APPS, "tests.deployed"]  # noqa: F405
MIGRATION_MODULES = {"deployed": os.environ["DEPLOYED_MIGRATIONS"]}  # those up to this version
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
