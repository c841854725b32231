"""One step of the optimiser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from rfkit.data.transforms import normalize
from rfkit.hooks import observe
from rfkit.models.learning_dilations import clamp_rates, has_learned_rates, rate_parameters
from rfkit.training.averaging import MovingAverage
from rfkit.training.contrastive import find_classifier, pixel_contrast
from rfkit.training.losses import cross_entropy, ohem_cross_entropy, pixel_weights
from rfkit.training.processes import ALONE, Processes
from rfkit.training.recipe import Recipe
from rfkit.training.schedule import poly_learning_rate

__all__ = ["Stepper"]

# Keeps this use of the seed apart from order (0) and augmentation (1).
_STREAM = 2
# In a group of parameters: its learning rate over that of the schedule.
_FACTOR = "learning_rate_factor"
_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


class Stepper:
    """A network with all that moves its weights: optimiser, learning rate and loss, as the recipe says.

    What a step does depends on the weights, the optimiser's state, the moving average, the batch and the number of the
    step, on nothing else; so these are all that a checkpoint needs.

    Args:
        model: Moved to `device`, laid out as the recipe says, and set to training mode.
        recipe: Optimiser, schedule, loss, precision.
        seed: Of layers that draw numbers, such as dropout.
        total_steps: Steps until the learning rate is zero.
        device: Where to train.
        class_weights: For the loss, or None.
        processes: Those that train together; each gives its own part of the batch to `take`.
        compile: Mode for `torch.compile`, or None.

    Attributes:
        average: The moving average of the network, where the recipe wants one.
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
        processes: Processes = ALONE,
        compile: str | None = None,
    ) -> None:
        self.model, self.recipe, self.seed, self.total_steps, self.device = model, recipe, seed, total_steps, device
        self.class_weights, self.processes = class_weights, processes
        layout = torch.channels_last if recipe.channels_last else torch.contiguous_format
        model.to(device).to(memory_format=layout)  # type: ignore[call-overload]
        model.train()
        processes.take_over(model)
        self.average = MovingAverage(model, decay=recipe.ema_decay) if recipe.ema_decay is not None else None
        self.optimizer = _optimizer(model, recipe, device)
        self._classifier = find_classifier(model) if recipe.contrastive_weight else ""
        self._learns_rates = has_learned_rates(model)
        self._replicated = processes.replicated(model)
        self._network = self._replicated if compile is None else torch.compile(self._replicated, mode=compile)

    @property
    def result(self) -> nn.Module:
        """The network that is scored and saved: the moving average where there is one."""
        return self.model if self.average is None else self.average.model

    def take(
        self, images: UInt8[Tensor, "batch 3 height width"], labels: UInt8[Tensor, "batch height width"], *, step: int
    ) -> Float[Tensor, ""]:
        """Move the weights by one batch; the loss, still on the device so that nothing waits for it.

        With several processes the loss is this one's part: the parts add up to that of the batch.
        """
        rate = self.learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get(_FACTOR, 1.0)
        # The caller keeps the global generator safe; a dropout layer has no other.
        torch.manual_seed(_step_seed(self.seed, step, self.processes.rank))
        self.optimizer.zero_grad(set_to_none=True)
        total = self._total_weight(labels)
        parts = self.recipe.accumulate
        losses = []
        for number, (some_images, some_labels) in enumerate(
            zip(images.chunk(parts), labels.chunk(parts), strict=True), start=1
        ):
            with self._gradients_stay_here(number < parts), self._embeddings() as embeddings:
                logits = self._logits(some_images)
                loss = self._loss(logits, some_labels, total)
                if embeddings is not None:
                    loss = loss + self._contrast(embeddings[0], logits, some_labels, step)
                # The processes' gradients are averaged, while their losses add up.
                (loss * self.processes.count).backward()
            losses.append(loss.detach())
        if self.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        if self._learns_rates:
            clamp_rates(self.model)
        if self.average is not None:
            self.average.update(self.model, step=step)
        return losses[0] if parts == 1 else torch.stack(losses).sum()

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

    def _logits(self, images: Tensor) -> Tensor:
        pixels = normalize(images)
        if self.recipe.channels_last:
            pixels = pixels.contiguous(memory_format=torch.channels_last)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.recipe.precision == "bf16"):
            return self._network(pixels)

    def _loss(self, logits: Tensor, labels: Tensor, total: Tensor | None) -> Tensor:
        recipe = self.recipe
        shared: Any = {"class_weights": self.class_weights, "label_smoothing": recipe.label_smoothing}
        if recipe.loss == "cross-entropy":
            return cross_entropy(logits, labels, total=total, **shared)
        loss = ohem_cross_entropy(
            logits,
            labels,
            threshold=recipe.ohem_threshold,
            min_kept=recipe.ohem_min_kept,
            processes=self.processes,
            **shared,
        )
        return loss / recipe.accumulate

    @contextmanager
    def _embeddings(self) -> Iterator[list[Tensor] | None]:
        """While open, what the classifier reads goes into the list; None where the recipe has no contrastive term."""
        if not self.recipe.contrastive_weight:
            yield None
            return
        seen: list[Tensor] = []
        with observe(self.model, self._classifier, lambda _name, inputs, _output: seen.append(inputs[0])):
            yield seen

    def _contrast(self, embeddings: Tensor, logits: Tensor, labels: Tensor, step: int) -> Tensor:
        recipe = self.recipe
        generator = torch.Generator(self.device).manual_seed(_step_seed(self.seed, step, self.processes.rank))
        loss = pixel_contrast(
            embeddings,
            labels,
            logits=logits,
            anchors=recipe.contrastive_anchors,
            temperature=recipe.contrastive_temperature,
            generator=generator,
        )
        return recipe.contrastive_weight * loss / (recipe.accumulate * self.processes.count)

    def _total_weight(self, labels: Tensor) -> Tensor | None:
        """What the pixels of the whole batch weigh, where these are a part of it or are taken in parts."""
        if self.recipe.loss != "cross-entropy" or (self.processes.count == 1 and self.recipe.accumulate == 1):
            return None
        return self.processes.add(pixel_weights(labels, self.class_weights).sum())

    def _gradients_stay_here(self, wanted: bool) -> Any:
        """Whether the gradients of a part wait for those of the next before processes exchange them."""
        if wanted and isinstance(self._replicated, DistributedDataParallel):
            return self._replicated.no_sync()
        return nullcontext()


def _optimizer(model: nn.Module, recipe: Recipe, device: torch.device) -> torch.optim.Optimizer:
    parameters = _parameter_groups(model, recipe)
    rate, decay = recipe.learning_rate, recipe.weight_decay
    # One kernel for all parameters; on a CPU it would change the last bits of runs that are under way.
    fused = True if device.type == "cuda" else None
    if recipe.optimizer == "adam":
        betas = (recipe.momentum, recipe.beta2)
        return torch.optim.Adam(parameters, rate, betas=betas, weight_decay=decay, fused=fused)
    return torch.optim.SGD(parameters, rate, momentum=recipe.momentum, weight_decay=decay, fused=fused)


def _parameter_groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """What is trained: one group, and apart from it what is spared the weight decay (norms, learned dilation rates)."""
    rates = rate_parameters(model) if has_learned_rates(model) else []
    norms = [
        parameter
        for module in model.modules()
        if isinstance(module, _NORMS) and not recipe.decay_norms
        for parameter in module.parameters(recurse=False)
    ]
    apart = {id(parameter) for parameter in (*rates, *norms)}
    others = [parameter for parameter in model.parameters() if id(parameter) not in apart]
    factor = 1.0 if recipe.rate_learning_rate is None else recipe.rate_learning_rate / recipe.learning_rate
    groups: list[dict[str, Any]] = [
        {"params": others},
        {"params": norms, "weight_decay": 0.0},
        {"params": rates, "weight_decay": 0.0, _FACTOR: factor},
    ]
    trained = [{**group, "params": [p for p in group["params"] if p.requires_grad]} for group in groups]
    return [group for group in trained if group["params"]]


def _step_seed(seed: int, step: int, rank: int) -> int:
    # The first process draws what one alone would.
    key = (_STREAM, step, rank) if rank else (_STREAM, step)
    return int(np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint32)[0])
