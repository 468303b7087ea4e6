"""`python -m invdiff.training --data FOLDER --out DIR`: the command `invdiff train` by another name."""

import sys

from ..cli import main

if __name__ == "__main__":
    sys.exit(main(["train", *sys.argv[1:]]))
