from __future__ import annotations

import pytest

from rfkit.training.schedule import poly_learning_rate


def test_closed_form() -> None:
    assert poly_learning_rate(0, 1000, initial=0.02) == 0.02
    assert poly_learning_rate(500, 1000, initial=0.02) == pytest.approx(0.02 * 0.5**0.9)
    assert poly_learning_rate(999, 1000, initial=0.02) == pytest.approx(0.02 * 0.001**0.9)


def test_warmup_rises_to_the_schedule() -> None:
    rates = [poly_learning_rate(step, 100, initial=1.0, power=1.0, warmup_steps=10) for step in range(20)]
    assert rates[:3] == pytest.approx([0.1, 0.2 * 0.99, 0.3 * 0.98])
    assert rates[9:] == pytest.approx([1 - step / 100 for step in range(9, 20)])


def test_steps_beyond_the_horizon_are_an_error() -> None:
    with pytest.raises(ValueError, match=r"step=100 must be from 0 to 99 \(total_steps=100\)"):
        poly_learning_rate(100, 100, initial=0.02)
