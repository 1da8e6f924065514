"""Where weights come from, and that they are never silently random."""

import random
import socket
from pathlib import Path

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from extractors.weights import PACKAGES, WeightsError, create_network, weights_identity

NAME = "test_resnet"
LITE = "tf_efficientnet_lite0"


@pytest.fixture(autouse=True)
def no_weights_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ENSEMBLE_AD_WEIGHTS", raising=False)


@pytest.fixture
def no_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise OSError("no address")

    monkeypatch.setattr(socket, "getaddrinfo", unreachable)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "empty"))


def trained(name: str = NAME, seed: int = 7) -> dict[str, Tensor]:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return timm.create_model(name, pretrained=False).state_dict()


def same(network: nn.Module, state: dict[str, Tensor]) -> bool:
    return all(torch.equal(tensor, state[key]) for key, tensor in network.state_dict().items())


def test_random_network_is_always_the_same_and_leaves_the_global_state_alone() -> None:
    before = torch.get_rng_state(), random.getstate()
    first, second = create_network(NAME, "random"), create_network(NAME, "random")
    assert same(first, second.state_dict())
    assert not first.training
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == random.getstate()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".pt"])
@pytest.mark.parametrize("by_folder", [False, True])
def test_weights_come_from_a_file_or_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, by_folder: bool
) -> None:
    path = tmp_path / f"{NAME}{suffix}"
    (save_file if suffix == ".safetensors" else torch.save)(trained(), path)
    if by_folder:
        monkeypatch.setenv("ENSEMBLE_AD_WEIGHTS", str(tmp_path))
    assert same(create_network(NAME, None if by_folder else str(path)), trained())


def test_named_file_wins_over_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_file(trained(seed=1), tmp_path / f"{NAME}.safetensors")
    save_file(trained(seed=2), tmp_path / "mine.safetensors")
    monkeypatch.setenv("ENSEMBLE_AD_WEIGHTS", str(tmp_path))
    assert same(create_network(NAME, str(tmp_path / "mine.safetensors")), trained(seed=2))


@pytest.mark.parametrize("wrapper", ["state_dict", "model"])
def test_checkpoint_may_keep_its_tensors_one_level_down(tmp_path: Path, wrapper: str) -> None:
    torch.save({wrapper: trained(), "epoch": 3}, tmp_path / "w.pth")
    assert same(create_network(NAME, str(tmp_path / "w.pth")), trained())


def test_packaged_lite_weights_load_strictly_tensor_by_tensor() -> None:
    module = pytest.importorskip(PACKAGES[LITE][0])
    foreign = torch.load(getattr(module, PACKAGES[LITE][1]).get_model_file_path(), weights_only=True)
    own = create_network(LITE, None).state_dict()
    assert torch.equal(own["conv_stem.weight"], foreign["_conv_stem.weight"])
    assert torch.equal(own["blocks.1.0.bn1.running_var"], foreign["_blocks.1._bn0.running_var"])
    assert torch.equal(own["classifier.bias"], foreign["_fc.bias"])
    assert len(own) == len(foreign)


def test_packaged_lite_weights_are_trained_ones() -> None:
    pytest.importorskip(PACKAGES[LITE][0])
    own, untrained = create_network(LITE, None), create_network(LITE, "random")
    assert not torch.equal(own.bn1.running_mean, untrained.bn1.running_mean)
    assert own(torch.zeros(1, 3, 64, 64)).isfinite().all()


def test_missing_file_is_named() -> None:
    with pytest.raises(WeightsError, match=r"weights of 'test_resnet': .*absent\.pth is not a file"):
        create_network(NAME, "/nowhere/absent.pth")


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_file_that_is_no_weights_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(WeightsError, match=r"cannot be read as safetensors or plain tensors"):
        create_network(NAME, str(path))


def test_pickled_object_is_never_loaded(tmp_path: Path) -> None:
    torch.save({"state_dict": nn.Linear}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="cannot be read"):
        create_network(NAME, str(tmp_path / "w.pth"))


def test_file_without_names_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(3)], tmp_path / "w.pth")
    with pytest.raises(WeightsError, match="expected named tensors, got list"):
        create_network(NAME, str(tmp_path / "w.pth"))


@pytest.mark.parametrize("other", ["test_vit", "test_resnet without a layer"])
def test_weights_of_another_network_are_refused(tmp_path: Path, other: str) -> None:
    state = trained(other.split()[0])
    if " " in other:
        state.popitem()
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"w\.safetensors belongs to another network"):
        create_network(NAME, str(tmp_path / "w.safetensors"))


def test_lite_weights_with_a_tensor_too_few_are_refused(tmp_path: Path) -> None:
    save_file({"_conv_stem.weight": torch.zeros(32, 3, 3, 3)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="belongs to another network"):
        create_network(LITE, str(tmp_path / "w.safetensors"))


def test_unknown_network_names_similar_ones() -> None:
    with pytest.raises(WeightsError, match=r"timm has no network 'resnet19'; similar names: .*resnet18"):
        create_network("resnet19", "random")


@pytest.mark.usefixtures("no_hub")
def test_without_network_the_three_ways_are_named() -> None:
    with pytest.raises(WeightsError) as caught:
        create_network("resnet18", None)
    text = str(caught.value)
    assert "no pretrained weights for 'resnet18'" in text
    for way in ("(1) pip install", "(2) on a machine with network", "timm.create_model('resnet18', pretrained=True)"):
        assert way in text
    assert "(3) put the file as resnet18.safetensors" in text
    assert huggingface_hub.constants.HF_HUB_OFFLINE is False


@pytest.mark.usefixtures("no_hub")
def test_error_names_the_package_that_would_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PACKAGES, LITE, ("absent_package_for_this_test", "File"))
    with pytest.raises(WeightsError, match="pip install absent-package-for-this-test"):
        create_network(LITE, None)


def test_hub_is_asked_for_a_transformer_that_takes_any_picture_size(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []
    monkeypatch.setattr(timm, "create_model", lambda _name, **options: asked.append(options) or nn.Identity())
    create_network("vit_small_patch16_224", None)
    create_network("resnet18", None)
    assert asked == [{"pretrained": True, "dynamic_img_size": True}, {"pretrained": True}]


def test_identity_changes_with_the_content_only(tmp_path: Path) -> None:
    first, copy, other = (tmp_path / f"{name}.safetensors" for name in ("first", "copy", "other"))
    save_file(trained(seed=1), first)
    save_file(trained(seed=1), copy)
    save_file(trained(seed=2), other)
    names = [weights_identity(NAME, str(path)) for path in (first, copy, other)]
    assert names[0] == names[1] != names[2]
    assert weights_identity(NAME, "random") == "random"
    assert weights_identity(NAME, None) == f"timm-{timm.__version__}"
