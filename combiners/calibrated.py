"""A combiner behind a calibration, which is an output combiner again."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from torch import Tensor

from combiners.protocol import Calibration, OutputCombiner, Stacker


@dataclass(eq=False)
class Calibrated:
    """Raw outputs of M detectors -> one: calibrate, then combine.

    >>> import torch
    >>> from combiners.calibration import ZScore
    >>> from combiners.outputs import Mean
    >>> rule = Calibrated(ZScore(), Mean()).fit(torch.tensor([[0.0, 2.0], [0.0, 200.0]]))
    >>> rule.transform(torch.tensor([[2.0], [100.0]]))
    tensor([0.5000])
    """

    calibration: Calibration
    combiner: OutputCombiner

    def fit(self, normal: Tensor) -> Self:
        """Learn both from values `[M, K]` of normal pictures."""
        self.combiner.fit(self.calibration.fit(normal).transform(normal))
        return self

    def learn(self, values: Tensor, labels: Tensor) -> Self:
        """Let a stacker learn from values `[M, K]` and labels, bool `[K]`; the calibration stays as fitted."""
        if not isinstance(self.combiner, Stacker):
            raise TypeError(f"{type(self.combiner).__name__} does not learn from labels")
        self.combiner.learn(self.calibration.transform(values), labels)
        return self

    def transform(self, values: Tensor) -> Tensor:
        """`[M, *shape]` -> `[*shape]`."""
        return self.combiner.transform(self.calibration.transform(values))

    def state(self) -> dict[str, Tensor]:
        """The named tensors of both."""
        parts = {"calibration": self.calibration.state(), "combiner": self.combiner.state()}
        return {f"{part}.{name}": tensor for part, state in parts.items() for name, tensor in state.items()}

    def restore(self, state: Mapping[str, Tensor]) -> Self:
        """Take back what `state` gave."""
        for prefix, part in (("calibration.", self.calibration), ("combiner.", self.combiner)):
            part.restore({key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)})
        return self
