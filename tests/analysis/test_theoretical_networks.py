"""Theoretical receptive fields of networks that are not rfkit's, against gradients and against what they compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from analysis import networks, oracle
from torch import nn

from rfkit.analysis.theoretical import trace

EXACT = sorted(networks.EXACT)
GLOBAL = sorted(networks.GLOBAL)

# Networks whose units all have a field with another centre.
EVERY_CENTRE_ONCE = ["vgg_16", "alexnet_v2", "mobilenet_v1", "resnet_50", "esp", "shufflenet", "three_times", "swin"]

# Layers in the middle of a network, beside its output.
INNER = [
    ("vgg_16", "conv3_2"),
    ("vgg_16", "pool3"),
    ("alexnet_v2", "conv2"),
    ("mobilenet_v1", "Conv2d_4_depthwise"),
    ("resnet_50", "block2.1.spatial"),
    ("resnet_50_slim", "block1"),
    ("resnet_50_original", "block2"),
    ("unet_transposed", "up2"),
    ("unet_bilinear", "join2"),
    ("unet_bilinear", "up1"),
    ("deeplab_v3", "branches.2"),
    ("pyramid_pooling", "levels.2.0"),
    ("enet", "dilated"),
    ("exchange", "down.2"),
    ("fcn_8s", "up.1"),
    ("swin", "embed"),
]


def _first_row(graph, layer: str, axis: str = "row"):
    table = graph.table()
    return table[(table.layer == layer) & (table.axis == axis)].iloc[0]


@pytest.mark.parametrize("name", EXACT)
def test_boxes_and_supports_are_those_of_gradients(name: str) -> None:
    make, size = networks.EXACT[name]
    model = make()
    graph = trace(model, size)
    output = graph.output
    units = oracle.some_units(output.size, 8)
    assert output.size == oracle.map_size(model, size)
    assert (output.status, output.is_global, output.image_size) == ("exact", False, size)
    assert oracle.disagreements(output, oracle.gradients(model, size, units), units) == []


@pytest.mark.parametrize(("name", "layer"), INNER)
def test_inner_layers_agree_with_gradients(name: str, layer: str) -> None:
    make, size = networks.EXACT[name]
    model = make()
    inner = trace(model, size)[layer]
    units = oracle.some_units(inner.size, 6)
    assert inner.size == oracle.map_size(model, size, layer=layer)
    assert inner.status == "exact"
    assert oracle.disagreements(inner, oracle.gradients(model, size, units, layer=layer), units) == []


@pytest.mark.parametrize("name", EXACT)
def test_every_layer_of_the_table_has_a_map_and_the_other_way_round(name: str) -> None:
    make, size = networks.EXACT[name]
    graph = trace(make(), size)
    table = graph.table()
    assert set(table.axis) == {"row", "column"}
    assert set(table.status) == {"exact"}
    if name != "data_dependent":  # whose condition looks at a whole map, and leads nowhere
        assert not table.is_global.any()
    assert (table.size_min <= table.size_max).all()
    assert (table.path_min <= table.path_max).all()
    assert (table.path_max <= table.size_max).all()
    coverage = table.coverage[~table.is_global]
    assert ((coverage > 0) & (coverage <= 1)).all()
    assert set(table.layer) <= {*graph.layers, ""}
    for layer in set(graph.layers) & set(table.layer):
        rows = table[table.layer == layer]
        assert graph[layer].size == (
            rows[rows.axis == "row"].units.iloc[-1],
            rows[rows.axis == "column"].units.iloc[-1],
        )


@pytest.mark.parametrize("name", EXACT)
def test_units_and_pixels_are_mapped_onto_each_other(name: str) -> None:
    make, size = networks.EXACT[name]
    output = trace(make(), size).output
    units = oracle.some_units(output.size, 30)
    for unit in units:
        box = output[unit]
        assert output.pixel(*unit) == pytest.approx((box.unclipped or box).centre)
    for unit in units:
        pixel = output.pixel(*unit)
        if 0 <= pixel[0] < size[0] and 0 <= pixel[1] < size[1]:
            # After upsampling several units may share a centre.
            assert output.pixel(*output.unit(*pixel)) == pytest.approx(pixel)
            assert name not in EVERY_CENTRE_ONCE or output.unit(*pixel) == unit


@pytest.mark.parametrize("name", ["vgg_16", "unet_transposed", "esp", "exchange", "swin", "functional", "tuple_output"])
def test_units_reached_by_a_pixel_are_those_with_a_gradient_there(name: str) -> None:
    make, size = networks.EXACT[name]
    size = (27, 30) if name == "unet_transposed" else size
    model = make()
    output = trace(model, size).output
    units = oracle.all_units(output.size)
    reached = oracle.gradients(model, size, units, batch=256) > 0
    for row, column in [(0, 0), (size[0] - 1, size[1] - 1), (size[0] // 2, size[1] // 3)]:
        expected = oracle.extent(reached[:, row, column].reshape(output.size))
        box = output.units_reached_by(row, column)
        assert (box.y0, box.x0, box.y1, box.x1) == expected


def test_negative_indices_count_from_the_end() -> None:
    output = trace(networks.vgg_16(), (70, 97)).output
    assert str(output[-1, -1]) == str(output[1, 2])
    assert output[-1, 0].y1 == output[1, 0].y1
    np.testing.assert_array_equal(output.support(-2, -1).mask, output.support(0, 2).mask)


# Positions: what a network computes, beside its gradients.


def _real(name: str) -> nn.Module:
    torch.manual_seed(0)
    return networks.EXACT[name][0]().double().eval()


def _image(size: tuple[int, int]) -> torch.Tensor:
    return torch.randn(1, 3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("name", "size", "step"),
    [("vgg_a", (256, 288), 32), ("esp", (24, 20), 1), ("unet_transposed", (72, 80), 4), ("tuple_output", (31, 28), 2)],
)
def test_the_valid_region_is_what_more_image_around_it_leaves_alone(name: str, size, step: int) -> None:
    torch.manual_seed(0)
    make = networks.vgg_a if name == "vgg_a" else networks.EXACT[name][0]
    model = make().eval()
    output = trace(model, size).output
    region = output.valid_region()
    border = 3 * step
    large = _image((size[0] + 2 * border, size[1] + 2 * border)).abs()
    crop = large[:, :, border:-border, border:-border]
    stride = [length // number if number else 1 for length, number in zip(size, output.size, strict=True)]
    # Without activations and maxima, which hide small changes.
    alone, within = oracle.linear_output(model, crop), oracle.linear_output(model, large)
    row, column = border // stride[0], border // stride[1]
    within = within[:, :, row : row + output.size[0], column : column + output.size[1]]
    same = (alone - within).abs().amax((0, 1)).numpy() < 1e-12
    assert same[region.slices()].all()
    # One row or column further, some unit does change.
    for unit_rows, unit_columns in (
        (slice(region.y0 - 1, region.y0), slice(region.x0, region.x1 + 1)),
        (slice(region.y1 + 1, region.y1 + 2), slice(region.x0, region.x1 + 1)),
        (slice(region.y0, region.y1 + 1), slice(region.x0 - 1, region.x0)),
        (slice(region.y0, region.y1 + 1), slice(region.x1 + 1, region.x1 + 2)),
    ):
        outside = same[unit_rows, unit_columns]
        if outside.size:
            assert not outside.all()


def test_no_valid_region_is_left_where_every_field_crosses_the_border() -> None:
    output = trace(networks.vgg_16(), (64, 64)).output
    with pytest.raises(ValueError, match="valid"):
        output.valid_region()


@pytest.mark.parametrize(
    ("name", "size"), [("esp", (60, 52)), ("three_times", (40, 33)), ("unet_transposed", (120, 96))]
)
def test_tiles_with_the_overlap_give_what_the_whole_image_gives(name: str, size: tuple[int, int]) -> None:
    """Tiles that overlap by `tile_overlap()`, half of it cut off on each inner side, tile an image exactly."""
    model = _real(name)
    output = trace(model, size).output
    overlap = output.tile_overlap()
    rows, columns = overlap.rows, overlap.columns
    image = _image(size)
    with torch.no_grad():
        whole = oracle.first_map(model(image))
        stitched = torch.full_like(whole, torch.nan)
        for top, bottom in _tiles(size[0], rows):
            for left, right in _tiles(size[1], columns):
                tile = oracle.first_map(model(image[:, :, top:bottom, left:right]))
                y0, y1 = top + (rows // 2 if top else 0), bottom - (rows // 2 if bottom < size[0] else 0)
                x0, x1 = left + (columns // 2 if left else 0), right - (columns // 2 if right < size[1] else 0)
                stitched[:, :, y0:y1, x0:x1] = tile[:, :, y0 - top : y1 - top, x0 - left : x1 - left]
    torch.testing.assert_close(stitched, whole, rtol=0, atol=1e-12)


def _tiles(length: int, overlap: int) -> list[tuple[int, int]]:
    """Two tiles that overlap by `overlap`; their borders are multiples of 4, the largest stride here."""
    middle = length // 2
    begin = max((middle - overlap // 2) // 4 * 4, 0)
    return [(0, min(begin + overlap, length)), (begin, length)]


@pytest.mark.parametrize("name", ["alexnet_v2", "tuple_output", "esp", "three_times", "unet_bilinear"])
def test_the_smallest_input_runs_and_one_pixel_less_does_not(name: str) -> None:
    make, size = networks.EXACT[name]
    model = make().eval()
    height, width = trace(model, size).min_input()

    def runs(*shape: int) -> bool:
        try:
            with torch.no_grad():
                return oracle.first_map(model(torch.zeros(1, 3, *shape))).numel() > 0
        except RuntimeError:
            return False

    assert runs(height, width)
    assert height == 1 or not runs(height - 1, width)
    assert width == 1 or not runs(height, width - 1)


# Global paths.


@pytest.mark.parametrize("name", GLOBAL)
def test_global_paths_reach_every_pixel_that_gradients_reach(name: str) -> None:
    make, size = networks.GLOBAL[name]
    model = make()
    output = trace(model, size, global_paths="include").output
    assert output.is_global
    units = oracle.some_units(output.size, 5)
    found = oracle.gradients(model, size, units)
    assert oracle.disagreements(output, found, units) == []
    for unit in units:
        box = output[unit]
        assert (box.height, box.width) == size


@pytest.mark.parametrize("name", GLOBAL)
def test_a_global_path_is_an_error_when_asked_for(name: str) -> None:
    make, size = networks.GLOBAL[name]
    with pytest.raises(ValueError, match="global path"):
        trace(make(), size, global_paths="raise")


class _WithoutGate(nn.Module):
    def __init__(self, model: networks.SqueezeExcite) -> None:
        super().__init__()
        self.first, self.second = model.first, model.second

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.second(torch.relu(self.first(image)))


def test_global_paths_are_ignored_unless_asked_for_and_said_to_exist() -> None:
    excite, size = networks.SqueezeExcite(), (21, 16)
    for model, plain in (
        (excite, _WithoutGate(excite)),
        (networks.Normalised("instance"), nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1) for _ in range(2)])),
        (networks.Normalised("group"), nn.Sequential(*[nn.Conv2d(3, 3, 3, padding=1) for _ in range(2)])),
    ):
        output = trace(model, size).output
        assert output.is_global
        units = oracle.some_units(output.size, 8)
        assert oracle.disagreements(output, oracle.gradients(plain, size, units), units) == []


def test_image_pooling_of_aspp_is_ignored_unless_asked_for() -> None:
    size = (121, 202)
    output = trace(networks.DeepLabV3((1, 2)), size).output
    assert output.is_global
    units = oracle.some_units(output.size, 5)
    plain = networks.DeepLabV3((1, 2), pooling=False)
    assert oracle.disagreements(output, oracle.gradients(plain, size, units), units) == []


def test_layers_before_a_global_path_are_not_global() -> None:
    graph = trace(networks.SqueezeExcite(), (21, 16), global_paths="include")
    assert not graph["first"].is_global
    assert not graph["second"].is_global
    assert graph.output.is_global


def test_batch_norm_is_a_global_path_only_while_training() -> None:
    model, size = networks.Normalised("batch"), (14, 11)
    assert not trace(model, size, global_paths="include").output.is_global
    training = trace(model, size, global_paths="include", training=True).output
    assert training.is_global
    units = oracle.some_units(training.size, 4)
    assert oracle.disagreements(training, oracle.gradients(model, size, units, training=True), units) == []
    assert trace(model, size, training=True).output[7, 5].height == 5


def test_global_paths_takes_one_of_three_words() -> None:
    with pytest.raises(ValueError, match="global_paths"):
        trace(networks.SqueezeExcite(), (21, 16), global_paths="maybe")


# Width costs nothing.


def test_width_changes_nothing_and_needs_no_memory() -> None:
    with torch.device("meta"):
        wide = networks.vgg_16(width=8192)  # 28 GB of weights, were they real
    table = trace(wide, (70, 97)).table()
    narrow = trace(networks.vgg_16(width=4), (70, 97)).table()
    assert table.drop(columns="reason").equals(narrow.drop(columns="reason"))


def test_a_large_image_costs_no_memory_for_its_maps() -> None:
    output = trace(networks.vgg_16(width=64), (16384, 16384)).output
    assert output.size == (512, 512)
    assert output[256, 256].height == 212
