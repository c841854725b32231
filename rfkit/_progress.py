"""Progress bars for people, and a line now and then for a log."""

from __future__ import annotations

import sys
import time
from typing import Any

from tqdm.auto import tqdm

__all__ = ["Bar"]

# Where a terminal does not know its size, as in some containers, tqdm would draw nothing at all.
_SIZE = {"ncols": 80, "nrows": 24}


class Bar(tqdm):
    """A tqdm bar on a terminal and in a notebook. Elsewhere it is a line every half minute, without control characters.

    In a pipe or a log file, what is done within half a minute writes nothing at all. Lines go to stderr like the bar.
    """

    _SECONDS_BETWEEN_LINES = 30.0

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._watched = "ipykernel" in sys.modules or (sys.stderr is not None and sys.stderr.isatty())
        self._said_at = time.monotonic()
        pause = self._SECONDS_BETWEEN_LINES
        # Without a delay, however short, tqdm would draw the bar here already, before `_say` takes over.
        quiet = {} if self._watched else {"delay": 1e-9, "mininterval": min(pause, 1.0), "maxinterval": pause}
        super().__init__(*arguments, **{**options, **quiet})
        for name, usual in _SIZE.items():
            found = getattr(self, name, None)
            if self._watched and isinstance(found, int) and found < 1:
                setattr(self, name, usual)
        if not self._watched and not self.disable:
            self.sp: Any = self._say

    def _say(self, text: str) -> None:
        now = time.monotonic()
        if text and now - self._said_at >= self._SECONDS_BETWEEN_LINES:
            self._said_at = now
            self.fp.write(f"{text}\n")
            self.fp.flush()

    def moveto(self, n: int) -> None:
        """Move the cursor of a terminal; a log has none."""
        if self._watched:
            super().moveto(n)

    def clear(self, nolock: bool = False) -> None:
        """Remove the bar for a moment; a line that was written stays."""
        if self._watched:
            super().clear(nolock=nolock)

    def close(self) -> None:
        """End the bar. Whoever reads a log learns from the result that all is done."""
        if not self._watched:
            self.sp = None
        super().close()
