"""To which stage of a network a block belongs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from rfkit.hooks import find_layers

__all__ = ["published_stages", "stages_of"]


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
