"""The learning rate of every step."""

from __future__ import annotations

__all__ = ["poly_learning_rate"]


def poly_learning_rate(
    step: int, total_steps: int, *, initial: float, power: float = 0.9, warmup_steps: int = 0
) -> float:
    """The learning rate of `step`: initial * (1 - step / total_steps) ** power, after a linear rise if one is wanted.

    A function of the step alone: there is no schedule state to save, and the horizon is fixed by `total_steps`.

    Args:
        step: Number of the step, from 0.
        total_steps: The step at which the learning rate would be zero.
        initial: Learning rate of step 0 without warm-up.
        power: Exponent of the decay.
        warmup_steps: Over so many steps the value of the schedule is multiplied by (step + 1) / warmup_steps.

    Returns:
        The learning rate.

    Example:
        >>> poly_learning_rate(50, 100, initial=0.02, power=1.0)
        0.01
    """
    if not 0 <= step < total_steps:
        raise ValueError(f"step={step!r} must be from 0 to {total_steps - 1} (total_steps={total_steps!r}).")
    decayed = initial * (1 - step / total_steps) ** power
    return decayed * min(1.0, (step + 1) / warmup_steps) if warmup_steps else decayed
