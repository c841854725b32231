"""The attribution methods of captum by name, with settings that fit images of hundreds of thousands of pixels."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rfkit._checks import unknown_name
from rfkit.analysis.segmentation_target import SegmentationTarget

__all__ = ["METHODS", "Method", "chosen_method", "expected_forwards", "filled_options", "rewritten_layers", "unit_of"]

# Pixels that go through the network at once: one image of 360 x 480, or 64 of 64 x 64.
_PIXELS_AT_ONCE = 2**18
_OWNED = ("inputs", "target", "additional_forward_args", "return_convergence_delta")


@dataclass(frozen=True)
class Method:
    """How one method of captum is used.

    Attributes:
        captum: name of the class in `captum.attr`.
        unit: unit of its values, with {score} for that of the score.
        options: what is given to captum's `attribute` unless the user says otherwise.
        within: name of a class of `captum.attr` that is put around it.
        rewrites: the types of activation modules whose gradient it replaces; it works through hooks on them.
        once: whether each of those modules may run only once in a forward pass.
    """

    captum: str
    unit: str
    options: Mapping[str, Any] = field(default_factory=dict)
    within: str = ""
    rewrites: tuple[str, ...] = ()
    once: bool = False


_GRADIENT = "{score} per unit of input"
_NONLINEAR = ("ReLU", "ELU", "LeakyReLU", "Sigmoid", "Tanh", "Softplus", "MaxPool2d", "Softmax")

METHODS: Mapping[str, Method] = {
    "saliency": Method("Saliency", _GRADIENT, {"abs": False}),
    "smooth_grad": Method(
        "Saliency", _GRADIENT, {"abs": False, "nt_samples": 20, "nt_samples_batch_size": 1}, within="NoiseTunnel"
    ),
    "input_x_gradient": Method("InputXGradient", "{score}"),
    "integrated_gradients": Method("IntegratedGradients", "{score}", {"n_steps": 50}),
    "gradient_shap": Method("GradientShap", "{score}", {"n_samples": 20}),
    "deep_lift": Method("DeepLift", "{score}", rewrites=_NONLINEAR, once=True),
    "guided_backprop": Method("GuidedBackprop", _GRADIENT, rewrites=("ReLU",)),
    "deconvolution": Method("Deconvolution", _GRADIENT, rewrites=("ReLU",)),
    "grad_cam": Method("LayerGradCam", ""),
    "guided_grad_cam": Method("GuidedGradCam", "", rewrites=("ReLU",)),
    "occlusion": Method("Occlusion", "{score} per window"),
    "feature_ablation": Method("FeatureAblation", "{score} per square"),
}
"""Methods by name; `rfkit.attribute` says what each of them does."""


def chosen_method(method: Any, scorer: SegmentationTarget, layer: nn.Module | None) -> tuple[str, Any]:
    """The name of a method, and the captum object that `method` means, built around `scorer`.

    Args:
        method: a name in `METHODS`, a class of captum, a function that builds an object of captum from a forward
            function (and a layer), or such an object.
        scorer: the forward function.
        layer: the layer for methods that need one.

    Raises:
        ValueError: the name is not known; a layer is missing, or not wanted.
        TypeError: `method` is nothing of the kind.
    """
    from captum import attr

    if isinstance(method, str):
        if method not in METHODS:
            raise unknown_name("method", method, METHODS)
        entry = METHODS[method]
        built = _build(getattr(attr, entry.captum), scorer, layer, method)
        return method, getattr(attr, entry.within)(built) if entry.within else built
    if isinstance(method, attr.Attribution):
        return type(method).__name__, method
    if not callable(method):
        raise TypeError(f"method={method!r} must be a name, a class of captum, or an object of such a class.")
    name = getattr(method, "__name__", type(method).__name__)
    built = _build(method, scorer, layer, name)
    return (type(built).__name__ if name == "<lambda>" else name), built


def _build(maker: Callable[..., Any], scorer: SegmentationTarget, layer: nn.Module | None, name: str) -> Any:
    wants = "layer" in inspect.signature(maker).parameters
    if wants and layer is None:
        raise ValueError(f"method={name!r} needs layer=: the layer whose map is weighted, by its name in the network.")
    if layer is not None and not wants:
        raise ValueError(f"layer= is given, but method={name!r} attributes to the image and takes none.")
    return maker(scorer, layer) if wants else maker(scorer)


def filled_options(
    name: str, attributor: Any, image: Tensor, baseline: Tensor, given: Mapping[str, Any]
) -> dict[str, Any]:
    """What is passed to `attributor.attribute`: the user's options, those of the method, and the baseline.

    Raises:
        ValueError: an option is not one of the method's (the nearest names are listed), or has its own argument.
    """
    allowed = _parameters(attributor)
    for option in given:
        if option == "baselines":
            raise ValueError("baselines is an option of captum; here it is the argument baseline=.")
        if option not in allowed:
            raise unknown_name(f"option of method {name!r}", option, sorted(allowed - {"baselines"}))
    options = {**(METHODS[name].options if name in METHODS else {}), **given}
    height, width = image.shape[2:]
    at_once = max(1, _PIXELS_AT_ONCE // (int(height) * int(width)))
    if "internal_batch_size" in allowed:
        options.setdefault("internal_batch_size", at_once)
    if "perturbations_per_eval" in allowed:
        options.setdefault("perturbations_per_eval", at_once)
    side = max(1, min(int(height), int(width)) // 8)
    if "sliding_window_shapes" in allowed:
        options.setdefault("sliding_window_shapes", (int(image.shape[1]), side, side))
        options.setdefault("strides", (int(image.shape[1]), max(1, side // 2), max(1, side // 2)))
    elif "feature_mask" in allowed:
        options.setdefault("feature_mask", _squares(image, side))
    if name == "smooth_grad":
        options.setdefault("stdevs", 0.15 * float(image.max() - image.min()))
    if "baselines" in allowed:
        options["baselines"] = baseline
    return options


def _parameters(attributor: Any) -> set[str]:
    """The options that `attributor.attribute` takes, through what may be put around it."""
    parameters = inspect.signature(attributor.attribute).parameters
    names = {entry.name for entry in parameters.values() if entry.kind is not inspect.Parameter.VAR_KEYWORD}
    inner = getattr(attributor, "attribution_method", None)
    if inner is not None and len(names) < len(parameters):
        names |= _parameters(inner)
    return names - set(_OWNED) - {"kwargs"}


def _squares(image: Tensor, side: int) -> Tensor:
    """The number of the square that each pixel belongs to, 1 1 H W."""
    rows, columns = (torch.arange(int(length), device=image.device) // side for length in image.shape[2:])
    return (rows[:, None] * (columns[-1] + 1) + columns)[None, None]


def unit_of(name: str, score: str) -> str:
    """The unit of a method's values; empty for a method that is not in `METHODS`."""
    return METHODS[name].unit.format(score=score) if name in METHODS else ""


def rewritten_layers(name: str, model: nn.Module, calls: Mapping[str, int], score: str) -> list[str]:
    """The names of the activation modules whose gradient a method replaces; none for a method that does not.

    Pooling is left out: captum's rule for it adds up wrongly where windows overlap, and is not applied behind an
    activation unless the pooling reads a tensor of its own.

    Args:
        name: name of the method.
        model: the network.
        calls: how often each of its modules runs in a forward pass, by full name.
        score: "logits" or "probabilities".

    Raises:
        ValueError: the method cannot do so in this network.
    """
    entry = METHODS.get(name)
    if entry is None or not entry.rewrites:
        return []
    modules = dict(model.named_modules())
    found = [module for module in calls if type(modules[module]).__name__ in entry.rewrites]
    if not entry.once and not found:
        raise ValueError(
            f"method={name!r} changes what nn.ReLU modules pass back, and no such module runs in this "
            f"{type(model).__name__} (a functional relu, or another activation, cannot be changed)."
        )
    again = [module for module in found if calls[module] > 1] if entry.once else []
    if again:
        raise ValueError(
            f"method={name!r} needs an activation module of its own at each place, but these run several times in a "
            f"forward pass: {', '.join(again[:5])}. Give each place its own module, or use 'integrated_gradients'."
        )
    if entry.once and score == "probabilities":
        raise ValueError(f"method={name!r} has no rule for the softmax over maps; use score='logits'.")
    return [module for module in found if "Pool" not in type(modules[module]).__name__]


def expected_forwards(image: Tensor, options: Mapping[str, Any]) -> int | None:
    """About how many images a method puts through the network, where its options tell."""
    for name in ("n_steps", "n_samples", "nt_samples"):
        if name in options:
            return int(options[name])
    if "sliding_window_shapes" in options:
        window, strides = options["sliding_window_shapes"], options["strides"]
        strides = (strides,) * len(window) if isinstance(strides, int) else strides
        counts = [
            np.ceil(max(0, length - side) / step) + 1
            for length, side, step in zip(image.shape[1:], window, strides, strict=True)
        ]
        return int(np.prod(counts)) + 1
    if "feature_mask" in options:
        return len(options["feature_mask"].unique()) + 1
    return None
