"""The feature refinement module: its attention by hand, its shapes, what reaches what."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from rfkit.cost import parameters
from rfkit.nn.frm import FRM, ContextBlock, DisentangledNonLocal

WIDTHS = (4, 6, 8, 10)


def _maps(height: int, width: int, batch: int = 1) -> list[torch.Tensor]:
    return [
        torch.randn(batch, channels, -(-height // stride), -(-width // stride))
        for channels, stride in zip(WIDTHS, (4, 8, 16, 32), strict=True)
    ]


def test_the_attention_is_a_pairwise_and_a_unary_term() -> None:
    torch.manual_seed(0)
    layer = DisentangledNonLocal(6, width=3, temperature=0.5).double()
    x = torch.randn(1, 6, 2, 3, dtype=torch.float64)
    flat = x[0].flatten(1)  # channels, positions
    query, key, value = (part.weight.flatten(1) @ flat for part in (layer.query, layer.key, layer.value))
    score = layer.score.weight.flatten() @ flat
    expected = torch.zeros(6, 6, dtype=torch.float64)
    for position in range(6):
        centred = query[:, position] - query.mean(1)
        products = torch.stack([centred @ (key[:, other] - key.mean(1)) for other in range(6)])
        pairwise = torch.softmax(products / (math.sqrt(3) * 0.5), 0)
        gathered = value @ (pairwise + torch.softmax(score, 0))
        expected[:, position] = layer.project.weight.flatten(1) @ gathered + layer.project.bias
    torch.testing.assert_close(layer(x)[0].flatten(1), expected)


def test_a_shift_of_all_queries_or_keys_changes_nothing() -> None:
    layer = DisentangledNonLocal(4, width=3).double()
    x = torch.randn(1, 4, 3, 3, dtype=torch.float64)
    before = layer(x)
    for part in (layer.query, layer.key):
        part.bias = torch.nn.Parameter(torch.randn(3, dtype=torch.float64))
    torch.testing.assert_close(layer(x), before)


def test_the_context_of_a_position_reaches_everywhere() -> None:
    layer = DisentangledNonLocal(4, width=4)
    x = torch.randn(1, 4, 3, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(layer(x)[0, 0, 0, 0], x)
    assert (gradient != 0).all(1).all()


def test_parameters_of_a_context_block() -> None:
    channels, width, hidden = 12, 6, 48
    attention = 3 * channels * width + channels + width * channels + channels
    mlp = channels * hidden + hidden + hidden * channels + channels
    assert parameters(ContextBlock(channels, width=width)) == attention + mlp + 4 * channels
    assert parameters(FRM(WIDTHS, depth=2)) == 2 * parameters(ContextBlock(28, width=14))


@pytest.mark.parametrize("pool", ["average", "max"])
def test_what_the_context_is_made_of(pool: str) -> None:
    frm, maps = FRM(WIDTHS, pool=pool).eval(), _maps(64, 96)
    reduce = F.avg_pool2d if pool == "average" else F.max_pool2d
    pooled = [reduce(features, factor) for features, factor in zip(maps, (8, 4, 2), strict=False)]
    expected = frm.context(torch.cat([*pooled, maps[3]], dim=1))
    refined = frm(maps)
    assert all(after is before for after, before in zip(refined[:3], maps, strict=False))
    torch.testing.assert_close(refined[3], expected)


def test_with_add_each_map_gets_its_share() -> None:
    frm, maps = FRM(WIDTHS, merge="add").eval(), _maps(64, 96)
    context = FRM.forward(_as_top(frm), maps)[3]
    for own, share, refined in zip(maps, context.split(WIDTHS, dim=1), frm(maps), strict=True):
        up = F.interpolate(share, own.shape[-2:], mode="bilinear")
        torch.testing.assert_close(refined, own + up)


def _as_top(frm: FRM) -> FRM:
    top = FRM(WIDTHS).eval()
    top.load_state_dict(frm.state_dict())
    return top


@pytest.mark.parametrize("size", [(1, 1), (45, 67), (97, 33)])
@pytest.mark.parametrize(("merge", "channels"), [("top", (4, 6, 8, 28)), ("add", WIDTHS)])
def test_sizes_are_kept_whatever_they_are(merge: str, channels: tuple[int, ...], size: tuple[int, int]) -> None:
    frm, maps = FRM(WIDTHS, merge=merge).eval(), _maps(*size, batch=2)
    refined = frm(maps)
    assert frm.out_channels == channels
    assert [tuple(after.shape) for after in refined] == [
        (2, width, *before.shape[-2:]) for width, before in zip(channels, maps, strict=True)
    ]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: FRM(WIDTHS, merge="sum"), r"merge='sum' is not known; allowed: top, add"),
        (lambda: FRM(WIDTHS, pool="mean"), r"pool='mean' is not known"),
        (lambda: FRM(WIDTHS, depth=0), r"depth=0 must be above 0"),
        (lambda: FRM(WIDTHS, norm="group"), r"norm='group' is not known"),
        (lambda: FRM(WIDTHS, temperature=0), r"temperature=0 must be above 0"),
        (lambda: FRM(WIDTHS, mlp_ratio=0), r"mlp_ratio=0 must be above 0"),
        (lambda: FRM(WIDTHS, output_strides=(4, 8, 16)), r"output_strides=\(4, 8, 16\) must have one entry for each"),
        (lambda: FRM(WIDTHS, output_strides=(4, 8, 12, 32)), r"output_strides=\(4, 8, 12, 32\) must all divide"),
        (lambda: FRM(WIDTHS)(_maps(32, 32)[:3]), r"maps holds 3 maps; this FRM takes 4"),
    ],
)
def test_errors_name_the_argument(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
