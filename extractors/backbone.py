"""Named layers of a frozen timm network -> feature maps; one pass per picture, shared by all who ask for it."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from extractors import recall
from extractors.engine import Engine, open_engine
from extractors.protocol import check_images
from extractors.runtime import device, runtime
from extractors.weights import WeightsError, create_network, weights_identity

LITE_MEAN, LITE_STD = 127 / 255, 128 / 255
"""EfficientNet-Lite expects (x - 127) / 128 on 0 .. 255."""


@dataclass(frozen=True)
class Backbone:
    """A frozen network and the layers that are read from it.

    Two extractors with an equal Backbone share every pass: maps are remembered by the content of the picture.
    """

    name: str
    """timm name, such as `wide_resnet50_2`."""
    layers: tuple[str, ...]
    """Module names, such as `layer2` or `blocks.4`; the output of each is one map."""
    weights: str | None = None
    """A weights file; None looks where `extractors.weights.create_network` says."""

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of each layer's map."""
        return tuple(count for count, _ in _describe(self.name, self.layers))

    @property
    def strides(self) -> tuple[int, ...]:
        """Image pixels per cell of each layer's map."""
        return tuple(stride for _, stride in _describe(self.name, self.layers))

    @property
    def identity(self) -> str:
        """Changes whenever the maps do: name, layers and weights."""
        return f"{self.name}|{','.join(self.layers)}|{_identity(self.name, self.weights)}"

    def maps(self, images: Tensor) -> list[Tensor]:
        """`[N, 3, H, W]` in [0, 1] -> one `[N, C, h, w]` float32 map per layer, on the device in force.

        Only pictures with a layer that was not seen before go through the network, and what `sharing` announced is
        taken out in the same pass. Raises ValueError when the network cannot take pictures of this size (a transformer
        needs whole patches).
        """
        images = check_images(images).detach().float()
        _describe(self.name, self.layers)
        keys = [[recall.key(picture, layer.identity) for layer in self._single()] for picture in recall.digests(images)]
        found = [_remembered(row) for row in keys]
        fresh = [index for index, row in enumerate(found) if row is None]
        computed = iter(self._computed(images[fresh]) if fresh else [])
        maps = [next(computed) if row is None else row for row in found]
        return [torch.stack([row[layer].to(device()) for row in maps]) for layer in range(len(self.layers))]

    def _single(self) -> list["Backbone"]:
        return [Backbone(self.name, (layer,), self.weights) for layer in self.layers]

    def _computed(self, images: Tensor) -> list[list[Tensor]]:
        """Per picture, one `[C, h, w]` per layer of this backbone; every layer of the pass is remembered."""
        together = Backbone(self.name, tuple(sorted({*self.layers, *_wanted(self)})), self.weights)
        outputs = dict(zip(together.layers, together._run(images)))
        for row, picture in enumerate(recall.digests(images)):
            for layer in together._single():
                recall.remember(recall.key(picture, layer.identity), outputs[layer.layers[0]][row])
        return [[outputs[layer][row] for layer in self.layers] for row in range(len(images))]

    def _run(self, images: Tensor) -> list[Tensor]:
        settings = runtime()
        try:
            return _engine(self, settings.engine, settings.device)(images)
        except AssertionError as error:  # timm's way to refuse a picture size
            height, width = images.shape[2:]
            raise ValueError(f"{self.name} cannot take pictures of {height} x {width} pixels: {error}") from error


def _remembered(keys: Sequence[str]) -> list[Tensor] | None:
    """The maps of all keys, or None where one is missing."""
    maps = [recall.lookup(key) for key in keys]
    known = [layer for layer in maps if layer is not None]
    return known if len(known) == len(keys) else None


def backbone_of(parameters: Mapping[str, Any]) -> Backbone | None:
    """Return the frozen network that an extractor with these parameters reads; None for one without.

    >>> backbone_of({"backbone": "test_resnet", "layers": ["layer1"], "weights": "random"}).channels
    (32,)
    """
    if "backbone" not in parameters:
        return None
    return Backbone(parameters["backbone"], tuple(parameters["layers"]), parameters.get("weights"))


_announced: ContextVar[tuple[Backbone, ...]] = ContextVar("announced", default=())


@contextmanager
def sharing(backbones: Iterable[Backbone | None]) -> Iterator[None]:
    """Announce who else will ask: inside the `with` block one pass of a network serves all of its layers.

    Changes the speed only: a layer's map is the same whatever other layers are taken out beside it (tested).
    """
    token = _announced.set((*_announced.get(), *(backbone for backbone in backbones if backbone is not None)))
    try:
        yield
    finally:
        _announced.reset(token)


def _wanted(backbone: Backbone) -> Iterator[str]:
    for other in _announced.get():
        if (other.name, other.weights) == (backbone.name, backbone.weights):
            yield from other.layers


class Taps(nn.Module):
    """Normalise, run the frozen network, and return the outputs of the named layers."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: Any, layers: Sequence[str], mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network: Any = network
        self.layers = tuple(layers)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))
        self.caught: dict[str, Tensor] = {}
        modules = dict(network.named_modules())
        for layer in layers:
            modules[layer].register_forward_hook(
                lambda _module, _input, output, layer=layer: self._catch(layer, output)
            )

    def _catch(self, layer: str, output: Tensor) -> None:
        self.caught[layer] = output
        if len(self.caught) == len(self.layers) and not torch.jit.is_tracing():
            raise _AllCaughtError

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """`[N, 3, H, W]` -> one map per layer; the network stops after the last one."""
        self.caught = {}
        normalised = (images - self.mean) / self.std
        with contextlib.suppress(_AllCaughtError):
            self.network.forward_features(normalised)
        if unreached := [layer for layer in self.layers if layer not in self.caught]:
            raise WeightsError(f"the features of this network do not pass through {', '.join(unreached)}")
        return tuple(_as_map(self.caught[layer], self.network, images) for layer in self.layers)


class _AllCaughtError(Exception):
    """Ends a forward pass once every wanted layer has answered."""


def _as_map(output: Tensor, network: Any, images: Tensor) -> Tensor:
    """Tokens `[N, prefix + h*w, C]` (ViT) and `[N, h, w, C]` (Swin) become `[N, C, h, w]`; maps stay."""
    if output.ndim == 4:
        return output.permute(0, 3, 1, 2) if getattr(network, "output_fmt", "") == "NHWC" else output
    patch = network.patch_embed.patch_size[0]
    cells = output[:, network.num_prefix_tokens :]
    height, width = (int(length) // patch for length in images.shape[2:])
    return cells.transpose(1, 2).reshape(len(cells), cells.shape[2], height, width)


@lru_cache(maxsize=64)
def _describe(name: str, layers: tuple[str, ...]) -> tuple[tuple[int, int], ...]:
    """(channels, stride) per layer, found on the meta device: no weights, no arithmetic."""
    probe = 256
    with torch.device("meta"):
        network: Any = create_network_shape(name)
        missing = [layer for layer in layers if layer not in dict(network.named_modules())]
        if missing or not layers:
            known = ", ".join(info["module"] for info in network.feature_info)
            raise WeightsError(f"{name!r} has no layer {', '.join(missing) or '(none given)'}; usual ones: {known}")
        side = probe - probe % getattr(getattr(network, "patch_embed", None), "patch_size", (1,))[0]
        taps = Taps(network.eval(), layers, (0.0,) * 3, (1.0,) * 3)
        maps = taps(torch.zeros(1, 3, side, side))
    return tuple((output.shape[1], round(side / output.shape[2])) for output in maps)


def create_network_shape(name: str) -> nn.Module:
    """Return the untrained network, for its shapes only."""
    return create_network(name, "random")


def input_statistics(name: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation that the network's weights expect on [0, 1].

    >>> input_statistics("wide_resnet50_2")[0]
    (0.485, 0.456, 0.406)
    """
    if name.startswith("tf_efficientnet_lite"):
        return (LITE_MEAN,) * 3, (LITE_STD,) * 3
    import timm

    configuration: Any = timm.get_pretrained_cfg(name)
    return tuple(configuration.mean), tuple(configuration.std)


@lru_cache(maxsize=8)
def _identity(name: str, weights: str | None) -> str:
    return weights_identity(name, weights)


@lru_cache(maxsize=8)
def _engine(backbone: Backbone, engine: str, device: str) -> Engine:
    def build() -> nn.Module:
        network = create_network(backbone.name, backbone.weights)
        return Taps(network, backbone.layers, *input_statistics(backbone.name)).eval()

    return open_engine(build, backbone.identity, engine, device)
