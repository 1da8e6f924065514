"""A saved detector as MLflow's pyfunc flavour: picture files in, scores and verdicts out.

MLflow stores the model folder (YAML and safetensors) and the name of this module; nothing is pickled, and mlflow is not
needed here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from ensemble_ad.persistence import Saved

PICTURE = "picture"
"""The input column: the bytes of a picture file (PNG, JPEG, TIFF, BMP)."""
MAPS = "maps"
"""The parameter that asks for anomaly maps, too."""


@dataclass(frozen=True)
class ServedDetector:
    """What `mlflow.pyfunc.load_model` wraps."""

    saved: "Saved"

    def predict(self, model_input: "pd.DataFrame", params: Mapping[str, Any] | None = None) -> "pd.DataFrame":
        """Score pictures as `ensemble-ad predict` does.

        Args:
            model_input: a column `picture` with the bytes of one picture file per row.
            params: `{"maps": True}` asks for the anomaly maps.

        Returns:
            `score`, higher is more anomalous; `anomalous`, whether it is above the threshold; where asked for `map`,
            float32 [H, W] at the picture's own size.

        Raises:
            DataError: a picture cannot be read; it is named by its row, counted from 0.
        """
        import pandas as pd

        from data_loco.sample import Sample
        from ensemble_ad.predicting import judge

        with TemporaryDirectory(prefix="ensemble-ad-") as folder:
            paths = [Path(folder) / f"row {number}" for number in range(len(model_input))]
            for path, content in zip(paths, model_input[PICTURE]):
                path.write_bytes(content)
            samples = [Sample(path, "test", "unknown", path.name) for path in paths]
            judged = list(judge(self.saved, samples))
        columns: dict[str, list[Any]] = {
            "score": [picture.score for picture in judged],
            "anomalous": [picture.anomalous for picture in judged],
        }
        if params and params.get(MAPS):
            columns["map"] = [picture.scores for picture in judged]
        return pd.DataFrame(columns, index=model_input.index)


def _load_pyfunc(path: str) -> ServedDetector:
    """Return the detector in a model folder; MLflow calls this by name."""
    from ensemble_ad.persistence import load_detector

    return ServedDetector(load_detector(Path(path)))
