"""What runs a frozen network: torch, or ONNX Runtime, which is about three times faster on a CPU.

Both give the same maps to about 1e-5 (tested); ONNX Runtime's do not depend on how pictures are batched, bit by bit.
"""

import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor, nn

from extractors import checked_file
from extractors.runtime import runtime

log = logging.getLogger(__name__)

Engine = Callable[[Tensor], list[Tensor]]
"""`[N, 3, H, W]` -> one `[N, C, h, w]` map per layer."""


def open_engine(build: Callable[[], nn.Module], identity: str, engine: str, device: str) -> Engine:
    """Return the engine asked for; `auto` is ONNX Runtime on a CPU and torch elsewhere or where the export fails.

    `build` makes the network and is not called when an exported copy named after `identity` lies in the cache.
    Raises ValueError for an unknown engine.
    """
    if engine not in ("auto", "onnx", "torch"):
        raise ValueError(f"expected engine auto, onnx or torch, got {engine!r}")
    if engine == "torch" or device != "cpu":
        return _torch_engine(build(), device)
    try:
        return _onnx_engine(build, identity)
    except (ImportError, RuntimeError, torch.onnx.OnnxExporterError) as error:
        if engine == "onnx":
            raise
        log.warning("ONNX Runtime cannot run this network (%s): torch runs it, slower", str(error)[:200])
        return _torch_engine(build(), device)


def _torch_engine(network: nn.Module, device: str) -> Engine:
    network = network.to(device).to(memory_format=torch.channels_last).requires_grad_(requires_grad=False)

    def run(images: Tensor) -> list[Tensor]:
        with torch.inference_mode():
            outputs = network(images.to(device, memory_format=torch.channels_last))
        return [output.clone(memory_format=torch.contiguous_format) for output in outputs]

    return run


def _onnx_engine(build: Callable[[], nn.Module], identity: str) -> Engine:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    content = _exported(build, identity)
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common class but this
        raise RuntimeError(f"ONNX Runtime refuses the exported network: {error}") from error

    def run(images: Tensor) -> list[Tensor]:
        return [torch.from_numpy(output) for output in session.run(None, {"images": images.contiguous().numpy()})]

    return run


def _exported(build: Callable[[], nn.Module], identity: str) -> bytes:
    """The network in ONNX form, from the cache when it is there and whole."""
    folder = runtime().cache
    name = xxhash.xxh3_128_hexdigest(f"{identity}|torch {torch.__version__}".encode()) + ".onnx"
    if folder is not None and (kept := checked_file.read(folder / name)) is not None:
        return kept
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / name
        _export(build(), path)
        content = path.read_bytes()
    if folder is not None:
        checked_file.write(folder / name, content)
    return content


def _export(network: Any, path: Path) -> None:
    """The TorchScript exporter: 2 s where torch.export's takes minutes with a free picture size."""
    if not network.any_size:
        raise RuntimeError("its export would be right for one picture size only")
    names = [f"layer{index}" for index in range(len(network.layers))]
    free = {0: "pictures", 2: "height", 3: "width"}
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network,
            (torch.zeros(2, 3, 256, 256),),
            str(path),
            input_names=["images"],
            output_names=names,
            dynamic_axes=dict.fromkeys(["images", *names], free),
            dynamo=False,
        )
