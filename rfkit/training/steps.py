"""One step of the optimiser."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from rfkit.data.transforms import normalize
from rfkit.training.losses import cross_entropy, ohem_cross_entropy
from rfkit.training.recipe import Recipe
from rfkit.training.schedule import poly_learning_rate

__all__ = ["Stepper"]

# Keeps this use of the seed apart from order (0) and augmentation (1).
_STREAM = 2
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


class Stepper:
    """A network with all that moves its weights: optimiser, learning rate and loss, as the recipe says.

    What a step does depends on the weights, the optimiser's state, the batch and the number of the step, on nothing
    else; so these are all that a checkpoint needs.

    Args:
        model: Moved to `device`, laid out as the recipe says, and set to training mode.
        recipe: Optimiser, schedule, loss, precision.
        seed: Of layers that draw numbers, such as dropout.
        total_steps: Steps until the learning rate is zero.
        device: Where to train.
        class_weights: For the cross-entropy, or None.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        *,
        seed: int,
        total_steps: int,
        device: torch.device,
        class_weights: Float[Tensor, " classes"] | None = None,
    ) -> None:
        self.model, self.recipe, self.seed, self.total_steps, self.device = model, recipe, seed, total_steps, device
        self.class_weights = class_weights
        layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        model.to(device).to(memory_format=layout)  # type: ignore[call-overload]
        model.train()
        self.optimizer = _optimizer(model, recipe)

    def take(
        self, images: UInt8[Tensor, "batch 3 height width"], labels: UInt8[Tensor, "batch height width"], *, step: int
    ) -> Float[Tensor, ""]:
        """Move the weights by one batch; the loss, still on the device so that nothing waits for it."""
        rate = self.learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # The caller keeps the global generator safe; a dropout layer has no other.
        torch.manual_seed(_step_seed(self.seed, step))
        pixels = normalize(images)
        if self.recipe.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            logits = self.model(pixels)
        loss = self._loss(logits, labels)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        return loss.detach()

    def learning_rate(self, step: int) -> float:
        """The learning rate of `step`."""
        recipe = self.recipe
        return poly_learning_rate(
            step,
            self.total_steps,
            initial=recipe.learning_rate,
            power=recipe.poly_power,
            warmup_steps=recipe.warmup_steps,
        )

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        recipe = self.recipe
        if recipe.loss == "ohem":
            return ohem_cross_entropy(logits, labels, threshold=recipe.ohem_threshold, min_kept=recipe.ohem_min_kept)
        return cross_entropy(logits, labels, class_weights=self.class_weights)


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = _parameter_groups(model, recipe)
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "adam":
        return torch.optim.Adam(parameters, rate, betas=(recipe.momentum, recipe.beta2), weight_decay=decay)
    return torch.optim.SGD(parameters, rate, momentum=recipe.momentum, weight_decay=decay)


def _parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """What is trained, all of it in one group unless norm layers are spared the weight decay."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if recipe.decay_norms:
        return [{"params": trained}]
    of_norms = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, _NORMS)
        for parameter in module.parameters(recurse=False)
    }
    spared = [parameter for parameter in trained if id(parameter) in of_norms]
    decayed = [parameter for parameter in trained if id(parameter) not in of_norms]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": spared, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


def _step_seed(seed: int, step: int) -> int:
    return int(np.random.SeedSequence(seed, spawn_key=(_STREAM, step)).generate_state(1, np.uint32)[0])
