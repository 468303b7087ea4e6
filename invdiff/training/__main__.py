"""`python -m invdiff.training --data FOLDER --out DIR`: the command `invdiff train` by itself."""

from __future__ import annotations

import sys

import typer

from .command import train


def main() -> int:
    """Run the command; errors of the user end in one line and exit code 2."""
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(train)
    try:
        app(standalone_mode=False)
    except (ValueError, FileNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
