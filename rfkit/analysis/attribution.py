"""Which pixels a class score of dense prediction rests on: captum's methods, for a class over a region."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rfkit._checks import unknown_name
from rfkit._progress import Bar
from rfkit.analysis.attribution_methods import (
    METHODS,
    chosen_method,
    expected_forwards,
    filled_options,
    rewritten_layers,
    unit_of,
)
from rfkit.analysis.borrowed import borrowed
from rfkit.analysis.images import MEAN, STANDARD_DEVIATION, as_batches, as_picture
from rfkit.analysis.segmentation_target import SegmentationTarget
from rfkit.hooks import find_layers, observe, separate
from rfkit.results.attribution import Attribution
from rfkit.results.box import Box

__all__ = ["attribute"]

_BASELINES = {"mean": MEAN, "black": (0.0, 0.0, 0.0), "white": (1.0, 1.0, 1.0)}
_GAP = 0.02  # share of the change of score that DeepLIFT may miss before a warning
_PATIENCE = 5  # seconds before progress is shown


def attribute(
    model: nn.Module,
    image: Tensor,
    *,
    target: Any,
    method: Any = "integrated_gradients",
    layer: str | nn.Module | None = None,
    baseline: str | float | Tensor = "mean",
    reduce: str = "sum",
    score: str = "logits",
    output: str | int | Callable[[Any], Any] | None = None,
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    progress: bool = True,
    **options: Any,
) -> Attribution:
    """How much each pixel contributed to the score of a class over a region of the prediction.

    Dense prediction gives a score for each class at each pixel. What is explained is one number made of them: the score
    of one class, added up over a region. The region is fixed by `image`, so that it stays the same when a method feeds
    the network altered images; `SegmentationTarget` says the details. The network runs in evaluation mode and is
    left as it was found, as are the random generators of torch and numpy. In-place activations are run out of place
    meanwhile.

    Methods by name, all of them captum's; the sign is kept:

    - "integrated_gradients": gradient along the way from the baseline to the image, times their difference; the values
      add up to `score - baseline_score` (Sundararajan et al., 2017). `delta` is what is missing; more `n_steps` help.
    - "saliency": the gradient. "input_x_gradient": times the normalised input. "smooth_grad": its mean over images with
      noise (`nt_samples`, `stdevs`; by default 15 % of the range of the image).
    - "gradient_shap": integrated gradients at random points of the way (`n_samples`).
    - "deep_lift": differences instead of gradients at each activation. Each activation must be a module of its own that
      runs once. Captum has no exact rule for functional activations, for modules such as GELU or SiLU, and for max
      pooling with overlapping windows; a warning comes where more than 2 % of the change of the score is missed.
    - "guided_backprop", "deconvolution": the gradient with only positive values passed back at each nn.ReLU. They look
      sharp, and depend little on the class (Adebayo et al., 2018).
    - "grad_cam" (needs `layer`): that layer's maps, weighted by their mean gradient; not rectified, unless
      `relu_attributions=True`. "guided_grad_cam" (needs `layer`): times guided backprop.
    - "occlusion": what covering a window with the baseline takes away (`sliding_window_shapes`, `strides`; by default
      an eighth of the shorter side, and half of that). "feature_ablation": the same for squares beside each other, or
      for any `feature_mask`; each pixel gets the value of its whole square.

    Args:
        model: any network that gives class scores N classes H W, or N classes; or, for a `method` that is an object of
            captum, the `SegmentationTarget` that it was built on.
        image: C H W or 1 C H W; 8 bit, or normalised as the model takes it.
        target: a class, or (class, region). The class is an index or, if `model.card` or `class_names` has names, a
            name. The region is "predicted" (the default: the pixels predicted as that class), a boolean mask H W, one
            pixel (row, column), or a `Box`; all in pixels of the image.
        method: a name; a class of captum, or a function that builds an object of captum from its forward function (and
            layer); or such an object.
        layer: name of a layer, or a layer, for the methods that need one.
        baseline: what stands for "nothing": "mean" (the mean colour of ImageNet, zero after normalisation), "black",
            "white", a number (of the normalised image), or an image in either form that `image` may have.
        reduce: "sum" or "mean" of the class's score over the region. The mean makes regions comparable.
        score: "logits" or "probabilities".
        output: where in the network's output the class scores are: key, index or function.
        class_names: names of the classes, in their order; those of `model.card` by default.
        seed: of the methods that draw random numbers.
        progress: whether to show a bar, once it has taken five seconds.
        **options: of the captum method's `attribute`, under captum's names. `internal_batch_size` and
            `perturbations_per_eval` are chosen such that about one image of 360 x 480 is computed at a time.

    Returns:
        Raw signed values for each channel and pixel (or unit of the layer), with region, score and `delta`.

    Raises:
        ValueError: no such class, method, layer or option; the region is empty, of another shape, or outside of the
            image; the network's output is no map of class scores; several images; all values are zero or some are not
            finite, and why.
        TypeError: the mask is not boolean, or `method` is nothing of captum's.

    Example:
        >>> model = nn.Conv2d(3, 2, 1, bias=False)
        >>> result = attribute(model, torch.ones(3, 4, 6), target=(1, (2, 3)), method="input_x_gradient")
        >>> np.argwhere(result.map("abs")).tolist()
        [[2, 3]]

    Reference: Kokhlikyan et al., Captum, 2020; Sundararajan et al., Axiomatic attribution for deep networks, ICML 2017;
    Adebayo et al., Sanity checks for saliency maps, NeurIPS 2018.
    """
    scorer, asked, region = _scorer(model, image, target, method, reduce=reduce, score=score, output=output)
    index, name = _class(asked, scorer, class_names)
    mask = scorer.mask(index) if scorer.is_map else None
    network = scorer.model
    where = _layer(network, layer)
    batch = as_batches(image, network)[0]
    ground = _baseline(baseline, batch, network)
    label, attributor = chosen_method(method, scorer, None if where is None else where[1])
    filled = filled_options(label, attributor, batch, ground, options)
    rewrites = label in METHODS and bool(METHODS[label].rewrites)
    with borrowed(network, seed, freeze=not rewrites):
        images = batch.detach().clone().requires_grad_()
        _check_gradient(scorer, images, index, label, perturbs="perturbations_per_eval" in filled)
        layers = rewritten_layers(label, network, _calls(scorer, batch), scorer.score) if rewrites else []
        # Captum takes the gradient of an activation's input for that of the activation, also where others read it too.
        with separate(network, layers), _shown(scorer, expected_forwards(batch, filled), label, enabled=progress):
            values = _values(attributor, images, index, filled)
        with torch.no_grad():
            whole = float(scorer(batch)[0, index])
            empty = float(scorer(ground)[0, index]) if "baselines" in filled else None
    _check_values(values, label, bool(torch.equal(batch, ground)), "baselines" in filled)
    complete = empty is not None and attributor.has_convergence_delta()
    delta = float(values.sum(dtype=float)) - (whole - empty) if complete and empty is not None else None
    _warn_of_a_gap(label, delta, whole, empty)
    return Attribution(
        values=values,
        image=_picture(image),
        class_index=index,
        class_name=name,
        region=None if mask is None else mask.cpu().numpy(),
        region_name="" if mask is None else _region_name(region),
        method=label,
        unit=unit_of(label, scorer.score),
        score=whole,
        baseline_score=empty,
        delta=delta,
        layer="" if where is None else where[0],
    )


def _scorer(
    model: nn.Module, image: Tensor, target: Any, method: Any, **options: Any
) -> tuple[SegmentationTarget, Any, Any]:
    """The network as one score a class, and the class and region of `target`."""
    pair = isinstance(target, tuple)
    if pair and len(target) != 2:
        raise ValueError(f"target={target!r} must be a class, or (class, region); a pixel is (class, (row, column)).")
    asked, region = target if pair else (target, "predicted")
    if isinstance(model, SegmentationTarget):
        if pair:
            raise ValueError("target: a SegmentationTarget has its region already; give the class alone.")
        return model, asked, "as given"
    if hasattr(method, "forward_func"):
        raise ValueError(
            "method is an object of captum, bound to a forward function of its own: build it on a SegmentationTarget "
            "and give that as the model; or give its class."
        )
    return SegmentationTarget(model, image, region=region, **options), asked, region


def _class(asked: Any, scorer: SegmentationTarget, class_names: Sequence[str] | None) -> tuple[int, str]:
    """Index and name of the class meant."""
    card = getattr(scorer.model, "card", None)
    names = list(class_names if class_names is not None else getattr(card, "class_names", None) or ())
    if names and len(names) != scorer.classes:
        raise ValueError(f"class_names has {len(names)} names; the network has {scorer.classes} classes.")
    if isinstance(asked, str):
        if not names:
            raise ValueError(
                f"target={asked!r} is a name, and this network has no card with the names of its classes; give its "
                f"index, 0 to {scorer.classes - 1}, or class_names=."
            )
        if asked not in names:
            raise unknown_name("target", asked, names)
        return names.index(asked), asked
    if isinstance(asked, bool) or not isinstance(asked, int | np.integer):
        raise ValueError(f"target={asked!r}: the class must be an index or a name.")
    index = int(asked)
    if not 0 <= index < scorer.classes:
        raise ValueError(
            f"target: class {index} is out of range; this network has {scorer.classes} classes, 0 to "
            f"{scorer.classes - 1}."
        )
    return index, names[index] if names else ""


def _layer(model: nn.Module, layer: str | nn.Module | None) -> tuple[str, nn.Module] | None:
    if layer is None:
        return None
    found = find_layers(model, layer)
    if len(found) != 1:
        raise ValueError(f"layer={layer!r} means {len(found)} layers, {', '.join(list(found)[:4])}; give one.")
    return next(iter(found.items()))


def _baseline(baseline: str | float | Tensor, batch: Tensor, model: nn.Module) -> Tensor:
    """The baseline as a batch of one, normalised like `batch`."""
    if isinstance(baseline, Tensor) and baseline.dim():
        images = as_batches(baseline, model)
        if len(images) != 1 or images[0].shape != batch.shape:
            raise ValueError(f"baseline has shape {tuple(baseline.shape)}; the image is {tuple(batch.shape[1:])}.")
        return images[0]
    if not isinstance(baseline, str):
        return torch.full_like(batch, float(baseline))
    if baseline not in _BASELINES:
        raise unknown_name("baseline", baseline, _BASELINES)
    if baseline == "mean":
        return torch.zeros_like(batch)
    if batch.shape[1] != 3:
        raise ValueError(f"baseline={baseline!r} is a colour; the image has {batch.shape[1]} channels. Give a number.")
    mean, deviation = (batch.new_tensor(values).view(1, 3, 1, 1) for values in (MEAN, STANDARD_DEVIATION))
    return (batch.new_tensor(_BASELINES[baseline]).view(1, 3, 1, 1) - mean) / deviation + torch.zeros_like(batch)


def _check_gradient(scorer: SegmentationTarget, images: Tensor, index: int, name: str, *, perturbs: bool) -> None:
    """Raise where the score cannot be differentiated, before captum says so in its own words."""
    if not perturbs and not scorer(images)[0, index].requires_grad:
        raise ValueError(
            f"method={name!r} needs the gradient of the score, and the score is detached from the image: the network "
            "runs under no_grad, detaches, or passes through numpy or integers. 'occlusion' needs no gradient."
        )


def _calls(scorer: SegmentationTarget, batch: Tensor) -> dict[str, int]:
    """How often each module of the network runs in a forward pass, by full name."""
    counts: dict[str, int] = {}

    def count(name: str, _inputs: tuple[Any, ...], _output: Any) -> None:
        counts[name] = counts.get(name, 0) + 1

    with torch.no_grad(), observe(scorer.model, "*", count):
        scorer(batch)
    return counts


@contextmanager
def _shown(scorer: SegmentationTarget, total: int | None, name: str, *, enabled: bool) -> Iterator[None]:
    """A bar that counts the images that go through the network, once that has taken a while."""
    bar = Bar(total=total, desc=name, unit="image", disable=not enabled, delay=_PATIENCE, leave=False)
    with bar, observe(scorer, scorer, lambda _name, inputs, _output: bar.update(len(inputs[0])) and None):
        yield


def _values(attributor: Any, images: Tensor, index: int, options: Mapping[str, Any]) -> np.ndarray:
    """What captum returns, (channels, height, width)."""
    if type(attributor).__name__ == "GradientShap":
        found = _in_turns(attributor, images, index, options)
    else:
        found = attributor.attribute(images, target=index, **options)
    if isinstance(found, tuple) and len(found) == 1:
        found = found[0]
    if not isinstance(found, Tensor) or found.dim() != 4:
        came = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ValueError(f"layer: the attribution is {came}; it can be shown only for a layer that returns N C H W.")
    values = found[0].detach().cpu()
    return values.numpy() if values.dtype == torch.float64 else values.float().numpy()


def _in_turns(attributor: Any, images: Tensor, index: int, options: Mapping[str, Any]) -> Tensor:
    """The mean over samples drawn one after the other, where captum would compute all of them at once."""
    rest = {key: value for key, value in options.items() if key != "n_samples"}
    count = int(options.get("n_samples", 5))
    total = torch.zeros_like(images, requires_grad=False)
    for _ in range(count):
        total += attributor.attribute(images, target=index, n_samples=1, **rest).detach()
    return total / count


def _check_values(values: np.ndarray, name: str, same: bool, compares: bool) -> None:
    """Raise where the values say nothing."""
    if not np.isfinite(values).all():
        raise ValueError(
            f"method={name!r} gives {int((~np.isfinite(values)).sum())} values that are not finite; look for NaN or "
            "infinity in the network's parameters, buffers or scores."
        )
    if values.any():
        return
    if same and compares:
        why = "the image is equal to the baseline; choose another baseline="
    elif name in ("occlusion", "feature_ablation"):
        why = "nothing that was covered changes the score; the windows may not touch its receptive field"
    else:
        why = (
            "the score does not change with the image near it: activations that are all switched off (dead ReLU), a "
            "saturated softmax or sigmoid, a rounding, or weights of zero"
        )
    raise ValueError(f"method={name!r} gives zero everywhere: {why}.")


def _warn_of_a_gap(name: str, delta: float | None, score: float, baseline_score: float | None) -> None:
    """Warn where DeepLIFT, which adds up exactly by its rules, does not: captum lacks a rule for something."""
    if name != "deep_lift" or delta is None or baseline_score is None:
        return
    change = score - baseline_score
    if abs(delta) > _GAP * abs(change):
        warnings.warn(
            f"deep_lift: the values add up to {change + delta:.3g}, and the score changes by {change:.3g}. Captum has "
            "no exact rule for functional activations, for modules such as GELU or SiLU, and for max pooling with "
            "overlapping windows; 'integrated_gradients' needs none.",
            stacklevel=3,
        )


def _picture(image: Tensor) -> np.ndarray:
    """The image as 8-bit H W 3; gray, from its darkest to its brightest value, where it has not three channels."""
    values = image.detach()[0] if image.dim() == 4 else image.detach()
    if len(values) == 3:
        return as_picture(image).numpy()
    gray = values.float().mean(dim=0).cpu()
    scaled = (gray - gray.min()) / (gray.max() - gray.min()).clamp(min=1e-12) * 255
    return scaled.round().to(torch.uint8)[..., None].repeat(1, 1, 3).numpy()


def _region_name(region: Any) -> str:
    if isinstance(region, str):
        return region
    if isinstance(region, Box):
        return str(region)
    return f"pixel ({int(region[0])}, {int(region[1])})" if isinstance(region, tuple | list) else "mask"
