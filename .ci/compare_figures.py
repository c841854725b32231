"""Compare the data of two folders of figures: the same files, columns and words, and numbers equal up to rounding."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd

# Another processor adds in another order, and maps go through a few dozen convolutions.
_TOLERANCE = {"rtol": 1e-2, "atol": 1e-3}


def main(committed: Path, rebuilt: Path) -> int:
    """Print what differs; returns the exit code."""
    names = [sorted(path.name for path in folder.glob("*.csv")) for folder in (committed, rebuilt)]
    problems = [f"{name}: in one folder only" for name in sorted(set(names[0]) ^ set(names[1]))]
    for name in sorted(set(names[0]) & set(names[1])):
        try:
            pd.testing.assert_frame_equal(
                pd.read_csv(committed / name), pd.read_csv(rebuilt / name), check_dtype=False, **_TOLERANCE
            )
        except AssertionError as error:
            problems.append(f"{name}: {' '.join(str(error).split())}")
    print("\n".join(problems) or f"{len(names[0])} CSV files agree")
    return 1 if problems or not names[0] else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
