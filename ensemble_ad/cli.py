"""ensemble-ad: the command line. Commands live in `cli_*` modules; heavy imports wait until one of them runs."""

import logging
import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # before torch: its threads must not spin beside ONNX Runtime's

import typer
from rich.console import Console

from ensemble_ad._siblings import check_siblings
from ensemble_ad.cli_attribute import attribute
from ensemble_ad.cli_compare import compare
from ensemble_ad.cli_data import data
from ensemble_ad.cli_run import evaluate, predict, run
from ensemble_ad.cli_show import doctor, list_components
from ensemble_ad.cli_survey import survey
from ensemble_ad.cli_track import track
from ensemble_ad.cli_tune import tune
from ensemble_ad.errors import ConfigError, is_expected

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Heterogeneous feature-level ensembles for logical anomalies, measured with AU-sPRO.\n\n"
    "**First steps**\n\n"
    "`ensemble-ad data render flat_connector out/data` - make a class\n\n"
    "`ensemble-ad run --data out/data/flat_connector` - fit, evaluate, report\n\n"
    "`ensemble-ad data check DIR` - is my own class folder right?",
)


@app.callback()
def refuse_foreign_siblings(context: typer.Context) -> None:
    """Say in a sentence that another package bears a sibling's name; `doctor` lists that among its checks."""
    try:
        check_siblings()
    except ImportError as error:
        if context.invoked_subcommand != "doctor":
            raise ConfigError(str(error)) from error


app.add_typer(data, name="data")
app.add_typer(track, name="track")
app.command("run")(run)
app.command("predict")(predict)
app.command("evaluate")(evaluate)
app.command("survey")(survey)
app.command("compare")(compare)
app.command("attribute")(attribute)
app.command("tune")(tune)
app.command("list")(list_components)
app.command("doctor")(doctor)

EXPECTED = 2
"""Exit status for bad input: one sentence, no traceback."""
INTERRUPTED = 130


def main() -> None:
    """Run a command; what the user can mend ends in a sentence, anything else in a traceback."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)
    try:
        app()
    except SystemExit as end:
        if end.code == INTERRUPTED:  # typer's answer to Ctrl-C
            _say("interrupted: finished stages and checkpoints are kept; the same command goes on from there")
        raise
    except MemoryError:
        _say("out of memory: try a smaller size, fewer extractors or a smaller batch")
        sys.exit(EXPECTED)
    except (ValueError, RuntimeError) as error:
        if not is_expected(error):
            raise
        _say(str(error))
        sys.exit(EXPECTED)


def _say(text: str) -> None:
    Console(stderr=True).print(f"error: {text}", style="red", highlight=False, markup=False, soft_wrap=True)
