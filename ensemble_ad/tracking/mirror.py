"""One record folder -> one MLflow run. The only module that imports mlflow, and only when something is mirrored.

What a record says and where it belongs is its identity: a tag that is looked for before a run is made. Whoever mirrors
the same record again, in whatever process and after whatever was killed, finds the run and completes it at most.
"""

import os
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from getpass import getuser
from importlib.metadata import requires
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Any, NamedTuple

from filelock import FileLock

from ensemble_ad.errors import ConfigError, StoreError
from ensemble_ad.experiment import read_yaml
from ensemble_ad.progress import Progress
from ensemble_ad.served import MAPS, PICTURE
from ensemble_ad.store import key_of
from ensemble_ad.tracking.flat import clean
from ensemble_ad.tracking.place import SETTINGS, refuse_unusable, sqlite_file
from ensemble_ad.tracking.record import COPIES, Record, find_records, parent_key, read_record

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KEY = "ensemble_ad.record"
"""The tag with a record's identity."""
CONTENT = "ensemble_ad.content"
"""The tag with what is known of a survey or study."""
MODEL = "model"
"""Name of the fitted detector: `mlflow.pyfunc.load_model("runs:/RUN/model")`."""


class Mirrored(NamedTuple):
    """Where a record is in MLflow."""

    run_id: str
    new: bool
    """Whether anything had to be written."""


@dataclass
class Summary:
    """What became of the records in a folder."""

    new: int = 0
    """Mirrored now."""
    there: int = 0
    """Mirrored before."""
    failures: list[str] = field(default_factory=list)
    """A line each for those that could not be mirrored."""


def mirror_all(root: Path, uri: str, progress: Progress) -> Summary:
    """Mirror every record in a folder that is not in the store yet; one that cannot be does not stop the others.

    Raises StoreError when the store does not answer.
    """
    refuse_unusable(uri)
    records, summary = list(find_records(root)), Summary()
    for number, folder in enumerate(records, 1):
        try:
            new = _mirror_twice(folder, uri).new
        except Exception as error:
            refuse_unusable(uri)
            summary.failures.append(f"{folder}: {str(error).removeprefix(f'{folder}: ')}")
        else:
            summary.new += new
            summary.there += not new
        progress.update("mirror", number, len(records))
    return summary


def _mirror_twice(folder: Path, uri: str) -> Mirrored:
    """Mirror a record, and once more after an error of MLflow's: another machine may have been writing the same."""
    try:
        return mirror(folder, uri)
    except (ConfigError, StoreError):
        raise
    except Exception:
        refuse_unusable(uri)
        time.sleep(random.uniform(0.5, 1.5))  # noqa: S311, not a secret
        return mirror(folder, uri)


def mirror(folder: Path, uri: str) -> Mirrored:
    """Make the MLflow run of a record folder, or of a whole survey or study, unless it is there and complete.

    Raises:
        StoreError: not a record, or one that was replaced meanwhile; the MLflow experiment was deleted.
        ConfigError: a record with a damaged YAML file.
        MlflowException: the store cannot be used.
    """
    record = read_record(folder)
    with _alone(uri):
        store = _Store(_client(uri), record)
        run = store.run(record.key, record.name, store.parent(), record.tags)
        if run.info.status != "RUNNING" and run.data.tags.get(CONTENT, "") == record.content:
            return Mirrored(run.info.run_id, new=False)
        store.fill(run)
        if read_record(folder).key != record.key:
            store.client.delete_run(run.info.run_id)
            raise StoreError(f"{folder}: was replaced while it was mirrored; the new one is still to be mirrored")
        store.end(run)
        return Mirrored(run.info.run_id, new=True)


def _client(uri: str) -> "MlflowClient":
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(uri, uri)


@contextmanager
def _alone(uri: str) -> Iterator[None]:
    """Let one process of this machine at a time write to a store.

    SQLite knows no other way, and MLflow answers with an error when two write the same parameter at the same moment.
    """
    place = sqlite_file(uri) or Path(gettempdir()) / f"ensemble-ad-{os.getuid()}-{key_of({'uri': uri})[:16]}"
    place.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{place}.lock"):
        yield


class _Store:
    """The MLflow experiment of one record."""

    def __init__(self, client: "MlflowClient", record: Record) -> None:
        self.client = client
        self.record = record
        self.experiment = self._experiment()

    def _experiment(self) -> str:
        """The id of the record's experiment, made where there is none."""
        from mlflow import MlflowException

        name = self.record.series
        found = self.client.get_experiment_by_name(name)
        if found is None:
            file = sqlite_file(self.client.tracking_uri)
            beside = None if file is None else (file.parent / COPIES / clean(name)).as_uri()
            try:
                return self.client.create_experiment(name, artifact_location=beside)
            except MlflowException:  # another process was quicker, or the next line says what is wrong
                found = self.client.get_experiment_by_name(name)
                if found is None:
                    raise
        if found.lifecycle_stage != "active":
            raise StoreError(f"the MLflow experiment {name!r} was deleted: restore it, or end it for good (mlflow gc)")
        return found.experiment_id

    def parent(self) -> str | None:
        """The id of the run in which the record's is nested, made with all above it."""
        parent = None
        for depth in range(1, len(self.record.within) + 1):
            names = self.record.within[:depth]
            run = self.run(parent_key(self.record.series, names), names[-1], parent, {})
            if run.info.status == "RUNNING":
                self.client.set_terminated(run.info.run_id)
            parent = run.info.run_id
        return parent

    def run(self, key: str, name: str, parent: str | None, tags: Mapping[str, str]) -> "Run":
        """The run with this identity, made where there is none.

        MLflow cannot refuse a second one. So after making a run one looks again: who finds a twin takes its own back
        and starts over. Of two that look at the same time both do, and then one is first.
        """
        own = {KEY: key, "mlflow.runName": name, "mlflow.user": _user(), "mlflow.source.name": "ensemble-ad"}
        own |= {} if parent is None else {"mlflow.parentRunId": parent}
        while True:
            found = self.client.search_runs([self.experiment], f"tags.`{KEY}` = '{key}'")
            if found:
                return min(found, key=lambda run: run.info.run_id)
            started = self.record.ended - self.record.cost
            run = self.client.create_run(self.experiment, started, {**tags, **own})
            twins = self.client.search_runs([self.experiment], f"tags.`{KEY}` = '{key}'")
            if len(twins) < 2:
                return run
            self.client.delete_run(run.info.run_id)
            time.sleep(random.uniform(0.1, 1.0))  # noqa: S311, not a secret

    def fill(self, run: "Run") -> None:
        """Write everything that the record says; writing it twice changes nothing."""
        from mlflow.entities import Metric, Param

        record, run_id = self.record, run.info.run_id
        metrics = [Metric(name, value, record.ended, 0) for name, value in record.metrics.items()]
        self.client.log_batch(run_id, metrics, [Param(name, value) for name, value in record.params.items()])
        for path in record.artifacts:
            inside = path.parent.relative_to(record.folder).as_posix()
            self.client.log_artifact(run_id, str(path), None if inside == "." else inside)
        if record.model is not None:
            self._log_model(run_id, record.model)

    def end(self, run: "Run") -> None:
        """Say that the run is complete."""
        if self.record.content:
            self.client.set_tag(run.info.run_id, CONTENT, self.record.content)
        status = "FAILED" if self.record.failed else "FINISHED"
        self.client.set_terminated(run.info.run_id, status, self.record.ended)

    def _log_model(self, run_id: str, folder: Path) -> None:
        """Log the fitted detector as a pyfunc model of its files and the module that loads them."""
        from mlflow.entities import LoggedModelOutput
        from mlflow.models import Model
        from mlflow.pyfunc import save_model

        made = self.client.search_logged_models([self.experiment], f"source_run_id = '{run_id}'")
        if any(model.status == "READY" for model in made):
            return
        model = self.client.create_logged_model(self.experiment, MODEL, run_id, model_type="anomaly detector")
        about = Model(model.artifact_location, run_id, model_uuid=model.model_id, model_id=model.model_id)
        with TemporaryDirectory(prefix="ensemble-ad-") as place:
            save_model(
                f"{place}/{MODEL}", "ensemble_ad.served", str(folder), mlflow_model=about, signature=_signature(),
                input_example=_example(folder), pip_requirements=_requirements(),
            )  # fmt: skip
            self.client.log_model_artifacts(model.model_id, f"{place}/{MODEL}")
        self.client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        self.client.finalize_logged_model(model.model_id, "READY")


def _user() -> str:
    try:
        return getuser()
    except (KeyError, OSError):  # a container whose user has no name
        return str(os.getuid())


def _signature() -> Any:
    """What `served.ServedDetector` takes and gives."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import Array

    found = [ColSpec("double", "score"), ColSpec("boolean", "anomalous")]
    anomaly_map = ColSpec(Array(Array(DataType.float)), "map", required=False)
    asked = ParamSchema([ParamSpec(MAPS, "boolean", default=False)])
    return ModelSignature(Schema([ColSpec("binary", PICTURE)]), Schema([*found, anomaly_map]), asked)


def _example(model: Path) -> Any:
    """One grey picture of the experiment's size."""
    import pandas as pd
    from PIL import Image

    height, width = read_yaml(model / "experiment.yaml")["size"]
    content = BytesIO()
    Image.new("RGB", (width, height), (128, 128, 128)).save(content, "PNG")
    return pd.DataFrame({PICTURE: [content.getvalue()]})


def _requirements() -> Sequence[str]:
    """What an environment for the model needs besides ensemble-ad itself, which is on no index."""
    return [requirement for requirement in requires("ensemble-ad") or [] if "extra ==" not in requirement]
