"""What runs a frozen network: torch, or ONNX Runtime, which is about three times faster on a CPU.

Both give the same maps to about 1e-5 (tested). ONNX Runtime takes one picture at a time through a graph exported for
its size: with every length known, padding melts into the convolutions, and one picture's maps stay in the processor's
cache. So they do not depend on how pictures are batched, bit by bit.
"""

import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
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
    exported = _OnnxEngine(build, identity)
    return exported if engine == "onnx" else _Fallback(exported, build)


def _torch_engine(network: nn.Module, device: str) -> Engine:
    network = network.to(device).to(memory_format=torch.channels_last).requires_grad_(requires_grad=False)

    def run(images: Tensor) -> list[Tensor]:
        with torch.inference_mode():
            outputs = network(images.to(device, memory_format=torch.channels_last))
        return [output.clone(memory_format=torch.contiguous_format) for output in outputs]

    return run


@dataclass
class _OnnxEngine:
    """One session per picture size, opened when the first picture of that size comes."""

    build: Callable[[], nn.Module]
    identity: str
    sessions: dict[tuple[int, ...], Any] = field(default_factory=dict)

    def __call__(self, images: Tensor) -> list[Tensor]:
        size = tuple(images.shape[1:])
        if size not in self.sessions:
            self.sessions[size] = _session(_exported(self.build, self.identity, size))
        session, pictures = self.sessions[size], images.contiguous().numpy()
        rows = [session.run(None, {"images": pictures[index : index + 1]}) for index in range(len(pictures))]
        return [torch.from_numpy(np.concatenate(layer)) for layer in zip(*rows)]


@dataclass
class _Fallback:
    """ONNX Runtime until it cannot; from then on torch."""

    chosen: Engine
    build: Callable[[], nn.Module]

    def __call__(self, images: Tensor) -> list[Tensor]:
        try:
            return self.chosen(images)
        except (ImportError, RuntimeError, torch.onnx.OnnxExporterError) as error:
            if not isinstance(self.chosen, _OnnxEngine):
                raise
            log.warning("ONNX Runtime cannot run this network (%s): torch runs it, slower", str(error)[:200])
            self.chosen = _torch_engine(self.build(), "cpu")
            return self.chosen(images)


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions have no common class but this
        raise RuntimeError(f"ONNX Runtime refuses the exported network: {error}") from error


def _exported(build: Callable[[], nn.Module], identity: str, size: tuple[int, ...]) -> bytes:
    """The network in ONNX form for one picture [3, H, W], from the cache when it is there and whole."""
    folder = runtime().cache
    name = xxhash.xxh3_128_hexdigest(f"{identity}|{size}|torch {torch.__version__}".encode()) + ".onnx"
    if folder is not None and (kept := checked_file.read(folder / name)) is not None:
        return kept
    content = _export(build(), size)
    if folder is not None:
        checked_file.write(folder / name, content)
    return content


def _export(network: Any, size: tuple[int, ...]) -> bytes:
    """The TorchScript exporter: a second where torch.export's takes many."""
    content = io.BytesIO()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.requires_grad_(requires_grad=False),
            (torch.zeros(1, *size),),
            content,  # type: ignore[arg-type]
            input_names=["images"],
            output_names=[f"layer{index}" for index in range(len(network.layers))],
            dynamo=False,
        )
    return content.getvalue()
