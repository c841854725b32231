"""What a network loses when it loses branches: the scores, and the means that take the branches' place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rfkit._checks import check_choice
from rfkit.results.base import Result

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["BlockMeans", "BranchMeans", "BranchRemoval", "Removal", "RemovalProgress", "interval"]


@dataclass(frozen=True, eq=False)
class BlockMeans(Result):
    """What the 1x1 convolution of one block reads on average.

    Attributes:
        stage: stage of the block.
        block: name of the block, as in `BlockWeights`.
        merge: name of the 1x1 convolution.
        dilations: dilation rate of each branch.
        branch_of_input: for each input channel of the 1x1 convolution the index of its branch; -1 for a channel that
            comes from elsewhere.
        mean: mean of each input channel over images and positions, and over calls if the block runs several times.
    """

    stage: str
    block: str
    merge: str
    dilations: tuple[int, ...]
    branch_of_input: np.ndarray
    mean: np.ndarray


@dataclass(frozen=True, eq=False)
class BranchMeans(Result):
    """What the 1x1 convolutions behind parallel dilated branches read on average.

    Attributes:
        blocks: the blocks in the order in which they run.
        stages: names of the stages, first to last.
        images: number of images.
    """

    blocks: tuple[BlockMeans, ...]
    stages: tuple[str, ...]
    images: int

    def block(self, name: str) -> BlockMeans:
        """The block of that name.

        Raises:
            ValueError: there is none.
        """
        check_choice("block", name, [block.block for block in self.blocks])
        return next(block for block in self.blocks if block.block == name)

    def to_frame(self) -> pd.DataFrame:
        """One row per input channel of the 1x1 convolutions that a branch feeds.

        Columns: stage, block, branch (index within the block), dilation, in_channel, mean.
        """
        import pandas as pd

        return pd.DataFrame(
            [
                {
                    "stage": block.stage,
                    "block": block.block,
                    "branch": int(branch),
                    "dilation": block.dilations[branch],
                    "in_channel": channel,
                    "mean": float(block.mean[channel]),
                }
                for block in self.blocks
                for channel, branch in enumerate(block.branch_of_input)
                if branch >= 0
            ]
        )


@dataclass(frozen=True, eq=False)
class Removal(Result):
    """Branches that were taken away together.

    Attributes:
        stage: their stage.
        block: their block; "" where all blocks of the stage lost the branch.
        branch: label of the branch, such as "d3".
        dilation: its dilation rate.
        branches: how many branches were removed, one in each block that has it.
    """

    stage: str
    block: str
    branch: str
    dilation: int
    branches: int


@dataclass(frozen=True, eq=False)
class BranchRemoval(Result):
    """The scores of a network without some of its branches, image by image, beside those of the intact network.

    Attributes:
        level: "stage" or "block".
        removals: what was removed, one after the other; the network was intact again in between.
        stages: names of the stages, first to last.
        classes: names of the classes.
        confusion: counts of pixels, (1 + removals, images, classes, classes): the intact network first; rows by label,
            columns by prediction.
        data: name of the data set.
        split: its split.
        size: (height, width) that the network saw; None where every image kept its own.
        precision: "fp32" or "bf16".
        calibration: what the means were taken over, in words.
        resamples: bootstrap resamples.
        seed: seed of the resampling.
        network: digest of the network's weights, see `rfkit.analysis.branch_removal.weights_digest`.
    """

    level: str
    removals: tuple[Removal, ...]
    stages: tuple[str, ...]
    classes: tuple[str, ...]
    confusion: np.ndarray
    data: str
    split: str
    size: tuple[int, int] | None
    precision: str
    calibration: str
    resamples: int
    seed: int
    network: str = ""

    @property
    def images(self) -> int:
        """Number of images."""
        return int(self.confusion.shape[1])

    def intact(self) -> dict[str, float]:
        """IoU of each class with all branches, from one confusion matrix; under "" the mIoU."""
        return self._named(_ious(self.confusion[0].sum(axis=0)))

    def resampled_drops(self) -> np.ndarray:
        """Drops in IoU under resamples of the images, (1 + resamples, removals, 1 + classes); the mIoU comes first.

        Entry 0 of the first axis is the drop on the images as they are. A drop is the IoU of the intact network minus
        that without the branch, both from the same images, each with one confusion matrix over all of them. A class
        that a resample does not hold has no IoU (NaN), and is left out of the mean.
        """
        generator = np.random.default_rng(self.seed)
        count = self.images
        drawn = generator.multinomial(count, np.full(count, 1 / count), size=self.resamples)
        weights = np.vstack([np.ones(count), drawn])
        ious = [_with_mean(_ious(_weighted(weights, counts))) for counts in self.confusion]
        return np.stack([ious[0] - without for without in ious[1:]], axis=1)

    def to_frame(self) -> pd.DataFrame:
        """One row per removal and class, and one for the mean over the classes.

        Columns: stage; block ("" where the whole stage lost the branch); branch (its label, such as d3); dilation;
        class ("" for the mIoU); iou (without the branch, from 0 to 1); drop (IoU of the intact network minus `iou`);
        low, high (95 % bootstrap interval of the drop, over images; each resample gives both networks the same images);
        images (their number).
        """
        import pandas as pd

        drops = self.resampled_drops()
        low, high = interval(drops[1:])
        rows = []
        for number, removal in enumerate(self.removals):
            ious = self._named(_ious(self.confusion[1 + number].sum(axis=0)))
            for index, (name, iou) in enumerate(ious.items()):
                rows.append(
                    {
                        "stage": removal.stage,
                        "block": removal.block,
                        "branch": removal.branch,
                        "dilation": removal.dilation,
                        "class": name,
                        "iou": iou,
                        "drop": float(drops[0, number, index]),
                        "low": float(low[number, index]),
                        "high": float(high[number, index]),
                        "images": self.images,
                    }
                )
        return pd.DataFrame(rows)

    def _named(self, ious: np.ndarray) -> dict[str, float]:
        return dict(zip(("", *self.classes), _with_mean(ious).tolist(), strict=True))


@dataclass(frozen=True, eq=False)
class RemovalProgress(Result):
    """The part of a measurement of `BranchRemoval` that is done, kept in a file so that it can go on.

    Attributes:
        key: what is measured, as a digest: network, images, size, and everything else that the counts depend on.
        means: what takes the place of the branches.
        confusion: counts of the images done, as in `BranchRemoval`.
    """

    key: str
    means: BranchMeans
    confusion: np.ndarray


def interval(resampled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ends of the 95 % percentile interval along the first axis; NaNs are left out, and all NaN gives NaN."""
    low, high = (np.full(resampled.shape[1:], np.nan) for _ in range(2))
    some = np.isfinite(resampled).any(axis=0)
    if some.any():
        low[some], high[some] = np.nanpercentile(resampled[:, some], (2.5, 97.5), axis=0)
    return low, high


def _weighted(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The sums of the images' matrices with each row of `weights`, (rows, classes, classes)."""
    images, classes, _ = counts.shape
    return (weights @ counts.reshape(images, -1).astype(float)).reshape(-1, classes, classes)


def _ious(matrices: np.ndarray) -> np.ndarray:
    """IoU of each class, NaN where neither labels nor predictions hold it, as in `rfkit.metrics`."""
    right = np.diagonal(matrices, axis1=-2, axis2=-1).astype(float)
    union = matrices.sum(axis=-1) + matrices.sum(axis=-2) - right
    return np.divide(right, union, out=np.full(right.shape, np.nan), where=union > 0)


def _with_mean(ious: np.ndarray) -> np.ndarray:
    """The mean of the classes that have an IoU, then all of them, along the last axis."""
    known = ~np.isnan(ious)
    number = known.sum(axis=-1)
    total = np.where(known, ious, 0).sum(axis=-1)
    mean = np.divide(total, number, out=np.full(total.shape, np.nan), where=number > 0)
    return np.concatenate([mean[..., None], ious], axis=-1)
