"""To which stage of a network a block belongs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from rfkit.analysis.find_branches import BranchBlock, find_branch_blocks
from rfkit.hooks import find_layers

__all__ = ["StagedBlock", "published_stages", "staged_blocks", "stages_of"]


@dataclass(frozen=True, eq=False)
class StagedBlock:
    """A block with parallel branches, its stage, and a name that no other block of the network has."""

    stage: str
    name: str
    block: BranchBlock


def staged_blocks(
    model: nn.Module, image: Tensor, stages: Mapping[str, str | Sequence[str]] | None = None
) -> tuple[tuple[str, ...], list[StagedBlock]]:
    """The stages of `model` that hold parallel dilated branches, and these blocks in the order in which they run.

    Call it inside `rfkit.analysis.untouched.untouched`.

    Args:
        model: any module that takes one image.
        image: N C H W, in the form that the model takes.
        stages: stage name -> names or patterns of modules that hold them, see `stages_of`; blocks elsewhere are left
            out.

    Raises:
        ValueError: the model does not run on the image, it has no such block, or a stage has none.
    """
    blocks = _find(model, image)
    order, named = stages_of(model, [block.merge for block in blocks], stages)
    for stage in stages or ():
        if stage not in order:
            raise ValueError(f"stages: {stage!r} holds no block with parallel dilated branches.")
    kept = [(stage, block) for block, stage in zip(blocks, named, strict=True) if stage is not None]
    names = _block_names([block for _, block in kept])
    return order, [StagedBlock(stage, name, block) for (stage, block), name in zip(kept, names, strict=True)]


def stages_of(
    model: nn.Module, names: Sequence[str], stages: Mapping[str, str | Sequence[str]] | None = None
) -> tuple[tuple[str, ...], list[str | None]]:
    """The stages that hold the modules `names`, first to last, and the stage of each of them.

    Args:
        model: any module.
        names: full names of modules.
        stages: stage name -> names or patterns of modules that hold them; a module outside has no stage (None).
            Default: the stages that the model publishes, as `model.stages` (entries with `name` and `blocks`) or, for
            a network made by `rfkit.probe`, as `model.probed_stages`; for a module outside these, and for other
            models, the name of the top-level module.

    Raises:
        ValueError: a name in `stages` matches nothing.
    """
    if stages is None:
        holders = published_stages(model)
    else:
        holders = {stage: list(find_layers(model, _listed(patterns))) for stage, patterns in stages.items()}
    found: list[str | None] = []
    for name in names:
        # The longest holder is the innermost.
        fitting = [
            (len(holder), stage)
            for stage, of_stage in holders.items()
            for holder in of_stage
            if holder in ("", name) or name.startswith(f"{holder}.")
        ]
        default = None if stages is not None else name.split(".")[0]
        found.append(max(fitting)[1] if fitting else default)
    order = dict.fromkeys([*holders, *(stage for stage in found if stage is not None)])
    return tuple(stage for stage in order if stage in found), found


def _listed(patterns: str | Sequence[str]) -> list[str | nn.Module]:
    return [patterns] if isinstance(patterns, str) else list(patterns)


def published_stages(model: nn.Module) -> dict[str, list[str]]:
    """The stages that the model publishes, name -> full names of their blocks; none for other models."""
    probed = getattr(model, "probed_stages", None)
    if isinstance(probed, Mapping):
        return {str(stage): list(names) for stage, names in probed.items()}
    listed = getattr(model, "stages", None)
    if isinstance(listed, Sequence) and all(hasattr(stage, "name") and hasattr(stage, "blocks") for stage in listed):
        return {stage.name: list(stage.blocks) for stage in listed}
    return {}


def _find(model: nn.Module, image: Tensor) -> list[BranchBlock]:
    try:
        blocks = find_branch_blocks(model, image)
    except RuntimeError as error:
        raise ValueError(
            f"{type(model).__name__} does not run on an input of shape {tuple(image.shape)} ({error}); "
            "give images, or another input_size=(channels, height, width)."
        ) from error
    if not blocks:
        raise ValueError(
            f"{type(model).__name__} has no parallel dilated branches. Looked for: two or more spatial convolutions "
            "that read the same tensor or parts of one split, with dilations that are not all equal, concatenated, and "
            "through norm, activation or a per-channel gate alone weighed by a 1x1 convolution."
        )
    return blocks


def _block_names(blocks: Sequence[BranchBlock]) -> list[str]:
    """Names of the blocks; by the 1x1 convolution, then also by the branches, where a module holds several."""
    for names in ([block.name for block in blocks], [block.merge for block in blocks]):
        if max(Counter(names).values()) == 1:
            return names
    return [f"{block.merge} ({block.branches[0].name})" for block in blocks]
