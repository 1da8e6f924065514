"""`ensemble-ad run`, `predict`, `evaluate`: the main job."""

import json
import shlex
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

Out = Annotated[Path, typer.Option(help="Folder to write into.")]
Cache = Annotated[
    Path,
    typer.Option(envvar="ENSEMBLE_AD_CACHE", help="Finished stages, shared by all runs: fitted extractors, features."),
]
Device = Annotated[str, typer.Option(help="cpu, cuda, cuda:1 or mps; changes the speed, not the experiment.")]


Track = Annotated[
    bool | None,
    typer.Option(
        "--track/--no-track",
        envvar="ENSEMBLE_AD_TRACK",
        help="Mirror the result to MLflow, in the background.",
        show_default="track",
    ),
]
TrackingUri = Annotated[
    str | None, typer.Option(help="MLflow's; by default MLFLOW_TRACKING_URI, else mlflow.db beside the results.")
]


class EngineName(StrEnum):
    """What runs frozen networks."""

    auto = "auto"
    onnx = "onnx"
    torch = "torch"


Engine = Annotated[EngineName, typer.Option(help="What runs frozen networks.")]


def run(
    experiment: Annotated[
        Path | None, typer.Argument(help="Experiment in YAML; without one the preset's default.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Class folder in the LOCO layout, or MVTec AD's.")] = None,
    preset: Annotated[str | None, typer.Option(help="cpu (default), paper, or a YAML file.")] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY.PATH=VALUE", help="Change one value; may be repeated.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Given to every component that draws random numbers.")] = None,
    extractors: Annotated[
        str | None, typer.Option(help="Members, comma-separated; `ensemble-ad list` names them.")
    ] = None,
    combiner: Annotated[
        str | None,
        typer.Option(
            help="Of features: global, individual, or none (one member alone, several merely concatenated). "
            "Of outputs: mean, maximum, median, majority_vote, logistic_regression, random_forest."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; by default out/runs/CLASS/...")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result there, too.")] = None,
    export_maps: Annotated[
        Path | None, typer.Option(help="Write the maps there as TIFF in MVTec's submission layout.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print experiment, stages and memory; do nothing.")
    ] = False,
    cache: Cache = Path("out/cache"),
    device: Device = "cpu",
    engine: Engine = EngineName.auto,
    track: Track = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Fit an ensemble on a class's normal pictures, evaluate it, write a folder with report.html.

    Examples:
    `ensemble-ad run --data out/data/flat_connector`

    `ensemble-ad run --data DIR --extractors patchcore --combiner none --seed 1`

    `ensemble-ad run --data DIR --extractors patchcore,draem --combiner mean`

    `ensemble-ad run my.yaml --data DIR --set detector.combiner.components=64`
    """
    from data_loco import open_class
    from ensemble_ad import running
    from ensemble_ad.console import result_table, shown_progress
    from ensemble_ad.errors import ConfigError
    from ensemble_ad.stages import Stages
    from ensemble_ad.store import Store
    from ensemble_ad.tracking import chosen, home_of, mirroring, overdue
    from ensemble_ad.whole import write_text
    from extractors.runtime import using

    console, start = Console(), time.perf_counter()
    if data is None:
        raise ConfigError(
            "--data: expected a class folder; `ensemble-ad data render flat_connector out/data` makes one"
        )
    resolved, written = _experiment(experiment, preset, seed, extractors, combiner, settings or [])
    home = Path("out") if out is None else home_of(out.resolve().parent)
    tracking = chosen(home, track=track, uri=tracking_uri, written=written)
    folder = open_class(data)
    store = Store(cache)
    with shown_progress(console) as progress, using(_runtime(device, engine, cache / "backbone")):
        stages = Stages(folder, resolved.size, store, progress)
        if dry_run:
            _print_plan(console, stages, resolved)
            return
        notes = running.refuse_errors(data)
        target = out or running.default_out(resolved, folder, Path("out/runs"))
        done = running.run(stages, resolved, target, shlex.join(["ensemble-ad", *sys.argv[1:]]), notes)
        if export_maps is not None:
            running.export_maps(stages, stages.prediction(resolved.detector, "test"), export_maps)
    notes = (*folder.notes, *done.doubts, *overdue(tracking))
    with mirroring(tracking) as mirror:
        mirror(done.folder)
    if json_file is not None:
        write_text(json_file, json.dumps(done.result, indent=2))
    console.print(result_table(done.result, f"{folder.name}, preset {resolved.preset}, seed {resolved.seed}"))
    how = "everything was there already" if done.reused else f"{done.result['ms_per_picture']} ms per picture"
    console.print(f"{time.perf_counter() - start:.0f} s, {how}", highlight=False)
    _print_next(console, target, notes, tracking)


def _print_next(console: Console, target: Path, notes: tuple[str, ...], tracking: Any) -> None:
    """Say where the report is and what to type for one's own pictures."""
    predict_command = f"ensemble-ad predict {shlex.quote(str(target))} PICTURE... --out out/predictions"
    lines = [f"note: {note}" for note in notes]
    lines.append(f"report: {(target / 'report.html').resolve()}")
    lines.append("your own pictures: ensemble-ad data check DIR && ensemble-ad run --data DIR")
    lines.append(f"single pictures: {predict_command}")
    if tracking is not None:
        lines.append(f"MLflow, {tracking.shown}: ensemble-ad track ui {shlex.quote(str(tracking.home))}")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _experiment(
    path: Path | None,
    preset: str | None,
    seed: int | None,
    extractors: str | None,
    combiner: str | None,
    settings: list[str],
) -> tuple[Any, Any]:
    """The resolved experiment, and what the file says about tracking, which is no part of it."""
    from ensemble_ad.experiment import DEFAULTS, load_experiment, read_yaml, with_settings

    content = read_yaml(path) if path is not None else {}
    if preset is not None:
        content["preset"] = preset
    if seed is not None:
        content["seed"] = seed
    if extractors is not None or combiner is not None:
        content["detector"] = _detector(content.get("detector", DEFAULTS["detector"]), extractors, combiner)
    if settings and "detector" not in content:
        content["detector"] = DEFAULTS["detector"]
    content = with_settings(content, settings)
    written = content.pop("tracking", None)
    return load_experiment(content, str(path or "experiment")), written


def _detector(before: Any, extractors: str | None, combiner: str | None) -> Any:
    """The detector `before` with other members or another combiner; an ensemble keeps the rest of its settings."""
    from combiners import OUTPUT_COMBINERS
    from scorers import SCORERS

    given = {"name": before} if isinstance(before, str) else before
    if not isinstance(given, dict):
        return before  # whoever resolves it says what is wrong
    names = _members(given) if extractors is None else [name.strip() for name in extractors.split(",")]
    outputs = given.get("name") == "output_ensemble"
    rule = given.get("combiner", "mean" if outputs else "global") if combiner is None else combiner
    if (rule.get("name") if isinstance(rule, dict) else rule) in OUTPUT_COMBINERS:
        rules = ("score_combiner", "calibration", "score_calibration", "folds")
        kept = {key: given[key] for key in rules if key in given}
        return {"name": "output_ensemble", "detectors": names, "combiner": rule, **kept}
    if len(names) == 1 and (rule == "none" or (combiner is None and names[0] in list(SCORERS))):
        return {"name": "standalone", "method": names[0]}
    kept = {key: given[key] for key in ("discriminator", "sigma", "image_score") if key in given}
    return {"name": "feature_ensemble", "extractors": names, "combiner": rule, **kept}


def _members(detector: dict[str, Any]) -> list[Any]:
    """The members of a detector as written: extractors, or detectors where it is made of these."""
    from ensemble_ad.experiment import DEFAULTS

    if "method" in detector:
        return [detector["method"]]
    members = detector.get("detectors", detector.get("extractors", DEFAULTS["detector"]["extractors"]))
    if not isinstance(members, list):
        return members
    return [member.get("method", member) if isinstance(member, dict) else member for member in members]


def _runtime(device: str, engine: EngineName, cache: Path | None = None) -> Any:
    import torch

    from ensemble_ad.errors import ConfigError
    from extractors.runtime import Runtime

    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # torch has no common class for these
        reason = str(error).splitlines()[0]
        raise ConfigError(f"--device {device}: not on this machine ({reason}); --device cpu works always") from error
    return Runtime(device, engine.value, cache)


def _print_plan(console: Console, stages: Any, experiment: Any) -> None:
    from ensemble_ad.planning import predicted_memory_mb

    console.print(experiment.to_yaml(), markup=False, highlight=False)
    for name, there in stages.plan(experiment.detector):
        console.print(f"{'reuse' if there else 'run  '}  {name}", highlight=False)
    console.print(f"predicted memory: {predicted_memory_mb(stages, experiment.detector):.0f} MiB", highlight=False)


def predict(
    run_folder: Annotated[Path, typer.Argument(metavar="RUN", help="Run folder that `ensemble-ad run` wrote.")],
    pictures: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    out: Out = Path("out/predictions"),
    explain: Annotated[bool, typer.Option("--explain", help="Say why, where a member of the ensemble can.")] = False,
    device: Device = "cpu",
    engine: Engine = EngineName.auto,
) -> None:
    """Score pictures with a fitted run: score, verdict, heat map and overlay for each.

    The threshold is the run's: a quantile of its normal validation pictures.

    Example: `ensemble-ad predict out/runs/flat_connector/... photos/ --out out/predictions`
    """
    from ensemble_ad.console import shown_progress
    from ensemble_ad.predicting import find_pictures, predict_pictures
    from extractors.runtime import using

    console = Console()
    paths = find_pictures(pictures)
    with shown_progress(console) as progress, using(_runtime(device, engine)):
        table = predict_pictures(run_folder, paths, out, progress, explain=explain)
    for row in table.head(20).itertuples():
        verdict = "anomalous" if row.anomalous else "normal"
        console.print(f"{row.score:10.4f}  {verdict:9}  {row.picture}", highlight=False, markup=False, soft_wrap=True)
        if explain and row.explanation:
            console.print(" " * 12 + str(row.explanation), highlight=False, markup=False, soft_wrap=True)
    if len(table) > 20:
        console.print(f"... and {len(table) - 20} more")
    summary = f"{int(table.anomalous.sum())} of {len(table)} anomalous; see {out / 'scores.csv'}"
    console.print(summary, markup=False, highlight=False, soft_wrap=True)


def evaluate(
    maps: Annotated[
        Path, typer.Argument(metavar="MAPS_DIR", help="Maps in MVTec's layout: test/<type>/<id>.tiff|.tif|.npy.")
    ],
    data: Annotated[Path, typer.Option(help="Class folder in the LOCO layout, or MVTec AD's.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the result there, too.")] = None,
) -> None:
    """Evaluate any method's maps as MVTec's evaluator does, but exactly; exit status 1 on a faulty submission.

    Example: `ensemble-ad evaluate maps/ --data out/data/flat_connector --json result.json`
    """
    from data_loco import open_class
    from ensemble_ad.console import result_table, shown_progress
    from ensemble_ad.submission import SubmissionError, evaluate_submission
    from ensemble_ad.whole import write_text

    console = Console()
    folder = open_class(data)
    try:
        with shown_progress(console) as progress:
            evaluation = evaluate_submission(maps, folder, lambda done, of: progress.update("metrics", done, of))
    except SubmissionError as error:
        Console(stderr=True).print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    result = evaluation.to_json()
    if json_file is not None:
        write_text(json_file, json.dumps(result, indent=2))
    console.print(result_table(result, f"{folder.name}, maps of {maps}"))
    if evaluation.error_bound > 0:
        console.print(
            f"streamed: no area is further than {evaluation.error_bound:.1e} from its exact value", highlight=False
        )
