"""`ensemble-ad tune`: search over the settings of an experiment."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ensemble_ad.cli_run import Cache, Device, Engine, EngineName, Track, TrackingUri


def tune(
    study: Annotated[Path, typer.Argument(metavar="STUDY", help="Study in YAML: classes, default, space, objective.")],
    data: Annotated[
        list[Path] | None, typer.Option(help="Class folder, in place of the file's; may be repeated.")
    ] = None,
    trials: Annotated[int | None, typer.Option(min=1, help="In place of the file's.")] = None,
    storage: Annotated[str | None, typer.Option(help="Optuna URL, in place of the file's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Study folder; by default out/studies/NAME.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Trials at a time, each in a process with its cores.")] = 1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print space, budget and stages; do nothing.")] = False,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler to work on, tcp://HOST:PORT.")] = None,
    cache: Cache = Path("out/cache"),
    device: Device = "cpu",
    engine: Engine = EngineName.auto,
    track: Track = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Search for better settings by synthetic anomalies on normal pictures; the same command goes on after a kill.

    Writes best.yaml, which `ensemble-ad run` takes, trials.csv, figures and summary.md (index.html), which also says
    how well the objective ranks beside the test split.

    Examples:
    `ensemble-ad tune studies/tune_fusion.yaml --data DIR`

    `ensemble-ad tune my.yaml --workers 4 --storage postgresql://HOST/studies`
    """
    from ensemble_ad.console import shown_progress
    from ensemble_ad.executors import open_executor, opened
    from ensemble_ad.experiment import read_yaml
    from ensemble_ad.tracking import chosen, home_of, mirroring
    from ensemble_ad.tuning.dry_run import planned
    from ensemble_ad.tuning.run import tune as run_study
    from ensemble_ad.tuning.study_file import load_study
    from ensemble_ad.tuning.trial import Place
    from ensemble_ad.tuning.work import Work

    console = Console()
    asked = load_study(study, data or (), trials=trials, storage=storage)
    target = out or Path("out/studies") / asked.title
    place = Place(str(cache.resolve()), device, engine.value)
    if dry_run:
        for line in planned(asked, place):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        return
    home = Path("out") if out is None else home_of(out.resolve().parent)
    tracking = chosen(home, track=track, uri=tracking_uri, written=read_yaml(study).get("tracking"))
    executor = open_executor(workers, scheduler, device=device)
    with (
        opened(executor),
        mirroring(tracking) as mirror,
        shown_progress(console) as progress,
    ):
        work = Work(executor, place, workers, progress, mirror)
        found = run_study(asked, target, work, shlex.join(["ensemble-ad", *sys.argv[1:]]))
        mirror(target)
    _print_end(console, found, target)


def _print_end(console: Console, found: Any, target: Path) -> None:
    for who, (label, trial) in found.picks().items():
        value = f"{found.name} {trial.measured[found.name]:.3f}"
        console.print(f"{who}: {value} ({found.study.objective}, trial {label} {trial.number})", highlight=False)
    for name in (f"summary{found.suffix}.md", f"index{found.suffix}.html", f"best{found.suffix}.yaml"):
        console.print(str((target / name).resolve()), highlight=False, markup=False, soft_wrap=True)
    again = shlex.join(["ensemble-ad", "run", str(target / f"best{found.suffix}.yaml"), "--data"])
    console.print(f"{again} DIR", highlight=False, markup=False, soft_wrap=True)
