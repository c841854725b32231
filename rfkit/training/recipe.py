"""Training recipes: every number of a training run, under a name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rfkit._checks import check_choice, check_positive, unknown_name
from rfkit.data.transforms import Augmentation

__all__ = ["RECIPES", "Recipe", "get_recipe"]


def _for_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_pair(value: object, of: Callable[[object], bool]) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(map(of, value))


# What a field of each annotated type may hold.
_KINDS: dict[str, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "str | None": lambda value: value is None or isinstance(value, str),
    "int": _is_integer,
    "float": _is_number,
    "float | None": lambda value: value is None or _is_number(value),
    "bool": lambda value: isinstance(value, bool),
    "tuple[int, int]": lambda value: _is_pair(value, _is_integer),
    "tuple[int, int] | None": lambda value: value is None or _is_pair(value, _is_integer),
    "tuple[float, float]": lambda value: _is_pair(value, _is_number),
    "str | tuple[float, ...] | None": lambda value: (
        value is None or isinstance(value, str) or (isinstance(value, tuple) and all(map(_is_number, value)))
    ),
}


@dataclass(frozen=True)
class Recipe:
    """Every number of a training run; the defaults are those of the paper (DWRSeg, section 4.1) for CamVid.

    What the paper leaves open is a decision of this project: the OHEM threshold and share (the field's usual 0.7 and
    1/16), the color jitter (0.5 for brightness, contrast and saturation), no warm-up, and weight decay on every
    parameter. Sizes are (height, width).

    A field that is added must default to what was done before there was one: the recipes in older run folders and cards
    lack it, and mean that.

    Attributes:
        name: Name of the recipe it started as.
        optimizer: "sgd" or "adam".
        learning_rate: Initial learning rate.
        momentum: Momentum of SGD, the first beta of Adam.
        beta2: The second beta of Adam; SGD has none.
        weight_decay: L2 penalty, added to the gradient.
        decay_norms: Whether the scales and shifts of norm layers are decayed as well.
        batch_size: Frames a step; the last, smaller batch of an epoch is left out.
        epochs: Passes over the data; also the horizon at which the poly learning rate reaches zero.
        poly_power: Power of the poly schedule.
        warmup_steps: Steps over which the learning rate first rises from zero in a line.
        loss: "ohem" (cross-entropy over the hard pixels) or "cross-entropy".
        ohem_threshold: A pixel is hard where its true class has less than this probability.
        ohem_min_kept: At least this share of the labelled pixels is kept, the hardest ones.
        class_weights: None, "inverse-log" or "median-frequency" (see `weigh_classes`), or a number for each class.
        frame_size: The size that scale 1 stands for: frames of another size are resampled to it times the drawn
            scale. None: each frame's own size.
        crop_size: Size of the crop.
        evaluation_size: The size that the network sees when it is scored; None: `frame_size`.
        scale: Lowest and highest factor of the random resampling.
        flip: Probability of a horizontal flip.
        brightness: Reach of the brightness factor around 1; contrast and saturation likewise.
        contrast: See brightness.
        saturation: See brightness.
        hue: Reach of the hue rotation, in turns.
        colour_operations: Colour operations done to each frame, drawn in the manner of RandAugment (autocontrast,
            equalize, posterize, solarize, color, contrast, brightness, sharpness; see `rfkit.data.colours`).
        colour_magnitude: Their magnitude, 0 to 1.
        class_uniform: Share of an epoch's places in which classes, not frames, come equally often: of the class whose
            turn it is a tile is drawn, and the crop holds the class's centre there; see `rfkit.data.tiles`. 0: every
            frame once.
        precision: "fp32", or "bf16" for automatic mixed precision.
        channels_last: Whether activations and weights are laid out with the channels last.
        clip_norm: Highest norm of the gradient, or None for no clipping.
        label_smoothing: Share of the target that is spread evenly over the classes.
        ema_decay: Train as usual, but score and save an exponential moving average of the weights with this decay (see
            `MovingAverage`); None: the weights themselves.
        accumulate: Parts that a batch is processed in, one after the other, to save memory. The gradient is that of the
            whole batch for the cross-entropy; batch norm, and OHEM's choice of pixels, see each part alone.
        deterministic: Whether only deterministic algorithms are used, so that a GPU, too, repeats a run bit for bit;
            slower, and an operator that has none is an error that names it.
        rate_learning_rate: Initial learning rate of learned dilation rates (`rfkit.learn_dilations`), which follows the
            same schedule without weight decay; None: `learning_rate`.
        contrastive_weight: What `pixel_contrast` between the vectors that the classifier reads is multiplied by before
            it is added to the loss; each process, and each part of a batch, contrasts its own pixels. 0: none.
        contrastive_anchors: Most positions of a class that it draws.
        contrastive_temperature: Its temperature.
        sync_norms: Whether several processes normalise over their batches together, as one process would; one process
            does not change by it.
    """

    name: str = "camvid-paper"
    optimizer: str = "sgd"
    learning_rate: float = 0.02
    momentum: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 5e-4
    batch_size: int = 16
    epochs: int = 600
    poly_power: float = 0.9
    warmup_steps: int = 0
    loss: str = "ohem"
    ohem_threshold: float = 0.7
    ohem_min_kept: float = 1 / 16
    class_weights: str | tuple[float, ...] | None = None
    frame_size: tuple[int, int] | None = (720, 960)
    crop_size: tuple[int, int] = (720, 960)
    scale: tuple[float, float] = (0.5, 1.5)
    flip: float = 0.5
    brightness: float = 0.5
    contrast: float = 0.5
    saturation: float = 0.5
    hue: float = 0.0
    precision: str = "fp32"
    channels_last: bool = False
    clip_norm: float | None = None
    decay_norms: bool = True
    label_smoothing: float = 0.0
    ema_decay: float | None = None
    accumulate: int = 1
    deterministic: bool = False
    sync_norms: bool = True
    rate_learning_rate: float | None = None
    evaluation_size: tuple[int, int] | None = None
    contrastive_weight: float = 0.0
    contrastive_anchors: int = 50
    contrastive_temperature: float = 0.1
    colour_operations: int = 0
    colour_magnitude: float = 0.5
    class_uniform: float = 0.0

    def __post_init__(self) -> None:
        check_choice("optimizer", self.optimizer, ("sgd", "adam"))
        check_choice("loss", self.loss, ("ohem", "cross-entropy"))
        check_choice("precision", self.precision, ("fp32", "bf16"))
        if isinstance(self.class_weights, str):
            check_choice("class_weights", self.class_weights, ("inverse-log", "median-frequency"))
        elif self.class_weights is not None and not (min(self.class_weights) >= 0 < sum(self.class_weights)):
            raise ValueError(f"class_weights={self.class_weights!r} must not be below 0, and not all be 0.")
        for field in ("learning_rate", "batch_size", "epochs", "poly_power", "accumulate",
                      "contrastive_temperature"):  # fmt: skip
            check_positive(field, getattr(self, field))
        for field in ("clip_norm", "rate_learning_rate"):
            if getattr(self, field) is not None:
                check_positive(field, getattr(self, field))
        for field in ("ohem_threshold", "ohem_min_kept"):
            if not 0 < getattr(self, field) <= 1:
                raise ValueError(f"{field}={getattr(self, field)!r} must be above 0 and at most 1.")
        if self.ema_decay is not None and not 0 < self.ema_decay < 1:
            raise ValueError(f"ema_decay={self.ema_decay!r} must be above 0 and below 1.")
        if self.batch_size % self.accumulate:
            raise ValueError(
                f"accumulate={self.accumulate!r} must divide the batch into equal parts; batch_size={self.batch_size}."
            )
        for field in ("momentum", "beta2", "label_smoothing"):
            if not 0 <= getattr(self, field) < 1:
                raise ValueError(f"{field}={getattr(self, field)!r} must be in [0, 1).")
        if not 0 <= self.class_uniform <= 1:
            raise ValueError(f"class_uniform={self.class_uniform!r} must be in [0, 1].")
        if self.contrastive_anchors < 2:
            raise ValueError(f"contrastive_anchors={self.contrastive_anchors!r} must be at least 2.")
        for field in ("weight_decay", "warmup_steps", "contrastive_weight"):
            if getattr(self, field) < 0:
                raise ValueError(f"{field}={getattr(self, field)!r} must not be below 0.")
        _ = self.augmentation

    @property
    def augmentation(self) -> Augmentation:
        """What frames are augmented with."""
        return Augmentation(
            scale=self.scale,
            crop=self.crop_size,
            flip=self.flip,
            brightness=self.brightness,
            contrast=self.contrast,
            saturation=self.saturation,
            hue=self.hue,
            colour_operations=self.colour_operations,
            colour_magnitude=self.colour_magnitude,
        )

    def to_dict(self) -> dict[str, Any]:
        """Every field, in values that JSON has; `from_dict` makes a recipe of them."""
        return {field.name: _for_json(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Recipe:
        """The recipe that `to_dict` wrote down.

        Raises:
            ValueError: An unknown field, or a value that is not allowed.
            TypeError: A value of another type.
        """
        return cls(**_checked(fields, [entry.name for entry in dataclasses.fields(cls)]))


RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(name="camvid-paper"),
        Recipe(name="camvid-paper-half", frame_size=(360, 480), crop_size=(360, 480)),
        # The recipe shared by the small networks that reach 66 to 70 on CamVid at this size (DABNet, FBSNet, LETNet).
        Recipe(
            name="camvid-adam",
            optimizer="adam",
            learning_rate=1e-3,
            weight_decay=2e-4,
            epochs=1000,
            loss="cross-entropy",
            class_weights="inverse-log",
            frame_size=(360, 480),
            crop_size=(360, 480),
            scale=(0.75, 2.0),
        ),
        Recipe(
            name="cityscapes-paper",
            epochs=1000,
            frame_size=(1024, 2048),
            crop_size=(640, 1280),
            scale=(0.25, 1.5),
            evaluation_size=(512, 1024),
        ),
        # RegSeg's (Gao, arXiv 2111.09957): the shorter side is drawn from [400, 1600] and [288, 1152] pixels; half of
        # each epoch is uniform over the classes; colour operations in the manner of RandAugment take the place of color
        # jitter. Their number and magnitude (2 of 0.5) are assumed. The second recipe is meant for weights trained by
        # the first.
        Recipe(
            name="regseg-cityscapes",
            learning_rate=0.05,
            weight_decay=1e-4,
            decay_norms=False,
            batch_size=8,
            epochs=1000,
            warmup_steps=3000,
            loss="cross-entropy",
            frame_size=(1024, 2048),
            crop_size=(768, 768),
            scale=(400 / 1024, 1600 / 1024),
            brightness=0.0,
            contrast=0.0,
            saturation=0.0,
            colour_operations=2,
            class_uniform=0.5,
            precision="bf16",
        ),
        Recipe(
            name="regseg-camvid",
            learning_rate=0.005,
            weight_decay=1e-4,
            decay_norms=False,
            batch_size=12,
            epochs=200,
            warmup_steps=1000,
            loss="cross-entropy",
            scale=(288 / 720, 1152 / 720),
            brightness=0.0,
            contrast=0.0,
            saturation=0.0,
            precision="bf16",
        ),
        # FRM's paper (arXiv 2412.08670) names cross-entropy and a contrastive term; its full text was not at hand. All
        # else is assumed: weight and temperature 0.1, and the schedule and augmentation of DWRSeg's recipes.
        Recipe(
            name="frm-cityscapes",
            learning_rate=0.01,
            decay_norms=False,
            epochs=1000,
            warmup_steps=1000,
            loss="cross-entropy",
            contrastive_weight=0.1,
            frame_size=(1024, 2048),
            crop_size=(640, 1280),
            scale=(0.25, 1.5),
            evaluation_size=(1024, 2048),
            precision="bf16",
        ),
        Recipe(
            name="frm-camvid-half",
            learning_rate=0.01,
            decay_norms=False,
            warmup_steps=200,
            loss="cross-entropy",
            contrastive_weight=0.1,
            frame_size=(360, 480),
            crop_size=(360, 480),
        ),
        # RegSeg's CamVid recipe at half the size, and from scratch with the longer schedule that this needs.
        Recipe(
            name="regseg-camvid-half",
            learning_rate=0.05,
            weight_decay=1e-4,
            decay_norms=False,
            batch_size=12,
            epochs=600,
            warmup_steps=1000,
            loss="cross-entropy",
            frame_size=(360, 480),
            crop_size=(360, 480),
            scale=(288 / 720, 1152 / 720),
        ),
    )
}


def get_recipe(recipe: str | Recipe, /, **overrides: Any) -> Recipe:
    """The named recipe, with the given fields replaced.

    Args:
        recipe: A name in `RECIPES`, or a recipe.
        **overrides: Fields of `Recipe` with the values they take instead.

    Returns:
        A frozen recipe; it keeps the name it started as.

    Raises:
        ValueError: An unknown recipe or field, or a value that is not allowed.
        TypeError: A value of another type.

    Example:
        >>> get_recipe("camvid-paper-half", epochs=100).epochs
        100
    """
    if isinstance(recipe, str):
        if recipe not in RECIPES:
            raise unknown_name("recipe", recipe, RECIPES)
        recipe = RECIPES[recipe]
    allowed = [entry.name for entry in dataclasses.fields(Recipe) if entry.name != "name"]
    return dataclasses.replace(recipe, **_checked(overrides, allowed))


def _checked(fields: Mapping[str, Any], allowed: Sequence[str]) -> dict[str, Any]:
    """The fields with lists made tuples; values that came as text would otherwise fail far from here."""
    kinds = {entry.name: str(entry.type) for entry in dataclasses.fields(Recipe)}
    checked = {}
    for name, value in fields.items():
        if name not in allowed:
            raise unknown_name("recipe field", name, allowed)
        checked[name] = tuple(value) if isinstance(value, list) else value
        if not _KINDS[kinds[name]](checked[name]):
            raise TypeError(f"{name}={value!r} must be {kinds[name]}.")
    return checked
