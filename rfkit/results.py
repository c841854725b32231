"""Results of analyses: frozen dataclasses of numpy arrays and plain values, saved without pickle.

Nothing here needs torch, so that a result can be drawn where no network is in sight.
"""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np

from rfkit._checks import check_choice, data_error
from rfkit._files import replacing

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "BlockWeights",
    "BranchStatistic",
    "BranchWeights",
    "Claim",
    "Ratio",
    "RegionMap",
    "RegionMaps",
    "RegionStatistics",
    "Result",
    "Table",
    "branch_labels",
]

MEASURES = ("weight", "gain", "contribution")
_FORMAT, _HEADER = "rfkit-result", "header"
_PLAIN = (str, bool, int, float, type(None))
_Kind = TypeVar("_Kind", bound="Result")


@dataclass(frozen=True, eq=False)
class Result:
    """Base of all results. A subclass is a frozen dataclass and says in `to_frame` what its columns are.

    Fields hold numpy arrays (numbers, booleans or strings), plain values (str, int, float, bool, None), other results,
    and tuples or dictionaries (with string keys) of these. Declare a subclass with `@dataclass(frozen=True, eq=False)`:
    equality, which compares arrays by their values and takes NaN as equal to NaN, is defined here.

    `VERSION` is raised whenever the fields of a class change their meaning; an older file is then refused.
    """

    VERSION: ClassVar[int] = 1
    _classes: ClassVar[dict[str, type[Result]]] = {}

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        Result._classes[cls.__name__] = cls

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return all(_same(getattr(self, name), getattr(other, name)) for name in _field_names(type(self)))

    __hash__ = None  # type: ignore[assignment]

    def save(self, path: str | Path) -> Path:
        """Write the result to `path` (a .npz archive), whole or not at all; equal results give equal bytes.

        Returns:
            `path`.

        Raises:
            TypeError: a field holds what cannot be stored without pickle; the message names it.
        """
        path = Path(path)
        arrays: dict[str, np.ndarray] = {}
        header = {"format": _FORMAT, "content": _pack(self, type(self).__name__, arrays)}
        arrays[_HEADER] = np.array(json.dumps(header))
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        return path

    @classmethod
    def load(cls: type[_Kind], path: str | Path) -> _Kind:
        """Read what `save` wrote. `Result.load` takes any result, a subclass only its own.

        Raises:
            FileNotFoundError: there is no such file.
            rfkit._checks.DataError: the file is damaged, or holds something else; the message says what.
        """
        arrays = _read(Path(path))
        try:
            header = json.loads(str(arrays[_HEADER]))
            content = header["content"] if header["format"] == _FORMAT else None
        except (KeyError, TypeError, json.JSONDecodeError):
            content = None
        if content is None:
            raise data_error(path, "is not a result written by rfkit.")
        found = cls._classes.get(content["result"])
        if found is None or not issubclass(found, cls):
            raise data_error(path, f"holds a {content['result']}, not a {cls.__name__}.")
        return _unpack(content, arrays, path)

    def to_frame(self) -> pd.DataFrame:
        """The result as a tidy frame; each class documents its columns."""
        raise NotImplementedError(f"{type(self).__name__} has no tidy frame.")


@dataclass(frozen=True, eq=False)
class Table(Result):
    """A named table: columns of plain values, with a caption.

    A cell is a str, a number, a bool or None (nothing known, written as a dash by whoever prints the table).

    Attributes:
        name: short name, such as "table1".
        columns: column name -> the cells from top to bottom; all columns have the same length.
        caption: what a reader must know, printed with the table.
        notes: footnotes.
    """

    name: str
    columns: Mapping[str, tuple[Any, ...]]
    caption: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        columns = {str(name): tuple(_plain(cell) for cell in cells) for name, cells in self.columns.items()}
        lengths = {name: len(cells) for name, cells in columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns of table {self.name!r} differ in length: {lengths}; they must all be equal.")
        object.__setattr__(self, "columns", columns)
        object.__setattr__(self, "notes", tuple(self.notes))

    @classmethod
    def from_frame(cls, name: str, frame: pd.DataFrame, *, caption: str = "", notes: tuple[str, ...] = ()) -> Table:
        """The columns of `frame` as a table; the index is left out."""
        return cls(name, {str(column): tuple(frame[column].tolist()) for column in frame}, caption, notes)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def to_frame(self) -> pd.DataFrame:
        """The columns under their own names, one row a row of the table."""
        import pandas as pd

        return pd.DataFrame({name: list(cells) for name, cells in self.columns.items()})


def branch_labels(dilations: Sequence[int]) -> tuple[str, ...]:
    """The labels of branches by dilation: d1, d3, d5; a rate that comes again is d1 #2.

    Example:
        >>> branch_labels((1, 3, 3))
        ('d1', 'd3', 'd3 #2')
    """
    labels: list[str] = []
    for index, rate in enumerate(dilations):
        before = list(dilations[:index]).count(rate)
        labels.append(f"d{rate} #{before + 1}" if before else f"d{rate}")
    return tuple(labels)


@dataclass(frozen=True, eq=False)
class BlockWeights(Result):
    """The 1x1 convolution of one block with parallel branches.

    Attributes:
        stage: stage of the block.
        block: name of the block in the model.
        merge: name of the 1x1 convolution.
        convolutions: names of the branches' convolutions.
        dilations: dilation rate of each branch.
        branch_of_input: for each input channel of the 1x1 convolution the index of its branch; -1 for a channel that
            comes from elsewhere (an image-pooling path, say).
        weight: signed weights, (out_channels, in_channels / groups).
        gain: for each input channel, signed, gamma of the last norm before the 1x1 convolution; NaN without norm.
        gates: names of what scales channels on the way to the 1x1 convolution (channel attention); such a gate depends
            on the image and is in neither `weight` nor `gain`.
        contribution: standard deviation, over images and positions, of each branch's part of each output channel,
            (branches, out_channels); empty (0, 0) if it was not measured.
        groups: groups of the 1x1 convolution.
    """

    stage: str
    block: str
    merge: str
    convolutions: tuple[str, ...]
    dilations: tuple[int, ...]
    branch_of_input: np.ndarray
    weight: np.ndarray
    gain: np.ndarray
    gates: tuple[str, ...]
    contribution: np.ndarray
    groups: int = 1

    def inputs(self) -> np.ndarray:
        """Input channel of every entry of `weight`, same shape."""
        out, width = self.weight.shape
        group = np.arange(out) // (out // self.groups)
        return group[:, None] * width + np.arange(width)

    def values(self, branch: int, measure: str) -> np.ndarray:
        """Magnitudes of one branch: of every weight, or ("contribution") of every output channel.

        Args:
            branch: index of the branch.
            measure: "weight" for |w|, "gain" for |w| |gamma|, "contribution".

        Raises:
            ValueError: the measure is unknown, no norm gives a gain, or no contribution was measured.
        """
        check_choice("measure", measure, MEASURES)
        if measure == "contribution":
            if not self.contribution.size:
                raise ValueError(f"measure='contribution' was not measured on {self.block!r}: it needs images.")
            return self.contribution[branch]
        inputs = self.inputs()
        chosen = self.branch_of_input[inputs] == branch
        weight = np.abs(self.weight[chosen])
        if measure == "weight":
            return weight
        gain = self.gain[inputs[chosen]]
        if np.isnan(gain).any():
            raise ValueError(f"measure='gain' needs a norm before the 1x1 convolution; {self.merge!r} has none.")
        return weight * np.abs(gain)


@dataclass(frozen=True, eq=False)
class BranchWeights(Result):
    """The weights with which 1x1 convolutions use parallel dilated branches.

    Attributes:
        measure: what plots show by default: "weight" (|w|, the paper's), "gain" (|w| |gamma|) or "contribution".
        blocks: the blocks in the order in which they run.
        stages: names of the stages, first to last.
    """

    measure: str
    blocks: tuple[BlockWeights, ...]
    stages: tuple[str, ...]

    def in_stage(self, stage: str) -> tuple[BlockWeights, ...]:
        """The blocks of `stage`.

        Raises:
            ValueError: there is no such stage.
        """
        check_choice("stage", stage, self.stages)
        return tuple(block for block in self.blocks if block.stage == stage)

    def pooled(self, stage: str, measure: str | None = None) -> dict[str, np.ndarray]:
        """Branch label -> the magnitudes of that branch in all blocks of `stage`, see `BlockWeights.values`."""
        return pool(self.in_stage(stage), measure or self.measure)

    def to_frame(self) -> pd.DataFrame:
        """One row per weight of the 1x1 convolutions.

        Columns: stage, block (categories); branch (index within the block); dilation; out_channel; in_channel (of the
        1x1 convolution); weight (signed); gain (signed gamma of that input channel, NaN without norm).
        """
        import pandas as pd

        parts = []
        for block in self.blocks:
            inputs = block.inputs()
            branch = block.branch_of_input[inputs]
            out = np.broadcast_to(np.arange(len(inputs))[:, None], inputs.shape)
            keep = branch >= 0
            columns = {
                "branch": branch[keep],
                "dilation": np.array(block.dilations)[branch[keep]],
                "out_channel": out[keep],
                "in_channel": inputs[keep],
                "weight": block.weight[keep],
                "gain": block.gain[inputs[keep]],
            }
            parts.append(columns)
        counts = [len(columns["branch"]) for columns in parts]
        frame = {name: np.concatenate([columns[name] for columns in parts]) for name in parts[0]}
        return pd.DataFrame({**self._names(counts), **frame})

    def channel_frame(self) -> pd.DataFrame:
        """One row per output channel and branch.

        Columns: stage, block (categories); branch; dilation; out_channel; weight (mean |w|); gain (mean |w| |gamma|,
        NaN without norm); contribution (standard deviation of the branch's part of the output over images and
        positions, NaN if it was not measured).
        """
        import pandas as pd

        rows: list[dict[str, Any]] = []
        counts = []
        for block in self.blocks:
            inputs = block.inputs()
            weight = np.abs(block.weight.astype(float))
            gain = weight * np.abs(block.gain[inputs])
            for branch, dilation in enumerate(block.dilations):
                chosen = block.branch_of_input[inputs] == branch
                count = np.maximum(chosen.sum(axis=1), 1)
                measured = block.contribution[branch] if block.contribution.size else np.full(len(weight), np.nan)
                rows.append(
                    {
                        "branch": np.full(len(weight), branch),
                        "dilation": np.full(len(weight), dilation),
                        "out_channel": np.arange(len(weight)),
                        "weight": np.where(chosen, weight, 0).sum(axis=1) / count,
                        "gain": np.where(chosen, gain, 0).sum(axis=1) / count,
                        "contribution": measured,
                    }
                )
            counts.append(len(block.dilations) * len(weight))
        frame = {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}
        return pd.DataFrame({**self._names(counts), **frame})

    def summary(self) -> pd.DataFrame:
        """One row per branch.

        Columns: stage, block, branch, dilation, convolution (name of the branch's convolution), merge (name of the 1x1
        convolution), channels (of the 1x1 convolution that the branch feeds), weight (mean |w|), gates (names, joined
        by commas; a gate is reported and not folded into the weight).
        """
        import pandas as pd

        rows = [
            {
                "stage": block.stage,
                "block": block.block,
                "branch": branch,
                "dilation": dilation,
                "convolution": block.convolutions[branch],
                "merge": block.merge,
                "channels": int((block.branch_of_input == branch).sum()),
                "weight": float(block.values(branch, "weight").mean()),
                "gates": ", ".join(block.gates),
            }
            for block in self.blocks
            for branch, dilation in enumerate(block.dilations)
        ]
        return pd.DataFrame(rows)

    def _names(self, counts: Sequence[int]) -> dict[str, Any]:
        import pandas as pd

        # Categories keep the order of the network and cost a byte a row, not a string.
        stages = [self.stages.index(block.stage) for block in self.blocks]
        names = [block.block for block in self.blocks]
        return {
            "stage": pd.Categorical.from_codes(np.repeat(stages, counts), categories=list(self.stages)),
            "block": pd.Categorical.from_codes(np.repeat(np.arange(len(names)), counts), categories=names),
        }


def pool(blocks: Sequence[BlockWeights], measure: str) -> dict[str, np.ndarray]:
    """Branch label -> magnitudes of all `blocks` together, the smallest dilation first."""
    found: dict[tuple[int, str], list[np.ndarray]] = {}
    for block in blocks:
        for index, label in enumerate(branch_labels(block.dilations)):
            found.setdefault((block.dilations[index], label), []).append(block.values(index, measure))
    return {label: np.concatenate(parts) for (_, label), parts in sorted(found.items())}


@dataclass(frozen=True, eq=False)
class Ratio(Result):
    """A ratio with its bootstrap interval.

    Attributes:
        stage: stage it is taken in.
        name: what it is, such as "d1/d3".
        value: the ratio of means.
        low: lower end of the 95 % interval.
        high: upper end.
    """

    stage: str
    name: str
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        # Most ratios lie near 1, where three significant digits would round an interval's end onto it.
        value, low, high = (
            f"{number:.3f}" if number < 10 else f"{number:.1f}" for number in (self.value, self.low, self.high)
        )
        return f"{self.name} = {value} [{low}, {high}]"


@dataclass(frozen=True, eq=False)
class Claim(Result):
    """One claim of Fig. 8 and whether it holds.

    Attributes:
        stage: stage that it speaks of.
        statement: the claim in terms of ratios.
        verdict: "holds", "fails", "undecided", or "undecided at N epochs" for a short training.
        ratios: the ratios that decide.
    """

    stage: str
    statement: str
    verdict: str
    ratios: tuple[Ratio, ...]


@dataclass(frozen=True, eq=False)
class BranchStatistic(Result):
    """Ratios of mean weights between branches, with intervals, and the claims of Fig. 8 where they apply.

    Attributes:
        measure: "weight" or "gain".
        ratios: every branch over every other one, stage by stage.
        claims: the three claims, low, middle, high stage; empty if the network has not the stages for them.
        epochs: epochs of training, None if unknown.
        resamples: bootstrap resamples.
        seed: seed of the resampling.
    """

    measure: str
    ratios: tuple[Ratio, ...]
    claims: tuple[Claim, ...]
    epochs: float | int | None
    resamples: int
    seed: int

    def to_frame(self) -> pd.DataFrame:
        """One row per ratio and, after them, one per ratio of a claim.

        Columns: measure; stage; ratio (its name); value; low, high (95 % bootstrap interval); claim (statement, empty
        for a plain ratio); verdict (of the claim, else empty); epochs (of training, NaN if unknown); resamples; seed.
        """
        import pandas as pd

        rows = [(ratio, "", "") for ratio in self.ratios]
        rows += [(ratio, claim.statement, claim.verdict) for claim in self.claims for ratio in claim.ratios]
        return pd.DataFrame(
            [
                {
                    "measure": self.measure,
                    "stage": ratio.stage,
                    "ratio": ratio.name,
                    "value": ratio.value,
                    "low": ratio.low,
                    "high": ratio.high,
                    "claim": claim,
                    "verdict": verdict,
                    "epochs": np.nan if self.epochs is None else self.epochs,
                    "resamples": self.resamples,
                    "seed": self.seed,
                }
                for ratio, claim, verdict in rows
            ]
        )


@dataclass(frozen=True, eq=False)
class RegionMap(Result):
    """One map before (RR) and after (SR) the dilated convolution that reads it.

    Attributes:
        stage: stage of the block.
        block: name of the block.
        branch: index of the branch; -1 for a block without branches.
        dilation: dilation rate of the branch; 0 for a block without branches.
        channel: channel of the region map (RR).
        semantic_channel: channel of the semantic map (SR); -1 without one.
        region: the RR map, (height, width).
        semantic: the SR map, or an empty array (0, 0) without one.
        stride: input pixels per unit of the RR map, (down, across).
    """

    stage: str
    block: str
    branch: int
    dilation: int
    channel: int
    semantic_channel: int
    region: np.ndarray
    semantic: np.ndarray
    stride: tuple[float | int, float | int]

    @property
    def title(self) -> str:
        """Block, branch and channel, such as "stage4.1 · d5 · ch 17"."""
        branch = f" · d{self.dilation}" if self.dilation else ""
        return f"{self.block}{branch} · ch {self.channel}"


@dataclass(frozen=True, eq=False)
class RegionMaps(Result):
    """Region and semantic maps of one image, raw numbers.

    Attributes:
        image: the image, (height, width, 3), 8 bit.
        maps: the chosen maps.
        rule: how the channels were chosen.
        note: what a caption must say of image and weights.
    """

    image: np.ndarray
    maps: tuple[RegionMap, ...]
    rule: str
    note: str = ""

    def to_frame(self) -> pd.DataFrame:
        """One row per unit of a map.

        Columns: stage; block; branch (index, -1 without branches); dilation (0 without branches); kind ("RR" or "SR");
        channel; row; column; value (of the feature map, no unit).
        """
        import pandas as pd

        parts = []
        for entry in self.maps:
            for kind, channel, values in (
                ("RR", entry.channel, entry.region),
                ("SR", entry.semantic_channel, entry.semantic),
            ):
                row, column = np.indices(values.shape)
                named = {
                    "stage": entry.stage,
                    "block": entry.block,
                    "branch": entry.branch,
                    "dilation": entry.dilation,
                    "kind": kind,
                }
                units = {"row": row.ravel(), "column": column.ravel(), "value": values.ravel()}
                parts.append(pd.DataFrame({**named, "channel": channel, **units}))
        return pd.concat([part for part in parts if len(part)], ignore_index=True)


@dataclass(frozen=True, eq=False)
class RegionStatistics(Result):
    """Size and number of the activated regions of RR maps: one entry per image, block and channel in every array.

    A unit is activated if its value is above `threshold`; a region is a set of activated units connected through
    neighbours.

    Attributes:
        stage, block, branch, dilation, image, channel: which map; branch -1 and dilation 0 where several branches or
            none read it.
        units: units of the map.
        stride: input pixels per unit along one side.
        active: activated units.
        regions: number of regions.
        largest: units of the largest region.
        scattered: regions that as many activated units form when they lie at random in the map.
        concentration: share of the map's total activation in its strongest tenth of units (0.1 for a flat map, 1 for
            a map that is zero elsewhere); NaN for a map that is zero everywhere.
        threshold: value above which a unit is activated.
        connectivity: 4 (side neighbours) or 8 (also diagonal ones).
    """

    stage: np.ndarray
    block: np.ndarray
    branch: np.ndarray
    dilation: np.ndarray
    image: np.ndarray
    channel: np.ndarray
    units: np.ndarray
    stride: np.ndarray
    active: np.ndarray
    regions: np.ndarray
    largest: np.ndarray
    scattered: np.ndarray
    concentration: np.ndarray
    threshold: float
    connectivity: int

    def to_frame(self) -> pd.DataFrame:
        """One row per image, block and channel.

        Columns: the attributes of the same name, and active_share (active / units), region_size (mean units of a
        region, NaN without one), region_side (side in input pixels of a square of that size) and compactness
        (scattered / regions: 1 if the activated units lie as if at random, larger if they form regions; NaN without a
        region).
        """
        import pandas as pd

        names = [name for name in _field_names(type(self)) if name not in ("threshold", "connectivity")]
        frame = pd.DataFrame({name: getattr(self, name) for name in names})
        regions = frame["regions"].where(frame["regions"] > 0)
        frame["active_share"] = frame["active"] / frame["units"]
        frame["region_size"] = frame["active"] / regions
        frame["region_side"] = np.sqrt(frame["region_size"]) * frame["stride"]
        frame["compactness"] = frame["scattered"] / regions
        return frame

    def summary(self) -> pd.DataFrame:
        """Means over images and channels, one row per block and branch, in the order of the network.

        Columns: stage, block, branch, dilation, maps (number of maps), dead_share (share of maps without an activated
        unit), active_share, regions, region_size (units), region_side (input pixels), largest (units), compactness and
        concentration; the means of the last six leave out maps without an activated unit.
        """
        frame = self.to_frame()
        frame["dead_share"] = (frame["active"] == 0).astype(float)
        measures = ["regions", "region_size", "region_side", "largest", "compactness", "concentration"]
        frame[measures] = frame[measures].where(frame["active"] > 0)
        groups = frame.groupby(["stage", "block", "branch", "dilation"], sort=False)
        result = groups[["dead_share", "active_share", *measures]].mean()
        result.insert(0, "maps", groups.size())
        return result.reset_index()


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _field_names(kind: type[Result]) -> list[str]:
    return [entry.name for entry in dataclasses.fields(kind)]


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        one, other = np.asarray(one), np.asarray(other)
        floats = one.dtype.kind in "fc" and other.dtype.kind in "fc"
        return bool(np.array_equal(one, other, equal_nan=floats))
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, float) and isinstance(other, float) and np.isnan(one) and np.isnan(other):
        return True
    return bool(one == other)


def _pack(value: Any, where: str, arrays: dict[str, np.ndarray]) -> Any:
    """`value` as JSON, its arrays moved to `arrays`; `where` names the field in errors."""
    value = _plain(value)
    if isinstance(value, Result):
        kind = type(value)
        fields = {name: _pack(getattr(value, name), f"{where}.{name}", arrays) for name in _field_names(kind)}
        return {"result": kind.__name__, "version": kind.VERSION, "fields": fields}
    if isinstance(value, np.ndarray):
        if value.dtype.kind not in "biufcU":
            raise TypeError(f"{where} is an array of {value.dtype}; only numbers, booleans and strings can be stored.")
        arrays[where] = value
        return {"array": where}
    if isinstance(value, tuple | list):
        return {"tuple": [_pack(item, f"{where}.{index}", arrays) for index, item in enumerate(value)]}
    if isinstance(value, Mapping):
        return {"dict": [[str(key), _pack(item, f"{where}.{key}", arrays)] for key, item in value.items()]}
    if isinstance(value, _PLAIN):
        return value
    raise TypeError(f"{where} is a {type(value).__name__}; only arrays, plain values and results can be stored.")


def _unpack(value: Any, arrays: Mapping[str, np.ndarray], path: str | Path) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        if value["array"] not in arrays:
            raise data_error(path, f"lacks the array {value['array']!r}.")
        return arrays[value["array"]]
    if "tuple" in value:
        return tuple(_unpack(item, arrays, path) for item in value["tuple"])
    if "dict" in value:
        return {key: _unpack(item, arrays, path) for key, item in value["dict"]}
    kind = Result._classes.get(value["result"])
    if kind is None or value["version"] != kind.VERSION or set(value["fields"]) != set(_field_names(kind)):
        ours = "does not know that class" if kind is None else f"reads version {kind.VERSION}"
        raise data_error(path, f"holds a {value['result']} of version {value['version']}; this rfkit {ours}.")
    return kind(**{name: _unpack(item, arrays, path) for name, item in value["fields"].items()})


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        # Opened here, because numpy leaves the file open when the archive is damaged.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except FileNotFoundError:
        raise
    except (OSError, ValueError, EOFError, AttributeError, TypeError, KeyError, zipfile.BadZipFile) as error:
        raise data_error(path, f"cannot be read as a result: {error}") from error
