from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rfkit.nn.learned_dilation import LearnedDilation


def _seeded(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _conv(*arguments: object, **options: object) -> nn.Conv2d:
    conv = nn.Conv2d(*arguments, **options).double()  # type: ignore[arg-type]
    with torch.no_grad():
        for index, parameter in enumerate(conv.parameters()):
            parameter.copy_(_seeded(*parameter.shape, seed=index + 1))
    return conv


def _sampled(maps: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """`maps` read at the rows `y` and columns `x` (all their pairs), bilinearly, zero outside."""
    height, width = maps.shape[-2:]
    grid = torch.stack(torch.meshgrid(2 * y / (height - 1) - 1, 2 * x / (width - 1) - 1, indexing="ij"), dim=-1)
    grid = grid.flip(-1).expand(len(maps), -1, -1, -1)
    return F.grid_sample(maps, grid, mode="bilinear", padding_mode="zeros", align_corners=True)


def _reference(conv: nn.Conv2d, maps: Tensor, rate: float) -> Tensor:
    """Tap by tap from the definition: the weights times the map read at the centre plus rate * (i, j)."""
    size, own = conv.kernel_size, max(conv.dilation)
    shape = conv(maps).shape[-2:]
    starts = [own * (side // 2) - pad for side, pad in zip(size, conv.padding, strict=True)]
    centres = [
        torch.arange(count, dtype=maps.dtype) * stride + start
        for count, stride, start in zip(shape, conv.stride, starts, strict=True)
    ]
    output = torch.zeros(())
    for i in range(size[0]):
        for j in range(size[1]):
            read = _sampled(maps, centres[0] + rate * (i - size[0] // 2), centres[1] + rate * (j - size[1] // 2))
            output = output + F.conv2d(read, conv.weight[:, :, i : i + 1, j : j + 1], groups=conv.groups)
    return output if conv.bias is None else output + conv.bias[:, None, None]


CONVS = {
    "depth-wise": {"arguments": (4, 8, 3), "padding": 2, "dilation": 2, "groups": 4, "bias": False},
    "grouped with stride": {"arguments": (4, 6, 3), "padding": 3, "dilation": 3, "groups": 2, "stride": 2},
    "dense with wide padding": {"arguments": (4, 3, 3), "padding": (3, 4), "dilation": 2},
    "5x5": {"arguments": (4, 4, 5), "padding": 4, "dilation": 2, "groups": 4},
    "7x7 with uneven strides": {"arguments": (4, 4, 7), "padding": 3, "groups": 4, "stride": (1, 3)},
    "1x3": {"arguments": (4, 4, (1, 3)), "padding": (0, 2), "dilation": (1, 2)},
    "5x3": {"arguments": (4, 4, (5, 3)), "padding": "same", "dilation": 2},
}


@pytest.mark.parametrize("rate", [1.0, 1.3, 2.0, 2.5, 3.75, 4.999, 11.6])
@pytest.mark.parametrize("name", CONVS)
def test_real_rates_read_between_positions(name: str, rate: float) -> None:
    options = dict(CONVS[name])
    conv = _conv(*options.pop("arguments"), **options)
    maps = _seeded(2, 4, 14, 17)
    learned = LearnedDilation(conv, rate=rate)
    if conv.padding == "same":
        conv.padding = tuple(r * (k // 2) for r, k in zip(conv.dilation, conv.kernel_size, strict=True))
    torch.testing.assert_close(learned(maps), _reference(conv, maps, rate))
    with torch.no_grad():
        torch.testing.assert_close(learned(maps), _reference(conv, maps, rate))


@pytest.mark.parametrize("gradients", [True, False])
@pytest.mark.parametrize("rate", [1, 2, 5])
def test_whole_rates_are_those_of_the_plain_convolution_bit_for_bit(rate: int, gradients: bool) -> None:
    for groups, stride in ((6, 1), (2, 2), (1, 1)):
        plain = nn.Conv2d(6, 6, 3, stride, padding=rate, dilation=rate, groups=groups)
        maps = _seeded(2, 6, 20, 23).float()
        with torch.set_grad_enabled(gradients):
            assert torch.equal(LearnedDilation(plain)(maps), plain(maps))
            other = nn.Conv2d(6, 6, 3, stride, padding=4, dilation=4, groups=groups)
            other.load_state_dict(plain.state_dict())
            assert torch.equal(LearnedDilation(other, rate=rate)(maps), plain(maps))


@pytest.mark.parametrize(("size", "groups", "stride"), [(3, 2, 1), (3, 1, 2), (5, 2, 1)])
def test_gradients(size: int, groups: int, stride: int) -> None:
    conv = _conv(2, 2, size, stride, padding=size // 2, groups=groups)
    learned = LearnedDilation(conv)

    def output(maps: Tensor, weight: Tensor, bias: Tensor, rate: Tensor) -> Tensor:
        given = {"weight": weight, "bias": bias, "rate": rate}
        return torch.func.functional_call(learned, given, (maps,))  # type: ignore[no-any-return]

    for rate in (1.37, 2.8):
        start = (_seeded(1, 2, 7, 6), conv.weight, conv.bias, torch.tensor(rate, dtype=torch.float64))
        inputs = tuple(value.detach().clone().requires_grad_() for value in start)
        assert torch.autograd.gradcheck(output, inputs)


def test_the_derivative_at_a_whole_rate_is_that_from_the_right() -> None:
    conv, maps = _conv(2, 2, 3, padding=2, dilation=2, groups=2), _seeded(1, 2, 9, 9)
    learned = LearnedDilation(conv)
    learned(maps).square().sum().backward()
    above = LearnedDilation(conv, rate=2 + 1e-6)(maps).square().sum()
    at = LearnedDilation(conv)(maps).square().sum()
    assert learned.rate.grad.item() == pytest.approx(((above - at) / 1e-6).item(), rel=1e-4)


def test_weights_are_shared_and_no_random_number_is_drawn() -> None:
    conv = nn.Conv2d(4, 4, 3, padding=3, dilation=3, groups=4)
    before = torch.random.get_rng_state()
    learned = LearnedDilation(conv)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert learned.weight is conv.weight
    assert learned.bias is conv.bias
    assert set(learned.state_dict()) == {"weight", "bias", "rate"}
    assert (learned.rate.item(), learned.branch, learned.bound) == (3.0, "d3", math.inf)
    assert "rate=3, bound=inf" in repr(learned)
    twin = copy.deepcopy(learned)
    assert torch.equal(twin(torch.ones(1, 4, 8, 8)), learned(torch.ones(1, 4, 8, 8)))


def test_rates_outside_of_their_range_act_as_its_ends_and_keep_their_gradient() -> None:
    conv, maps = _conv(2, 2, 3, padding=2, dilation=2), _seeded(1, 2, 9, 9)
    learned = LearnedDilation(conv, bound=4.5)
    for outside, end in ((0.2, 1.0), (9.0, 4.5)):
        with torch.no_grad():
            learned.rate.fill_(outside)
        torch.testing.assert_close(learned(maps), LearnedDilation(conv, rate=end)(maps))
        learned(maps).square().sum().backward()
        assert learned.rate.grad.abs() > 0
        learned.clamp()
        assert learned.rate.item() == end
    learned.set_bound(3)
    assert (learned.rate.item(), learned.bound) == (3, 3)


@pytest.mark.parametrize(("rate", "whole"), [(2.49, 2), (2.5, 3), (4.7, 4), (1.0, 1)])
def test_frozen_is_an_ordinary_convolution_at_the_nearest_rate(rate: float, whole: int) -> None:
    conv = _conv(4, 4, 3, 2, padding=(3, 2), dilation=2, groups=2)
    learned = LearnedDilation(conv, rate=rate, bound=4.8)
    frozen = learned.frozen()
    assert type(frozen) is nn.Conv2d
    assert frozen.dilation == (whole, whole)
    assert frozen.weight is conv.weight
    maps = _seeded(1, 4, 15, 12)
    torch.testing.assert_close(frozen(maps), LearnedDilation(conv, rate=whole)(maps))
    assert frozen(maps).shape == conv(maps).shape


def test_half_precision_keeps_an_exact_rate() -> None:
    conv = nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4).to(torch.bfloat16)
    learned = LearnedDilation(conv, rate=2.3)
    assert learned.rate.dtype == torch.float32
    assert learned(torch.ones(1, 4, 9, 9, dtype=torch.bfloat16)).dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("conv", "options", "message"),
    [
        (nn.Conv2d(2, 2, 4, padding=2), {}, r"kernel_size=\(4, 4\) must be odd"),
        (nn.Conv2d(2, 2, 1), {}, r"kernel_size=\(1, 1\) must be odd, with more than one tap"),
        (nn.Conv2d(2, 2, 3, padding=4, dilation=(2, 4)), {}, r"dilation=\(2, 4\) must be the same along both"),
        (nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), {}, r"padding_mode='reflect' must be 'zeros'"),
        (nn.Conv2d(2, 2, 3, padding=1, dilation=2), {}, r"padding=\(1, 1\) must be at least \(2, 2\)"),
        (nn.Conv2d(2, 2, 3, padding="valid"), {}, r"padding='valid' must be at least \(1, 1\)"),
        (nn.LazyConv2d(2, 3, padding=1), {}, r"a LazyConv2d cannot learn its dilation rate"),
        (nn.Conv2d(2, 2, 3, padding=1), {"rate": 0.5}, r"rate=0\.5 must lie between 1 and bound=inf"),
        (nn.Conv2d(2, 2, 3, padding=1), {"rate": 5, "bound": 4}, r"rate=5 must lie between 1 and bound=4"),
        (nn.Conv2d(2, 2, 3, padding=1), {"bound": 0.5}, r"bound=0\.5 must be at least 1"),
    ],
)  # fmt: skip
def test_errors_say_what_is_allowed(conv: nn.Conv2d, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LearnedDilation(conv, **options)


def test_a_rate_that_is_no_number_is_an_error() -> None:
    learned = LearnedDilation(nn.Conv2d(2, 2, 3, padding=1))
    with torch.no_grad():
        learned.rate.fill_(math.nan)
    with pytest.raises(ValueError, match="rate=nan: the dilation rate is no longer a number"):
        learned(torch.ones(1, 2, 5, 5))


def _blurred(maps: Tensor) -> Tensor:
    """White noise made smooth, as images are."""
    kernel = torch.exp(-(torch.linspace(-2, 2, 9) ** 2) / 2)
    kernel = torch.outer(kernel, kernel)[None, None]
    smooth = F.conv2d(maps, kernel / kernel.norm(), padding=4)
    return smooth / smooth.std()


def _learned_rate(start: float, distance: int, *, smooth: bool) -> float:
    """The rate after 300 steps on a task whose evidence lies at a distance above, below, left and right of a unit."""
    generator = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(1, 1, 3, padding=1, bias=False)
    with torch.no_grad():
        conv.weight.fill_(0.1)
    learned = LearnedDilation(conv, rate=start, bound=12)
    optimizer = torch.optim.Adam(
        [{"params": [conv.weight], "lr": 0.03}, {"params": [learned.rate], "lr": 0.05}], betas=(0.9, 0.99)
    )
    for _ in range(300):
        maps = torch.randn(4, 1, 40, 40, generator=generator)
        maps = _blurred(maps) if smooth else maps
        padded = F.pad(maps, [distance] * 4)
        evidence = sum(padded.roll(shift, axis) for shift in (distance, -distance) for axis in (2, 3))
        label = (evidence[..., distance:-distance, distance:-distance] > 0).float()
        loss = F.binary_cross_entropy_with_logits(learned(maps), label)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        learned.clamp()
    return learned.rate.item()


@pytest.mark.parametrize(("start", "distance"), [(2.0, 5), (8.0, 5), (4.0, 7)])
def test_the_rate_moves_to_the_context_that_a_task_needs(start: float, distance: int) -> None:
    assert _learned_rate(start, distance, smooth=True) == pytest.approx(distance, abs=0.3)


def test_white_noise_shows_no_way_to_a_distant_context() -> None:
    """What the docstring warns of: without correlation between neighbours the gradient tells nothing."""
    assert abs(_learned_rate(2.0, 5, smooth=False) - 2) < 1
