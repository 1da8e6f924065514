"""`ensemble-ad survey`: many detectors on many classes, in one table."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ensemble_ad.cli_run import Cache, Device, Engine, EngineName, Track, TrackingUri, _runtime


class Queue(StrEnum):
    """Queueing systems that dask-jobqueue knows how to ask."""

    slurm = "slurm"
    pbs = "pbs"
    lsf = "lsf"


def survey(
    grid: Annotated[Path, typer.Argument(metavar="FILE", help="Grid in YAML: classes, detectors, seeds, sizes.")],
    data: Annotated[
        list[Path] | None,
        typer.Option(help="Class folder, or folder of classes, in place of the file's; may be repeated."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="cpu, paper, or a YAML file, in place of the file's.")] = None,
    out: Annotated[Path | None, typer.Option(help="Survey folder; by default out/surveys/FILE.")] = None,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Try failed cells again.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print cells, time and memory; do nothing.")] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes, or jobs of a --cluster; each does one thing.")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler to work on, tcp://HOST:PORT.")] = None,
    cluster: Annotated[Queue | None, typer.Option(help="Queue to ask for workers.")] = None,
    cluster_options: Annotated[
        Path | None, typer.Option(help="YAML with what a job needs: cores, memory, queue, walltime ...")
    ] = None,
    cache: Cache = Path("out/cache"),
    device: Device = "cpu",
    engine: Engine = EngineName.auto,
    track: Track = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Compare detectors over classes and seeds; the same command goes on where a killed one stopped.

    Writes table.csv (every number), summary.md, .csv, .tex, figures and index.html.

    Examples:
    `ensemble-ad survey studies/loco_survey.yaml --data DIR --dry-run`

    `ensemble-ad survey studies/loco_survey.yaml --data DIR --preset paper --device cuda`

    `ensemble-ad survey my.yaml --workers 4`
    """
    from ensemble_ad.executors import opened
    from ensemble_ad.experiment import read_yaml
    from ensemble_ad.survey.forecast import read_forecast
    from ensemble_ad.survey.grid import cells_of
    from ensemble_ad.survey.progress import shown_survey
    from ensemble_ad.survey.run import missing, open_place, run_survey
    from ensemble_ad.tracking import chosen, home_of, mirroring

    console, target = Console(), out or Path("out/surveys") / grid.stem
    cells, forecast = cells_of(grid, data or (), preset), read_forecast(cache)
    if dry_run:
        _print_plan(console, cells, target, cache, forecast, workers)
        return
    place = open_place(target, cache, device, engine.value)
    home = Path("out") if out is None else home_of(out.resolve().parent)
    tracking = chosen(home, track=track, uri=tracking_uri, written=read_yaml(grid).get("tracking"))
    executor = _executor(workers, scheduler, cluster, cluster_options, place)
    whole, left = ({cell.key for cell in some} for some in (cells, missing(cells, target)))
    with (
        opened(executor),
        mirroring(tracking) as mirror,
        shown_survey(console, forecast, len(whole - left), len(whole)) as watcher,
    ):
        found = run_survey(cells, target, place, executor, watcher, mirror, retry_failed=retry_failed)
        mirror(target)
    _print_end(console, found)


def _executor(workers: int, scheduler: str | None, cluster: Queue | None, options: Path | None, place: Any) -> Any:
    from ensemble_ad.executors import open_executor
    from ensemble_ad.experiment import read_yaml

    if scheduler is None and cluster is None:
        _runtime(place.device, EngineName(place.engine))  # says whether this machine has the device
        return open_executor(workers)
    job = {} if options is None else read_yaml(options)
    queue = None if cluster is None else cluster.value
    return open_executor(workers, scheduler, device=place.device, queue=queue, job=job, shared=Path(place.cache))


def _print_plan(console: Console, cells: Any, out: Path, cache: Path, forecast: Any, workers: int) -> None:
    from ensemble_ad.survey.dry_run import planned

    seconds, unknown, memory = 0.0, 0, 0.0
    for plan in planned(cells, out, cache, forecast):
        cost = "unknown time" if plan.seconds is None else f"{plan.seconds:.0f} s"
        need = "" if plan.memory_mb is None else f", {cost}, {plan.memory_mb:.0f} MiB"
        console.print(f"{plan.cell.label}: {plan.state}{need}", markup=False, highlight=False, soft_wrap=True)
        seconds, unknown = seconds + (plan.seconds or 0), unknown + (plan.seconds is None)
        memory = max(memory, plan.memory_mb or 0)
    partly = f", and {unknown} cells of which nothing is known yet" if unknown else ""
    console.print(
        f"{len(cells)} cells; about {seconds / workers / 60:.0f} min with {workers} workers{partly}; "
        f"up to {memory:.0f} MiB for each worker",
        highlight=False,
        soft_wrap=True,
    )


def _print_end(console: Console, found: Any) -> None:
    for name in ("summary.md", "table.csv", "index.html"):
        console.print(f"{(found.out / name).resolve()}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"{found.done} cells done, {found.failed} failed", highlight=False)
    if found.failed:
        console.print("the summary says why; --retry-failed tries them again", highlight=False)
