"""`python -m rfkit` is the command `rfkit`."""

from __future__ import annotations

import sys

from rfkit.cli import main

if __name__ == "__main__":
    sys.exit(main())
