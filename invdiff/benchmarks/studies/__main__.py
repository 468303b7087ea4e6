"""`python -m invdiff.benchmarks.studies NAME`: the programs that write the tables of docs/."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from pathlib import Path

from ...errors import UserError
from ...registry import unknown

NAMES = sorted(m.name for m in pkgutil.iter_modules([str(Path(__file__).parent)]) if not m.name.startswith("_"))


def main(argv: list[str] | None = None) -> int:
    """Run the study of the first argument with the other arguments."""
    arguments = sys.argv[1:] if argv is None else argv
    if not arguments or arguments[0] in ("-h", "--help"):
        print(f"python -m invdiff.benchmarks.studies NAME [OPTIONS]; NAME is one of {', '.join(NAMES)}")
        return 0 if arguments else 2
    name, *rest = arguments
    if name not in NAMES:
        print(f"studies: {unknown('study', name, NAMES)}", file=sys.stderr)
        return 2
    try:
        return int(importlib.import_module(f"{__package__}.{name}").main(rest) or 0)
    except (UserError, OSError) as error:
        print(f"studies {name}: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
