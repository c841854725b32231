from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rfkit.analysis.images import as_batches, as_picture
from rfkit.analysis.regions import region_maps, region_statistics
from rfkit.hooks import capture
from rfkit.models.registry import create_model


def picture(height: int = 96, width: int = 128) -> Tensor:
    return torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def net(name: str = "dwrseg_b", **options: object) -> nn.Module:
    return create_model(name, num_classes=3, seed=0, **options)


def outputs(model: nn.Module, image: Tensor, *names: str) -> list[np.ndarray]:
    model.eval()
    with torch.no_grad(), capture(model, list(names)) as records:
        model(as_batches(image, model)[0])
    return [records[name][0].numpy() for name in names]


def test_by_default_the_last_block_of_every_stage_with_a_column_a_branch() -> None:
    model, image = net(), picture()
    maps = region_maps(model, image)
    assert [(entry.stage, entry.block, entry.dilation) for entry in maps.maps] == [
        ("stage2", "stage2.6", 0), ("stage3", "stage3.2", 1), ("stage3", "stage3.2", 3),
        ("stage4", "stage4.2", 1), ("stage4", "stage4.2", 3), ("stage4", "stage4.2", 5),
    ]  # fmt: skip
    np.testing.assert_array_equal(maps.image, image.permute(1, 2, 0).numpy())
    assert maps.maps[0].branch == -1
    assert maps.maps[0].semantic.size == 0
    assert maps.maps[0].title == f"stage2.6 · ch {maps.maps[0].channel}"
    assert [entry.stride for entry in maps.maps][::2] == [(8.0, 8.0), (16.0, 16.0), (32.0, 32.0)]


def test_semantic_maps_are_those_of_the_region_channel() -> None:
    """A region channel that alone is changed changes its own semantic channels alone."""
    model, image = net(), picture()
    region, semantic = outputs(model, image, "stage4.2.region", "stage4.2.semantic")
    maps = region_maps(model, image, blocks="stage4.2", channels=[3, 70, 191])
    assert [(entry.dilation, entry.channel) for entry in maps.maps] == [(1, 3), (3, 70), (5, 191)]
    for entry in maps.maps:
        np.testing.assert_array_equal(entry.region, region[entry.channel])
        np.testing.assert_array_equal(entry.semantic, semantic[entry.semantic_channel])
        changed = torch.from_numpy(region.copy())[None]
        changed[0, entry.channel] += 1
        with torch.no_grad():
            after = model.stage4[2].semantic(changed)[0].numpy()
        touched = np.flatnonzero(np.abs(after - semantic).max(axis=(1, 2)))
        assert entry.semantic_channel in touched
        assert len(touched) == (2 if entry.dilation == 1 else 1)
        strongest = touched[np.argmax(semantic[touched].std(axis=(1, 2)))]
        assert entry.semantic_channel == strongest


def test_channels_follow_the_rule() -> None:
    model, image = net(), picture(192, 256)
    (region,) = outputs(model, image, "stage3.1.region")
    maps = region_maps(model, image, blocks="stage3.1", dilations=3, channels=4)
    assert all(entry.dilation == 3 for entry in maps.maps)
    second = region[64:]
    share = (second > 0).mean(axis=(1, 2))
    fitting = np.flatnonzero((share >= 0.05) & (share <= 0.6))
    assert len(fitting) > 4
    best = fitting[np.argsort(-second.std(axis=(1, 2))[fitting])][:4] + 64
    assert [entry.channel for entry in maps.maps] == best.tolist()
    assert "5 to 60 %" in maps.rule


def test_channels_beyond_the_rule_follow_and_ties_go_to_the_lower_index() -> None:
    model = net("probe_dwrseg_l", blocks=(1, 1, 1))
    with torch.no_grad():
        model.stage4[0].region.norm.weight.zero_()
        model.stage4[0].region.norm.bias.zero_()
    maps = region_maps(model, picture(), blocks="stage4.0", dilations=[1, 5], channels=2)
    assert [(entry.dilation, entry.channel) for entry in maps.maps] == [(1, 0), (1, 1), (5, 0), (5, 1)]


def test_competing_branches_all_show_the_same_region_channel() -> None:
    maps = region_maps(net("probe_dwrseg_l", blocks=(1, 1, 1)), picture(), blocks="stage3.0").maps
    assert len({entry.channel for entry in maps}) == 1
    assert [entry.semantic_channel - entry.channel for entry in maps] == [0, 128, 256]


def test_layers_of_another_network() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(8, 6, 1)
    )
    model = model.requires_grad_(False)
    image = torch.randn(1, 3, 10, 12, generator=torch.Generator().manual_seed(0))
    (entry,) = region_maps(model, image, layers={"1": "2"}, channels=[2]).maps
    assert entry.semantic_channel in (4, 5)
    assert entry.branch == -1
    with pytest.raises(ValueError, match=r"layers: '3' returns 6 channels for the 4 of '1'; it does not filter each"):
        region_maps(model, image, layers={"1": "3"})
    statistics = region_statistics(model, image, layers=["1"])
    assert statistics.units.tolist() == [30] * 4
    with pytest.raises(ValueError, match=r"Sequential has no blocks with `region`; name layers with layers="):
        region_maps(model, image)


def test_bad_arguments_are_named() -> None:
    model, image = net(), picture()
    with pytest.raises(ValueError, match=r"layers='stage9.0' is not known"):
        region_maps(model, image, blocks="stage9.0")
    with pytest.raises(ValueError, match=r"blocks='stem' names stem: none of them has `region`"):
        region_maps(model, image, blocks="stem")
    with pytest.raises(ValueError, match=r"channels: 192 is not a region channel of 'stage4.2', which has 0 to 191"):
        region_maps(model, image, blocks="stage4.2", channels=[192])
    with pytest.raises(ValueError, match=r"channels=0 must be at least 1"):
        region_maps(model, image, channels=0)
    with pytest.raises(ValueError, match=r"no map is left: blocks stage3.2 have no branch with dilations=5"):
        region_maps(model, image, blocks="stage3.2", dilations=5)
    with pytest.raises(ValueError, match=r"image holds 2 images; give one"):
        region_maps(model, image.expand(2, -1, -1, -1))
    with pytest.raises(ValueError, match=r"layer 'decoder.head' .*|layer .* cannot be shown"):
        region_maps(nn.Sequential(nn.Flatten()), image, layers={"0": None})


def test_a_normalised_image_gives_the_same_maps_and_the_picture_back() -> None:
    model, image = net(), picture()
    normalised = as_batches(image, model)[0]
    np.testing.assert_array_equal(as_picture(normalised).numpy(), image.permute(1, 2, 0).numpy())
    assert region_maps(model, normalised) == region_maps(model, image)
    with pytest.raises(ValueError, match="image has 4 channels; a picture needs 3"):
        as_picture(torch.zeros(4, 8, 8))
    with pytest.raises(ValueError, match=r"an 8-bit image must have 3 channels, got shape \(1, 8, 8\)"):
        as_picture(torch.zeros(1, 8, 8, dtype=torch.uint8))


def test_the_normalisation_is_the_one_of_the_training() -> None:
    transforms = pytest.importorskip("rfkit.data.transforms")
    image = picture()
    torch.testing.assert_close(as_batches(image, net())[0], transforms.normalize(image[None]))


def test_maps_as_a_tidy_frame() -> None:
    maps = region_maps(net(), picture(), blocks=["stage2.6", "stage4.2"])
    frame = maps.to_frame()
    assert list(frame.columns) == ["stage", "block", "branch", "dilation", "kind", "channel", "row", "column", "value"]
    assert len(frame) == 12 * 16 + 6 * 3 * 4
    last = frame[(frame["dilation"] == 5) & (frame["kind"] == "SR")]
    np.testing.assert_array_equal(last["value"], maps.maps[-1].semantic.ravel())


class Drawn(nn.Module):
    """Returns its input's first channel as region map: what is drawn is what is measured."""

    def __init__(self) -> None:
        super().__init__()
        self.region = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.region(x)


def test_statistics_of_maps_drawn_by_hand() -> None:
    image = torch.full((1, 3, 10, 10), -1.0)
    image[0, 0, 1:3, 1:4] = 2.0  # a region of 6
    image[0, 0, 3, 4] = 4.0  # touches it at a corner
    image[0, 0, 8, 8] = 2.0  # a region of its own
    image[0, 1] = 1.0  # flat
    frame = region_statistics(Drawn(), image, connectivity=8).to_frame()
    assert frame["active"].tolist() == [8, 100, 0]
    assert frame["regions"].tolist() == [2, 1, 0]
    assert frame["largest"].tolist() == [7, 100, 0]
    assert frame["active_share"].tolist() == [0.08, 1.0, 0.0]
    assert frame["region_size"].tolist()[:2] == [4.0, 100.0]
    assert frame["region_side"].tolist()[:2] == [2.0, 10.0]
    assert frame["concentration"].tolist()[:2] == [1.0, pytest.approx(0.1)]
    assert frame.loc[2, ["region_size", "region_side", "compactness", "concentration"]].isna().all()
    assert frame["scattered"][1] == 1
    assert frame["compactness"][0] > 1
    assert region_statistics(Drawn(), image).regions.tolist() == [3, 1, 0]
    assert region_statistics(Drawn(), image, threshold=3.0).active.tolist() == [1, 0, 0]


def test_statistics_are_scale_free() -> None:
    image = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert region_statistics(Drawn(), image) == region_statistics(Drawn(), 8 * image)


def test_regions_are_more_compact_than_scattered_units_and_scattering_is_seeded() -> None:
    noise = torch.randn(1, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    smooth = nn.functional.avg_pool2d(noise, 7, stride=1, padding=3)
    rough, blobs = (
        region_statistics(Drawn(), image / image.std(), threshold=1.2).to_frame()["compactness"].mean()
        for image in (noise, smooth)
    )
    assert rough == pytest.approx(1, abs=0.1)
    assert blobs > 3 * rough
    assert region_statistics(Drawn(), noise, seed=1) != region_statistics(Drawn(), noise, seed=2)


def test_statistics_of_a_network_by_block_and_branch() -> None:
    model = net()
    statistics = region_statistics(model, [picture(), picture(64, 64)])
    frame = statistics.to_frame()
    assert len(frame) == 2 * (7 * 192 + 3 * 128 + 3 * 192)
    last = frame[(frame["block"] == "stage4.2") & (frame["image"] == 0)]
    assert last["dilation"].tolist() == [1] * 64 + [3] * 64 + [5] * 64
    assert set(last["stride"]) == {32.0}
    summary = statistics.summary()
    assert summary["block"].tolist()[:2] == ["stage2.0", "stage2.1"]
    assert summary["block"].tolist()[-3:] == ["stage4.2"] * 3
    assert summary["dilation"].tolist()[-3:] == [1, 3, 5]
    assert summary["maps"].tolist()[-1] == 128
    sizes = last[(last["dilation"] == 5) & (last["active"] > 0)]["regions"]
    one = region_statistics(model, picture(), blocks="stage4.2").summary()
    assert one["regions"].iloc[-1] == pytest.approx(sizes.mean())


def test_the_model_is_left_as_it_was_found() -> None:
    model = net().train()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    region_maps(model, picture())
    region_statistics(model, picture(), blocks="stage4.*")
    assert all(module.training for module in model.modules())
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())
