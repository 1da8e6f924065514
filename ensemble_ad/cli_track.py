"""`ensemble-ad track ...`: MLflow as a mirror of the result folders."""

import os
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

track = typer.Typer(no_args_is_help=True, help="Mirror results to MLflow, and look at them there.")

OUTPUTS = Path("out")
Uri = Annotated[
    str | None, typer.Option("--tracking-uri", help="MLflow's; by default MLFLOW_TRACKING_URI, else OUT/mlflow.db.")
]


@track.command("sync")
def sync(
    outputs: Annotated[list[Path] | None, typer.Argument(metavar="[OUT]...", help="Folders of results.")] = None,
    uri: Uri = None,
) -> None:
    """Mirror every run, survey cell and trial that is not in MLflow yet; exit status 1 when one cannot be.

    May be called as often as you like: what is there stays as it is.

    Examples:
    `ensemble-ad track sync`

    `ensemble-ad track sync out surveys/loco --tracking-uri http://tracking.example:5000`
    """
    from ensemble_ad.console import shown_progress
    from ensemble_ad.errors import ConfigError
    from ensemble_ad.tracking.mirror import mirror_all
    from ensemble_ad.tracking.outbox import withdraw
    from ensemble_ad.tracking.place import home_of, tracking_in

    console, failures = Console(), 0
    for out in outputs or [OUTPUTS]:
        if not out.is_dir():
            raise ConfigError(f"{out}: no such folder; name one that `ensemble-ad run --out` or `survey` wrote")
        place, start = tracking_in(home_of(out), uri), time.time()
        with shown_progress(console) as progress:
            summary = mirror_all(out, place.uri, progress)
        if not summary.failures:
            withdraw(place, out, start)
        for line in summary.failures:
            Console(stderr=True).print(line, style="red", markup=False, highlight=False, soft_wrap=True)
        counts = f"{summary.new} mirrored, {summary.there} there already, {len(summary.failures)} failed"
        console.print(f"{out} -> {place.shown}: {counts}", markup=False, highlight=False, soft_wrap=True)
        failures += len(summary.failures)
    if failures:
        raise typer.Exit(1)


@track.command("ui")
def ui(
    out: Annotated[Path, typer.Argument(help="Folder of results.")] = OUTPUTS,
    uri: Uri = None,
    port: Annotated[int, typer.Option(help="On this machine only.", min=1, max=65535)] = 5000,
    print_only: Annotated[bool, typer.Option("--print", help="Print the command and do not start it.")] = False,
) -> None:
    """Start MLflow's pages on a local store, until Ctrl-C; for a server say where it is.

    Example: `ensemble-ad track ui out --port 5001`
    """
    from ensemble_ad.errors import ConfigError
    from ensemble_ad.tracking.place import SETTINGS, home_of, sqlite_file, tracking_in

    place, console = tracking_in(home_of(out), uri), Console()
    file = sqlite_file(place.uri)
    if file is None:
        console.print(f"MLflow's pages are at {place.shown}", markup=False, highlight=False, soft_wrap=True)
        return
    words = ["mlflow", "ui", "--backend-store-uri", place.uri, "--workers", "1", "--port", str(port)]
    if print_only:
        console.print(shlex.join(words), markup=False, highlight=False, soft_wrap=True)
        return
    if not file.is_file():
        raise ConfigError(f"{file}: no such store yet; `ensemble-ad track sync {shlex.quote(str(out))}` makes it")
    console.print(f"MLflow's pages: http://127.0.0.1:{port} (Ctrl-C ends them)", markup=False, highlight=False)
    os.execve(sys.executable, [sys.executable, "-m", *words], {**SETTINGS, **os.environ})  # noqa: S606, ours
