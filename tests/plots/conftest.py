"""No plot leaves a trace in matplotlib's settings."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib as mpl
import pytest


@pytest.fixture(autouse=True)
def _settings_stay() -> Iterator[None]:
    before = dict(mpl.rcParams)
    yield
    after = dict(mpl.rcParams)
    assert {name for name in before if before[name] != after[name]} == set()
