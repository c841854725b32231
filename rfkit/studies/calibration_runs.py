"""One run of the calibration: a small network trained on a task whose distance is known, and what each measure says."""

from __future__ import annotations

import dataclasses
import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rfkit._checks import check_choice
from rfkit.analysis.branch_removal import branch_means, without_branches
from rfkit.analysis.branches import branch_weights
from rfkit.analysis.effective import effective_rf
from rfkit.data.dataset import IGNORE, InMemory
from rfkit.data.distance_tasks import KINDS, DistanceTask, limited_accuracy, square_window
from rfkit.data.transforms import normalize
from rfkit.models.learning_dilations import dilation_rates, freeze, has_learned_rates
from rfkit.nn.branches import ParallelDilations
from rfkit.nn.conv import ConvNorm
from rfkit.nn.probe import CompetingBranches
from rfkit.nn.single_step import DABModule, ESPModule
from rfkit.results.branches import BranchWeights
from rfkit.studies.learned_rates import learn_dilations
from rfkit.training.memory import kept_memory
from rfkit.training.recipe import Recipe
from rfkit.training.steps import Stepper

__all__ = ["NETWORKS", "RATES", "CalibrationRun", "Schedule", "calibration_network", "measure_run", "pixel_accuracy",
           "train_run"]  # fmt: skip

RATES = (1, 3, 5, 7, 9, 11)
"""Dilation rates that compete. They lie two apart, so that each distance of a task belongs to one of them."""

NETWORKS = ("one block", "two blocks", "alone", "learned", "ESP", "DAB")
"""What is trained, see `calibration_network`."""

_CHANNELS = 8
_BLOCKS = {"one block": 1, "two blocks": 2, "alone": 1, "learned": 1}
_LEARNED_BOUND = 12.0
_PER_BRANCH = ("weight_initial", "weight", "gain", "contribution", "lost", "moved", "still")
_STILL = 0.5  # a tap that moved by less than so many standard deviations of the initial ones is where it began


@dataclass(frozen=True)
class Schedule:
    """How long and how every network of a calibration is trained and measured; fixed before the runs.

    The optimiser is the paper's (SGD, momentum 0.9, weight decay 0.0005, poly schedule with power 0.9), with another
    learning rate and batch, plain cross-entropy and no augmentation.

    Attributes:
        steps: steps of training.
        batch_size: images in a step.
        learning_rate: at the first step.
        images: images of the training split, taken in a new random order each time they are through.
        test_images: images of the validation split, on which everything is measured.
        field_images: the first of these, on which effective fields and contributions are measured.
        side: height and width of the images.
    """

    steps: int = 150
    batch_size: int = 4
    learning_rate: float = 0.05
    images: int = 256
    test_images: int = 64
    field_images: int = 16
    side: int = 48


@dataclass(frozen=True)
class CalibrationRun:
    """What is trained on what.

    Attributes:
        network: one of `NETWORKS`.
        kind: kind of `DistanceTask`.
        distance: its distance, or distance -> share.
        rates: dilation rates of the branches; for "learned" those to begin with.
        seed: of the initial weights, the order and the images.
        smoothness: of the task's images.
    """

    network: str
    kind: str
    distance: int | Mapping[int, float | int]
    rates: tuple[int, ...] = RATES
    seed: int = 0
    smoothness: int = 1

    def __post_init__(self) -> None:
        check_choice("network", self.network, NETWORKS)
        check_choice("kind", self.kind, KINDS)

    @property
    def where(self) -> str:
        """The distance as text: "5", or "3:0.75 9:0.25" for a mixture."""
        if isinstance(self.distance, Mapping):
            return " ".join(f"{distance}:{share:.4g}" for distance, share in self.distance.items())
        return str(self.distance)

    @property
    def name(self) -> str:
        """Unique among the runs, and fit for a file."""
        text = f"{self.network}-{self.kind}-{self.where}-rates{','.join(map(str, self.rates))}-seed{self.seed}"
        return text.replace(" ", "_").replace(":", "x")

    def task(self, split: str, schedule: Schedule) -> DistanceTask:
        """The images of a split."""
        length = schedule.images if split == "train" else schedule.test_images
        return DistanceTask(
            self.kind, self.distance, split=split, length=length, seed=self.seed, size=(schedule.side,) * 2,
            smoothness=self.smoothness,
        )  # fmt: skip

    def ceiling(self, rate: float) -> float:
        """The best accuracy with one branch of that rate in "one block", in closed form; NaN where there is none."""
        if self.kind in ("size", "period") or rate != round(rate):
            return math.nan
        return limited_accuracy(
            self.kind, self.distance, square_window(int(rate), int(rate)), smoothness=self.smoothness
        )

    def needed(self) -> float:
        """The rate that the task needs: the distance; for "noise" the competing rate with the highest `ceiling`.

        NaN for mixtures, which need several, and for the null task, which needs none.
        """
        if self.kind in ("mixture", "null"):
            return math.nan
        if self.kind == "noise":
            return float(max(RATES, key=self.ceiling))
        return float(max(_shares(self.distance)))


def calibration_network(network: str, rates: Sequence[int] = RATES, *, seed: int = 0) -> nn.Module:
    """A small network with two classes and a stage of known geometry, at the resolution of the image.

    - "one block": one block of competing branches whose region convolution is 1x1, ReLU and a 1x1 classifier. A branch
      of rate d reads the pixels at distance d and the centre, and nothing else can bring context. So what lies r
      pixels away takes the branch of rate r, exactly.
    - "two blocks": two of the paper's blocks, whose region convolution is 3x3. Rates add up along the blocks, so
      that a distance of 9 may be reached as 1 + 1 + 7, with the region convolutions' 1 each, or in many other ways.
    - "alone": "one block" with one branch.
    - "learned": "one block" with branches whose rates are learned, `rates` to begin with.
    - "ESP", "DAB": one single-step module, see `rfkit.nn.single_step`; of DAB's rates the last of `rates` counts.

    Args:
        network: one of `NETWORKS`.
        rates: dilation rates of the branches.
        seed: of the initial weights.

    Raises:
        ValueError: `network` is unknown, or a rate is not a whole number of at least 1.
    """
    check_choice("network", network, NETWORKS)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if network in _BLOCKS:
            kernel = 3 if network == "two blocks" else 1
            width = _CHANNELS
            stage: list[nn.Module] = [
                CompetingBranches(width, width if index else 3, dilations=rates, region_kernel=kernel)
                for index in range(_BLOCKS[network])
            ]
        else:
            width = 2 * len(RATES) if network == "ESP" else 2 * _CHANNELS
            stage = [
                ConvNorm(3, width, kernel_size=1),
                ESPModule(width, dilations=rates) if network == "ESP" else DABModule(width, dilation=rates[-1]),
            ]
        head = nn.Sequential(nn.ReLU(), nn.Conv2d(width, 2, 1))
        model = nn.Sequential(OrderedDict(stage=nn.Sequential(*stage), head=head))
    return learn_dilations(model, bound=_LEARNED_BOUND) if network == "learned" else model


def train_run(run: CalibrationRun, schedule: Schedule) -> nn.Module:
    """The network of `run` after its training, in evaluation mode."""
    model = calibration_network(run.network, run.rates, seed=run.seed)
    _fit(model, InMemory(run.task("train", schedule), progress=False), run, schedule)
    return model.eval()


def measure_run(run: CalibrationRun, schedule: Schedule, model: nn.Module) -> list[dict[str, Any]]:
    """What each measure says of a trained network: one row a branch, with `rfkit.results.calibration.COLUMNS`."""
    initial = calibration_network(run.network, run.rates, seed=run.seed).eval()
    before = dict(initial.named_parameters())
    competes = run.network in ("one block", "two blocks")
    test = InMemory(run.task("val", schedule), progress=False)
    images, labels = torch.as_tensor(test.images), torch.as_tensor(test.labels)
    accuracy = pixel_accuracy(model, images, labels)
    some = images[: schedule.field_images]
    columns: dict[str, dict[int, float]] = {}
    radius = math.nan
    if run.network != "alone":
        field = effective_rf(model, some, channels=1, batch_size=len(some), progress=False)["output"]
        radius = (field.square_sides([0.5])[0.5] - 1) / 2
        columns["moved"], columns["still"] = _movement(model, before)
    if competes or run.network == "learned":
        columns["weight_initial"] = _by_branch(_weights(initial), "weight")
        weights = _weights(model, some)
        columns |= {measure: _by_branch(weights, measure) for measure in ("weight", "gain", "contribution")}
    if competes:
        columns["lost"] = _lost(model, images, labels, accuracy)
    rates: Sequence[float] = run.rates
    if has_learned_rates(model):
        rates = dilation_rates(model)["rate"].tolist()
    shares = _shares(run.distance) if run.kind != "null" else {}
    if run.kind == "noise":
        shares = {round(run.needed()): 1.0}
    return [
        {
            "run": run.name, "network": run.network, "kind": run.kind, "distance": run.where, "needed": run.needed(),
            "seed": run.seed, "smoothness": run.smoothness, "rates": " ".join(map(str, run.rates)),
            **dataclasses.asdict(schedule), "accuracy": accuracy, "radius": radius, "branch": branch,
            "start": run.rates[branch], "rate": rates[branch], "share": float(shares.get(run.rates[branch], 0.0)),
            "ceiling": run.ceiling(rates[branch]),
            **{name: columns.get(name, {}).get(branch, math.nan) for name in _PER_BRANCH},
        }
        for branch in range(len(run.rates))
    ]  # fmt: skip


def pixel_accuracy(model: nn.Module, images: Tensor, labels: Tensor) -> float:
    """The share of labelled pixels that `model` gets right, from 0 to 1."""
    right = total = 0
    with torch.inference_mode():
        for some, truth in zip(images.split(16), labels.split(16), strict=True):
            counted = truth != IGNORE
            right += int(((model(normalize(some)).argmax(1) == truth) & counted).sum())
            total += int(counted.sum())
    return right / total


def _fit(model: nn.Module, data: InMemory, run: CalibrationRun, schedule: Schedule) -> None:
    # The steps are those of `rfkit.train`. Its run folder, log and augmentation are not wanted here: they would take
    # longer than the training itself.
    recipe = Recipe(
        name="calibration", learning_rate=schedule.learning_rate, batch_size=schedule.batch_size, loss="cross-entropy",
        rate_learning_rate=2.0,
    )  # fmt: skip
    images, labels = torch.as_tensor(data.images), torch.as_tensor(data.labels)
    order = _order(len(images), schedule, run.seed)
    with torch.random.fork_rng(devices=[]), kept_memory():
        stepper = Stepper(model, recipe, seed=run.seed, total_steps=schedule.steps, device=torch.device("cpu"))
        for step, chosen in enumerate(order):
            stepper.take(images[chosen], labels[chosen], step=step)


def _order(count: int, schedule: Schedule, seed: int) -> Iterator[Tensor]:
    """The images of each step."""
    generator = torch.Generator().manual_seed(seed)
    whole = count - count % schedule.batch_size
    batches: list[Tensor] = []
    for _ in range(schedule.steps):
        if not batches:
            batches = list(torch.randperm(count, generator=generator)[:whole].split(schedule.batch_size))
        yield batches.pop()


def _weights(model: nn.Module, images: Tensor | None = None) -> BranchWeights:
    # Branches are looked for among ordinary convolutions; a frozen copy has the same weights.
    whole = freeze(model) if has_learned_rates(model) else model
    return branch_weights(whole, images=images, input_size=(3, 32, 32))


def _by_branch(weights: BranchWeights, measure: str) -> dict[int, float]:
    """Branch -> the mean of a measure, over all blocks."""
    return {
        branch: sum(float(block.values(branch, measure).mean()) for block in weights.blocks) / len(weights.blocks)
        for branch in range(len(weights.blocks[0].dilations))
    }


def _taps(model: nn.Module, before: Mapping[str, Tensor]) -> Iterator[tuple[int, Tensor, Tensor]]:
    """Branch, initial and present weights of each spatial convolution of a branch, without the centres of kernels."""
    for name, module in model.named_modules():
        branches = module.convs if isinstance(module, ParallelDilations) else getattr(module, "branches", None)
        if not isinstance(branches, nn.ModuleList):
            continue
        part = "convs" if isinstance(module, ParallelDilations) else "branches"
        for index, branch in enumerate(branches):
            for inner, conv in branch.named_modules():
                if isinstance(conv, nn.Conv2d):
                    full = ".".join(piece for piece in (name, part, str(index), inner, "weight") if piece)
                    first, last = before[full].detach().flatten(2), conv.weight.detach().flatten(2)
                    outer = torch.arange(first.shape[2]) != first.shape[2] // 2
                    yield index, first[..., outer], last[..., outer]


def _movement(model: nn.Module, before: Mapping[str, Tensor]) -> tuple[dict[int, float], dict[int, float]]:
    """By branch, of the taps beside the centre: length of the change over length before, and share of still ones."""
    firsts: dict[int, list[Tensor]] = {}
    changes: dict[int, list[Tensor]] = {}
    for index, first, last in _taps(model, before):
        firsts.setdefault(index, []).append(first.flatten())
        changes.setdefault(index, []).append((last - first).flatten())
    moved, still = {}, {}
    for index in firsts:
        first, change = torch.cat(firsts[index]), torch.cat(changes[index])
        moved[index] = float(change.norm() / first.norm())
        still[index] = float((change.abs() < _STILL * first.std()).float().mean())
    return moved, still


def _lost(model: nn.Module, images: Tensor, labels: Tensor, accuracy: float) -> dict[int, float]:
    """Branch -> the accuracy lost when it gives its mean in every block."""
    means = branch_means(model, images, batch_size=16)
    found = {}
    for branch in range(len(means.blocks[0].dilations)):
        with without_branches(model, [(block.block, branch) for block in means.blocks], means=means):
            found[branch] = accuracy - pixel_accuracy(model, images, labels)
    return found


def _shares(distance: int | Mapping[int, float | int]) -> dict[int, float]:
    if isinstance(distance, Mapping):
        return {key: float(share) for key, share in distance.items()}
    return {distance: 1.0}
