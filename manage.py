#!/usr/bin/env python
"""Runs the project's commands; `manage.py help` lists them."""

import sys

from wsproject.env import BadSetting, adopt_serve_flags, use_settings


def main() -> None:
    adopt_serve_flags(sys.argv)
    use_settings("wsproject.settings")
    from django.core.management import execute_from_command_line

    try:
        execute_from_command_line(sys.argv)
    except BadSetting as error:
        sys.exit(f"manage.py: {error}")


if __name__ == "__main__":
    main()
