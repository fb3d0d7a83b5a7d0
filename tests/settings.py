"""The project's settings and the tests' own app of protected models."""

from l2l.settings import *  # noqa: F403

INSTALLED_APPS = [*INSTALLED_APPS, "tests.factory"]  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
