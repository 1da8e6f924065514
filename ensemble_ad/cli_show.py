"""`ensemble-ad list` and `doctor`: what there is, and whether it works."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def list_components(
    name: Annotated[str | None, typer.Argument(help="Show only this component.")] = None,
) -> None:
    """Show every component with its parameters and published defaults.

    Example: `ensemble-ad list patchcore`
    """
    from combiners import CALIBRATIONS, FEATURE_COMBINERS, OUTPUT_COMBINERS
    from ensemble_ad.build import Choices, did_you_mean, parameter_defaults
    from ensemble_ad.errors import ConfigError
    from ensemble_ad.experiment import preset_names
    from ensemble_ad.schema import DETECTORS, DISCRIMINATORS
    from extractors import EXTRACTORS
    from scorers import SCORERS

    groups: dict[str, Choices] = {
        "extractor": EXTRACTORS,
        "global scorer": SCORERS,
        "combiner": FEATURE_COMBINERS,
        "head": DISCRIMINATORS,
        "output combiner": OUTPUT_COMBINERS,
        "calibration": CALIBRATIONS,
        "detector": DETECTORS,
    }
    known = {key: component for choices in groups.values() for key, component in choices.items()}
    if name is not None and name not in known:
        raise ConfigError(f"unknown component {name!r}{did_you_mean(name, known)}; there are {', '.join(known)}")
    console = Console()
    for group, choices in groups.items():
        for key, component in choices.items():
            if name in (None, key):
                purpose = (component.__doc__ or "").strip().splitlines()[0]
                console.print(f"{group} {key}: {purpose}", style="italic", markup=False, highlight=False)
                table = Table(show_header=False)
                for parameter, default in parameter_defaults(component).items():
                    table.add_row(parameter, "required" if default is ... else str(default))
                console.print(table if table.row_count else "no parameters\n")
    console.print(f"presets: {', '.join(preset_names())}")


def doctor() -> None:
    """Check the installation and say how to mend each fault; exit status 1 when there is one.

    Example: `ensemble-ad doctor`
    """
    from ensemble_ad.diagnosis import diagnose

    console = Console()
    findings = diagnose()
    for finding in findings:
        mark = "[green]ok[/green]   " if finding.good else "[red]fault[/red]"
        console.print(f"{mark} {finding.what}: ", end="")
        console.print(finding.found, markup=False, highlight=False, soft_wrap=True)
        if not finding.good:
            console.print(f"      mend: {finding.mend}", markup=False, highlight=False, soft_wrap=True)
    if not all(finding.good for finding in findings):
        raise typer.Exit(1)
