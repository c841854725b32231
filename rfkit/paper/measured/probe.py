"""Writes the table of what the branches of trained probes tell, by every measure, that ships.

    rfkit removal --model probe_dwrseg_l --weights camvid --data camvid --root ~/CamVid --out removal.npz
    rfkit removal ... --level block --limit 47 --out blocks.npz
    python -m rfkit.paper.measured.probe --data camvid --root ~/CamVid --network camvid removal.npz blocks.npz

The table is written anew, with the networks that are given. One row a measure of a branch. Columns: `model`, `data`,
`split`, `epochs`, `horizon_epochs` (of the training), `seeds` (one; or several, apart by blanks, for what is said of
all networks that differ in nothing else), `evaluated` (data set and split of the images here), `height`, `width` (that
the network sees here), `stage`, `block` (empty for the whole stage), `branch`, `dilation`, `measure`, `class` (empty
for the mIoU, and for measures that know no class), `value`, `low`, `high` (95 % bootstrap interval), `level`,
`images`.

By measure: "weight" (|w|), "gain" (|w| |gamma|), "contribution" (standard deviation of the branch's part of the output,
on `images` images): `value` is the mean over the branch's magnitudes beside that of the branch with the smallest rate,
`level` that mean itself; the interval is over channels. "removal": `value` is the drop in IoU without the branch,
`level` the IoU that is left; the interval is over images. With several seeds all intervals are over seeds as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rfkit._checks import check_positive, data_error
from rfkit._files import write_text
from rfkit.analysis.branch_removal import weights_digest
from rfkit.analysis.branches import branch_weights
from rfkit.analysis.ratios import mixed_means, resampled_means
from rfkit.cli_arguments import DATA_NAMES, SPLITS, model_of
from rfkit.data.dataset import Dataset
from rfkit.data.opening import open_data
from rfkit.data.transforms import normalize, resample
from rfkit.models.weights import Card
from rfkit.paper.measured import PROBE_MEASURES
from rfkit.results.branches import BlockWeights, BranchWeights, branch_labels
from rfkit.results.removal import BranchRemoval, interval

__all__ = ["COLUMNS", "Probe", "main", "measure_rows", "read_probe"]

COLUMNS = ("model", "data", "split", "epochs", "horizon_epochs", "seeds", "evaluated", "height", "width", "stage",
           "block", "branch", "dilation", "measure", "class", "value", "low", "high", "level", "images")  # fmt: skip

_RESAMPLES, _SEED = 2000, 0
_OF_CHANNELS = ("weight", "gain", "contribution")
_Means = Mapping[str, Mapping[str, np.ndarray]]


@dataclass(frozen=True, eq=False)
class Probe:
    """A trained network with everything that its rows are made of.

    Attributes:
        card: where the weights come from.
        weights: its branch weights, with contributions.
        removals: its scores without branches, by the level on which they were removed.
        images: images that contributions were measured on.
    """

    card: Card
    weights: BranchWeights
    removals: Mapping[str, BranchRemoval]
    images: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) that the network sees."""
        height, width = self._removal.size or self.card.size
        return height, width

    @property
    def evaluated(self) -> str:
        """Data set and split of the images."""
        return f"{self._removal.data} {self._removal.split}"

    @property
    def _removal(self) -> BranchRemoval:
        return next(iter(self.removals.values()))

    @property
    def training(self) -> tuple[Any, ...]:
        """Everything but the seed."""
        return (
            self.card.model,
            self.card.data,
            self.card.split,
            self.card.epochs,
            self.card.horizon_epochs,
            *self.size,
        )


def read_probe(weights: str, removals: Sequence[Path], data: Dataset, *, images: int) -> Probe:
    """The network of a weights file, a run folder or the name of a data set, with its removals, measured by weights.

    Args:
        weights: as the option --weights of the command `rfkit`.
        removals: what `rfkit removal --out FILE.npz` saved for this network; a file a level.
        data: where contributions are measured.
        images: on how many images, spread evenly over `data`.

    Raises:
        ValueError: two of `removals` are of the same level.
        rfkit._checks.DataError: one of them is of another network, data set or size.
    """
    model = model_of(argparse.Namespace(model="probe_dwrseg_l", weights=weights))
    digest, found = weights_digest(model), {}
    for path in removals:
        removal = BranchRemoval.load(path)
        if removal.network != digest:
            raise data_error(path, f"was measured on another network than {weights}.")
        if (removal.data, removal.split) != (data.name, data.split):
            where = f"{removal.data} {removal.split}"
            raise data_error(path, f"was measured on {where}, not on {data.name} {data.split}.")
        if removal.level in found:
            raise ValueError(f"{path}: another file has level {removal.level!r} already.")
        found[removal.level] = removal
        size = next(iter(found.values())).size
        if removal.size != size:
            raise data_error(path, f"was measured at size {removal.size}, the other file at {size}.")
    count = min(images, len(data))
    pixels = [normalize(data[index * len(data) // count].image) for index in range(count)]
    shown = [image if size is None else resample(image, size) for image in pixels]
    return Probe(model.card, branch_weights(model, measure="contribution", images=shown), found, count)


def measure_rows(probes: Sequence[Probe]) -> pd.DataFrame:
    """The rows of all networks, then those of every set of networks that differ by their seed alone."""
    groups: dict[tuple[Any, ...], list[Probe]] = {}
    for probe in probes:
        groups.setdefault(probe.training, []).append(probe)
    rows: list[dict[str, Any]] = []
    for group in groups.values():
        for members in ([probe] for probe in group):
            rows += _rows(members)
        if len(group) > 1:
            rows += _rows(group)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the table; 0 if that is done."""
    parser = argparse.ArgumentParser(
        prog="python -m rfkit.paper.measured.probe", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--data", required=True, choices=DATA_NAMES)
    parser.add_argument("--root", type=Path, metavar="PATH", help="folder of the data set")
    parser.add_argument("--split", default="test", choices=SPLITS, help="default: %(default)s")
    parser.add_argument(
        "--network", nargs="+", action="append", required=True, metavar=("WEIGHTS", "REMOVAL.npz"),
        help="weights, and what `rfkit removal --out REMOVAL.npz` saved for them, one file or one for each level; "
        "may be repeated",
    )  # fmt: skip
    parser.add_argument("--images", type=int, default=12, metavar="N", help="for contributions; default: %(default)s")
    parser.add_argument("--out", type=Path, default=PROBE_MEASURES, metavar="FILE.csv", help="default: what ships")
    options = parser.parse_args(arguments)
    check_positive("--images", options.images)
    for name, *files in options.network:
        if not files:
            parser.error(f"--network {name}: give what `rfkit removal` saved for it as well.")
    data = open_data(options.data, options.root, split=options.split)
    probes = [
        read_probe(name, [Path(file) for file in files], data, images=options.images)
        for name, *files in options.network
    ]
    frame = measure_rows(probes)
    write_text(options.out, frame.to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    print(f"{len(frame)} rows of {len(probes)} networks are in {options.out}.")
    return 0


def _rows(probes: Sequence[Probe]) -> list[dict[str, Any]]:
    """The rows of one network, or of all seeds together."""
    first = probes[0]
    known = (*first.training[:5], _seeds(probes), first.evaluated, *first.size)
    common = dict(zip(COLUMNS[: len(known)], known, strict=True))
    rows = []
    for measure in _OF_CHANNELS:
        images = first.images if measure == "contribution" else 0
        found = _channel_rows([probe.weights for probe in probes], measure)
        rows += [{**common, **row, "measure": measure, "class": "", "images": images} for row in found]
    for level in first.removals:
        if all(level in probe.removals for probe in probes):
            rows += [{**common, **row} for row in _removal_rows([probe.removals[level] for probe in probes])]
    return rows


def _seeds(probes: Sequence[Probe]) -> str:
    return " ".join(str(probe.card.seed) for probe in probes)


def _channel_rows(networks: Sequence[BranchWeights], measure: str) -> Iterable[dict[str, Any]]:
    """One row per stage and branch, then one per block and branch."""
    stage_of = {stage: (stage, "") for stage in networks[0].stages}
    block_of = {block.block: (block.stage, block.block) for block in networks[0].blocks}
    for places, by_block in ((stage_of, False), (block_of, True)):
        separate: list[_Means] = []
        for number, weights in enumerate(networks):
            generator = np.random.default_rng(_SEED + number)
            separate.append({
                place: _means(
                    tuple(block for block in weights.blocks if block.block == place) if by_block
                    else weights.in_stage(place), measure, generator,
                )
                for place in places
            })  # fmt: skip
        means = mixed_means(separate, generator=np.random.default_rng([_SEED, len(networks)]))
        for place, (stage, block) in places.items():
            smallest = next(iter(means[place].values()))
            for label, values in means[place].items():
                ratios = values / smallest
                low, high = interval(ratios[1:])
                yield {
                    "stage": stage, "block": block, "branch": label, "dilation": _rate(label),
                    "value": float(ratios[0]), "low": float(low), "high": float(high), "level": float(values[0]),
                }  # fmt: skip


def _means(blocks: Sequence[BlockWeights], measure: str, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Branch label -> its mean and resampled means, the smallest dilation first."""
    if measure != "contribution":
        return resampled_means(blocks, measure, resamples=_RESAMPLES, generator=generator)
    # A contribution belongs to an output channel, which all branches of a block share.
    totals: dict[tuple[int, str], np.ndarray] = {}
    counts: dict[tuple[int, str], int] = {}
    for block in blocks:
        channels = block.contribution.shape[1]
        drawn = generator.integers(channels, size=(_RESAMPLES, channels))
        rows = np.vstack([np.arange(channels), drawn])
        for index, label in enumerate(branch_labels(block.dilations)):
            key = (block.dilations[index], label)
            totals[key] = totals.get(key, 0) + block.contribution[index].astype(float)[rows].sum(axis=1)
            counts[key] = counts.get(key, 0) + channels
    return {key[1]: totals[key] / counts[key] for key in sorted(totals)}


def _rate(label: str) -> int:
    return int(label[1:].split()[0])


def _removal_rows(networks: Sequence[BranchRemoval]) -> Iterable[dict[str, Any]]:
    """One row per removal and class; of several networks the mean, with an interval over seeds and images."""
    first = networks[0]
    frames = [network.to_frame() for network in networks]
    means = frames[0].assign(iou=sum(frame["iou"] for frame in frames) / len(frames))
    if len(networks) > 1:
        # All networks see the same images, so that a resample gives all of them the same.
        drops = np.stack([network.resampled_drops() for network in networks])
        resamples = drops.shape[1] - 1
        generator = np.random.default_rng([_SEED, len(networks)])
        drawn = generator.integers(len(networks), size=(resamples, len(networks)))
        mixed = drops[drawn, 1 + np.arange(resamples)[:, None]].mean(axis=1)
        low, high = interval(mixed)
        means = means.assign(drop=drops[:, 0].mean(axis=0).ravel(), low=low.ravel(), high=high.ravel())
    for row in means.to_dict("records"):
        yield {
            **{name: row[name] for name in ("stage", "block", "branch", "dilation", "class", "low", "high")},
            "measure": "removal", "value": row["drop"], "level": row["iou"], "images": first.images,
        }  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
