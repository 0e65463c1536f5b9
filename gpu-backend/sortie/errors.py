"""Errors that a person can mend."""

from __future__ import annotations

import sys
from collections.abc import Callable


class UserError(Exception):
    """Something the caller of a command can put right; the message says how."""


def run_command(main: Callable[[], None]) -> None:
    """Runs a command line; a `UserError` becomes one line on standard error and exit status 2."""
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
