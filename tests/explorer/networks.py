"""Networks small enough for a test to explore."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Dictionary", "Gated", "Strange", "image", "plain", "small_dwrseg", "untouched_state"]


def image(height: int = 32, width: int = 48) -> Tensor:
    """An 8-bit image of noise."""
    return torch.randint(0, 256, (3, height, width), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def plain() -> nn.Sequential:
    """Ten lines without stages: a stride of 2, a dilation rate of 2, four classes at half size."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Conv2d(3, 6, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(6, 5, 3, padding=2, dilation=2), nn.ReLU(),
            nn.Conv2d(5, 4, 1),
        ).eval()  # fmt: skip


def small_dwrseg() -> nn.Module:
    """DWRSeg-B without training."""
    from rfkit.models.registry import create_model

    return create_model("dwrseg_b", num_classes=5, seed=0).eval()


class Dictionary(nn.Module):
    """Returns two maps under names, as networks of common packages do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = plain()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        found = self.body[:4](images)
        return {"features": found, "out": self.body[4](found)}


class Gated(nn.Module):
    """A global path beside the local one."""

    def __init__(self) -> None:
        super().__init__()
        self.body = plain()

    def forward(self, images: Tensor) -> Tensor:
        found = self.body(images)
        return found * found.mean((2, 3), keepdim=True).sigmoid()


class Strange(nn.Module):
    """An operator that the trace has no rule for."""

    def __init__(self) -> None:
        super().__init__()
        self.body = plain()

    def forward(self, images: Tensor) -> Tensor:
        return torch.sort(self.body(images), 2).values


def untouched_state(model: nn.Module) -> dict[str, Any]:
    """What an analysis must leave alone."""
    return {
        "training": [module.training for module in model.modules()],
        "hooks": [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in model.modules()],
        "gradients": [parameter.grad for parameter in model.parameters()],
        "required": [parameter.requires_grad for parameter in model.parameters()],
        "random": torch.random.get_rng_state().tolist(),
    }
