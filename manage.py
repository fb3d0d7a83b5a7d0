#!/usr/bin/env python
"""Django's command line for the back office; `manage.py help` lists the commands."""

import gc
import os
import sys


def main() -> None:
    # What is imported stays. Looking for garbage among it meanwhile is a fifth of what a command takes to begin (measured); once all is
    # loaded, `l2l/apps.py` lets the collector begin.
    gc.disable()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "l2l.settings")
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
