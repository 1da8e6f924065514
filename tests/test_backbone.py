"""Frozen feature maps: the same from both engines, of declared shape, computed once, mended when a file is damaged."""

import contextlib
import logging
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from extractors import backbone as module
from extractors import engine, recall
from extractors.backbone import Backbone, input_statistics, sharing
from extractors.runtime import Runtime, device, runtime, using
from extractors.weights import WeightsError, create_network

RESNET = Backbone("test_resnet", ("layer1", "layer3"), "random")
LITE = Backbone("tf_efficientnet_lite0", ("blocks.1", "blocks.2", "blocks.4"), "random")
VIT = Backbone("test_vit", ("blocks.0", "blocks.1"), "random")


@pytest.fixture(autouse=True)
def nothing_remembered():
    recall.forget()
    yield
    recall.forget()


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Pictures per pass through a network."""
    counted: list[int] = []
    run = Backbone._run

    def count(self: Backbone, images: Tensor) -> list[Tensor]:
        counted.append(len(images))
        return run(self, images)

    monkeypatch.setattr(Backbone, "_run", count)
    return counted


def test_what_is_announced_comes_out_of_the_same_pass_with_the_same_bits(passes: list[int]) -> None:
    coarse = Backbone("test_resnet", ("layer2", "layer4"), "random")
    alone = [*RESNET.maps(pictures()), *coarse.maps(pictures())]
    recall.forget()
    del passes[:]
    with sharing([RESNET, coarse]):
        together = [*RESNET.maps(pictures()), *coarse.maps(pictures())]
    assert passes == [3]
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def pictures(count: int = 3, height: int = 64, width: int = 96) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def maps_by(engine_name: str, backbone: Backbone, images: Tensor) -> list[Tensor]:
    recall.forget()
    with using(Runtime(engine=engine_name)):
        return backbone.maps(images)


@pytest.mark.parametrize(
    ("backbone", "shape"),
    [
        *((backbone, shape) for backbone in (RESNET, LITE) for shape in ((1, 64, 64), (3, 64, 96), (2, 72, 100))),
        (VIT, (2, 160, 160)),
    ],
)
def test_onnx_equals_torch(backbone: Backbone, shape: tuple[int, int, int]) -> None:
    images = pictures(*shape)
    for fast, reference in zip(maps_by("onnx", backbone, images), maps_by("torch", backbone, images), strict=True):
        torch.testing.assert_close(fast, reference, atol=1e-4, rtol=1e-4)


def test_maps_equal_a_plain_pass_through_the_normalised_network() -> None:
    network, images = create_network("test_resnet", "random"), pictures()
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in input_statistics("test_resnet"))
    with torch.no_grad():
        expected = network.forward_intermediates((images - mean) / std, indices=[1, 3], intermediates_only=True)
    for got, wanted in zip(maps_by("torch", RESNET, images), expected, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("backbone", [RESNET, LITE, VIT], ids=["resnet", "efficientnet_lite", "vit"])
def test_maps_have_the_declared_channels_and_strides(backbone: Backbone) -> None:
    shapes = [output.shape for output in backbone.maps(pictures(2))]
    declared = zip(backbone.channels, backbone.strides, strict=True)
    assert shapes == [(2, channels, 64 // stride, 96 // stride) for channels, stride in declared]


@pytest.mark.parametrize(
    ("name", "layers", "channels", "strides"),
    [
        ("wide_resnet50_2", ("layer1", "layer2", "layer3"), (256, 512, 1024), (4, 8, 16)),
        ("tf_efficientnet_lite0", ("blocks.1", "blocks.2", "blocks.4"), (24, 40, 112), (4, 8, 16)),
        ("vit_small_patch14_dinov2", ("blocks.11",), (384,), (14,)),
        ("swin_tiny_patch4_window7_224", ("layers.0", "layers.1"), (96, 192), (4, 8)),
    ],
)
def test_published_networks_declare_channels_and_strides_without_weights(
    name: str, layers: tuple[str, ...], channels: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    backbone = Backbone(name, layers)
    assert (backbone.channels, backbone.strides) == (channels, strides)


def test_tokens_of_a_transformer_become_a_map_row_by_row() -> None:
    images, seen = pictures(1), []
    network = create_network("test_vit", "random")
    network.blocks[1].register_forward_hook(lambda _module, _input, output: seen.append(output))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in input_statistics("test_vit"))
    with torch.no_grad():
        network.forward_features((images - mean) / std)
    [got] = maps_by("torch", Backbone("test_vit", ("blocks.1",), "random"), images)
    for row in range(4):
        for column in range(6):
            token = seen[0][0, network.num_prefix_tokens + 6 * row + column]
            torch.testing.assert_close(got[0, :, row, column], token)


def test_network_that_cannot_be_exported_falls_back_to_torch_with_a_warning(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = maps_by("torch", RESNET, pictures(1))
    module._engine.cache_clear()

    def refuse(*_: object) -> bytes:
        raise RuntimeError("no such operator")

    monkeypatch.setattr(engine, "_export", refuse)
    with caplog.at_level(logging.WARNING):
        got = maps_by("auto", RESNET, pictures(1))
    assert "no such operator" in caplog.text
    assert "torch runs it, slower" in caplog.text
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))
    with pytest.raises(RuntimeError, match="no such operator"):
        maps_by("onnx", RESNET, pictures(1))
    module._engine.cache_clear()


def test_picture_size_that_the_network_cannot_take_is_named() -> None:
    with pytest.raises(ValueError, match="test_vit cannot take pictures of 60 x 64 pixels"):
        VIT.maps(pictures(1, 60, 64))


def test_picture_goes_through_the_network_once(passes: list[int]) -> None:
    images = pictures(3)
    RESNET.maps(images[:2])
    RESNET.maps(images)
    RESNET.maps(images.flip(0))
    Backbone("test_resnet", ("layer1", "layer3"), "random").maps(images)
    assert passes == [2, 1]
    Backbone("test_resnet", ("layer1", "layer2"), "random").maps(images)
    assert passes == [2, 1, 3]


def test_remembered_maps_come_back_in_the_order_asked_for() -> None:
    images = pictures(4)
    whole = RESNET.maps(images)
    for mixed, plain in zip(RESNET.maps(images[[2, 0, 2]]), whole, strict=True):
        assert torch.equal(mixed, plain[[2, 0, 2]])


def test_changing_the_result_does_not_change_what_is_remembered() -> None:
    first = [output.clone() for output in RESNET.maps(pictures(1))]
    for output in RESNET.maps(pictures(1)):
        output.zero_()
    assert all(torch.equal(a, b) for a, b in zip(first, RESNET.maps(pictures(1)), strict=True))


@pytest.mark.parametrize("engine_name", ["onnx", "torch"])
def test_maps_can_feed_a_network_that_trains(engine_name: str) -> None:
    [coarse] = maps_by(engine_name, Backbone("test_resnet", ("layer3",), "random"), pictures(2))
    assert not coarse.requires_grad
    head = nn.Conv2d(coarse.shape[1], 1, 1)
    head(coarse).sum().backward()
    assert head.weight.grad is not None


def test_disk_serves_the_next_process_and_a_damaged_file_is_rebuilt(tmp_path: Path, passes: list[int]) -> None:
    with using(Runtime(cache=tmp_path)):
        first = RESNET.maps(pictures(1))
        recall.forget()
        again = RESNET.maps(pictures(1))
        assert passes == [1]
        path, _ = (tmp_path / "maps").rglob("*.safetensors")
        path.write_bytes(path.read_bytes()[:-8] + b"\x00" * 8)
        recall.forget()
        rebuilt = RESNET.maps(pictures(1))
        assert passes == [1, 1]
    assert all(torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(first, again, rebuilt, strict=True))


def test_exported_network_is_kept_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = RESNET.maps(pictures(1))
    with using(Runtime(engine="onnx", cache=tmp_path)):
        _open(RESNET)(pictures(1))
        monkeypatch.setattr(engine, "_export", lambda *_: pytest.fail("exported twice"))
        outputs = _open(RESNET)(pictures(1))
    assert all(torch.equal(a, b) for a, b in zip(outputs, expected, strict=True))


@pytest.mark.parametrize("keep", [0, 20, -1])
def test_damaged_exported_network_is_rebuilt(tmp_path: Path, keep: int) -> None:
    with using(Runtime(engine="onnx", cache=tmp_path)):
        expected = _open(RESNET)(pictures(1))
        [path] = tmp_path.glob("*.onnx")
        whole = path.read_bytes()
        path.write_bytes(whole[:keep])
        outputs = _open(RESNET)(pictures(1))
        assert len(path.read_bytes()) == len(whole)
    assert all(torch.equal(a, b) for a, b in zip(outputs, expected, strict=True))


def _open(backbone: Backbone) -> engine.Engine:
    module._engine.cache_clear()
    return module._engine(backbone, "onnx", "cpu")


def test_batches_do_not_change_a_picture_s_maps() -> None:
    whole = maps_by("onnx", LITE, pictures(4))
    for layer, single in enumerate(maps_by("onnx", LITE, pictures(4)[2:3])):
        assert torch.equal(whole[layer][2:3], single)


def test_half_and_double_precision_pictures_are_taken() -> None:
    plain = RESNET.maps(pictures(1))
    assert all(torch.equal(a, b) for a, b in zip(plain, RESNET.maps(pictures(1).double()), strict=True))
    assert all(output.dtype == torch.float32 for output in RESNET.maps(pictures(1).half()))


@pytest.mark.parametrize("layers", [("layer9",), ("layer1", "layr2"), ()])
def test_wrong_layer_names_are_refused_with_the_usual_ones(layers: tuple[str, ...]) -> None:
    with pytest.raises(WeightsError, match=r"'test_resnet' has no layer .*usual ones: .*layer1, layer2"):
        _ = Backbone("test_resnet", layers).channels


def test_layer_behind_the_features_is_refused() -> None:
    with pytest.raises(WeightsError, match="do not pass through fc"):
        _ = Backbone("test_resnet", ("layer1", "fc")).channels


@pytest.mark.parametrize("images", [torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8).byte()])
def test_wrong_pictures_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match="expected RGB images"):
        RESNET.maps(images)


def test_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="expected engine auto, onnx or torch, got 'tensorrt'"):
        maps_by("tensorrt", RESNET, pictures(1))


def test_lite_networks_get_their_own_normalisation() -> None:
    mean, std = input_statistics("tf_efficientnet_lite0")
    assert [(level / 255 - mean[0]) / std[0] for level in (127, 255)] == pytest.approx([0, 1])
    assert input_statistics("resnet18") == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def test_identity_names_network_layers_and_weights() -> None:
    others = [Backbone("test_resnet", ("layer1",), "random"), Backbone("test_resnet", ("layer1", "layer3"))]
    assert len({RESNET.identity, *(other.identity for other in others)}) == 3


def test_global_random_state_is_left_alone() -> None:
    before = torch.get_rng_state()
    module._engine.cache_clear()
    RESNET.maps(pictures(1))
    assert torch.equal(before, torch.get_rng_state())


def test_runtime_in_force_ends_with_its_block() -> None:
    with using(Runtime(device="cuda:1")):
        assert device() == torch.device("cuda:1")
    with contextlib.suppress(KeyError), using(Runtime(device="cuda:1")):
        raise KeyError
    assert runtime() == Runtime()
