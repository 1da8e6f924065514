"""`ensemble-ad attribute`: which member of an ensemble matters."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from ensemble_ad.cli_run import Cache, Device, Engine, EngineName, Track, TrackingUri, _experiment
from ensemble_ad.cli_survey import _executor, _print_plan


def attribute(
    experiment: Annotated[
        Path | None, typer.Argument(help="Ensemble in YAML; without one the preset's default.")
    ] = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="Class folder, or folder of classes; may be repeated.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="cpu (default), paper, or a YAML file.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change one value; may be repeated.")
    ] = None,
    extractors: Annotated[
        str | None, typer.Option(help="Members, comma-separated; `ensemble-ad list` names them.")
    ] = None,
    combiner: Annotated[str | None, typer.Option(help="Of features or of outputs, as for `run`.")] = None,
    seeds: Annotated[str, typer.Option(help="Comma-separated; intervals are over seeds.")] = "0,1,2",
    permutations: Annotated[int, typer.Option(min=2, help="Orders drawn where there are more than six members.")] = 10,
    out: Annotated[Path, typer.Option(help="Folder of tables and figures.")] = Path("out/attribute"),
    workers: Annotated[int, typer.Option(min=1, help="Processes on this machine, each with its share of cores.")] = 1,
    scheduler: Annotated[str | None, typer.Option(help="Dask scheduler to work on, tcp://HOST:PORT.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print subsets, time and memory; do nothing.")] = False,
    cache: Cache = Path("out/cache"),
    device: Device = "cpu",
    engine: Engine = EngineName.auto,
    track: Track = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Measure every subset of an ensemble's members and share out what they reach: Shapley values and synergies.

    Every subset gets a head of its own; fitted extractors and features are shared. The same command goes on where a
    killed one stopped.

    Examples:
    `ensemble-ad attribute --extractors patchcore,simplenet,draem --data DIR --workers 2`

    `ensemble-ad attribute studies/7_members.yaml --data DIR --dry-run`
    """
    from ensemble_ad.attribution.game import plan_game
    from ensemble_ad.attribution.run import SUBSETS, refuse_foreign
    from ensemble_ad.errors import ConfigError
    from ensemble_ad.survey.classes import surveyed_classes
    from ensemble_ad.survey.forecast import read_forecast
    from ensemble_ad.survey.run import open_place
    from ensemble_ad.tracking import chosen, home_of

    console = Console()
    if not data:
        raise ConfigError("--data: expected class folders; `ensemble-ad data render flat_connector out/data` makes one")
    asked = [_experiment(experiment, preset, seed, extractors, combiner, settings or []) for seed in _seeds(seeds)]
    plan = plan_game([resolved for resolved, _ in asked], surveyed_classes(data), permutations)
    console.print(plan.summary(), markup=False, highlight=False, soft_wrap=True)
    if dry_run:
        _print_plan(console, plan.cells, out / SUBSETS, cache, read_forecast(cache), workers)
        return
    refuse_foreign(out)
    place = open_place(out / SUBSETS, cache, device, engine.value)
    tracking = chosen(home_of(out.resolve().parent), track=track, uri=tracking_uri, written=asked[0][1])
    _measure(console, plan, out, place, tracking, _executor(workers, scheduler, None, None, place))


def _measure(console: Console, plan: Any, out: Path, place: Any, tracking: Any, executor: Any) -> None:
    """Measure the subsets that are missing and write the page, showing how far it is."""
    from ensemble_ad.attribution.report import DOCUMENT, PAGE
    from ensemble_ad.attribution.run import SUBSETS, attribute_members
    from ensemble_ad.executors import opened
    from ensemble_ad.survey.forecast import read_forecast
    from ensemble_ad.survey.progress import shown_survey
    from ensemble_ad.survey.run import missing
    from ensemble_ad.tracking import mirroring

    subsets, forecast, whole = out / SUBSETS, read_forecast(Path(place.cache)), len(plan.cells)
    with (
        opened(executor),
        mirroring(tracking) as mirror,
        shown_survey(console, forecast, whole - len(missing(plan.cells, subsets)), whole) as watcher,
    ):
        attribute_members(plan, out, place, executor, watcher, mirror)
        mirror(subsets)
    for name in (PAGE, DOCUMENT):
        console.print(f"{(out / name).resolve()}", markup=False, highlight=False, soft_wrap=True)


def _seeds(text: str) -> list[int]:
    from ensemble_ad.errors import ConfigError

    words = text.replace(",", " ").split()
    if not words or not all(word.isdecimal() for word in words):
        raise ConfigError(f"--seeds: expected whole numbers such as 0,1,2, got {text!r}")
    return [int(word) for word in words]
