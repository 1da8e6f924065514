"""`ensemble-ad data ...`: look at class folders, and render some."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from data_loco.findings import DefectCount

data = typer.Typer(no_args_is_help=True, help="Check class folders, render metal-part classes.")


@data.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="Class folder in the LOCO layout, or MVTec AD's.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Headers, masks and hashes only; pictures are not decoded.")
    ] = False,
) -> None:
    """Say everything that is wrong with a class folder; exit status 1 on errors.

    Example: `ensemble-ad data check out/data/flat_connector`
    """
    from data_loco import check_class

    console = Console()
    report = check_class(folder, quick=quick)
    for finding in report.findings:
        colour = "red" if finding.level == "error" else "yellow"
        console.print(f"[{colour}]{finding.level}[/{colour}] ", end="")
        console.print(
            f"{finding.path}: {finding.reason}; {finding.cure}", markup=False, highlight=False, soft_wrap=True
        )
    for note in report.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    if report.errors:
        console.print(f"{len(report.errors)} errors, {len(report.warnings)} warnings")
        raise typer.Exit(1)
    splits = Table(title=f"{folder.resolve().name}: pictures", title_justify="left")
    for heading in ("split", "kind", "pictures"):
        splits.add_column(heading, justify="right" if heading == "pictures" else "left")
    for row in report.splits:
        splits.add_row(row.split, row.kind, str(row.pictures))
    console.print(splits)
    if report.defects:
        console.print(_defect_table(report.defects))
    console.print(f"no errors, {len(report.warnings)} warnings")


def _defect_table(defects: "Sequence[DefectCount]") -> Table:
    table = Table(title="defect kinds", title_justify="left")
    for heading in ("type", "defect kind", "mask value", "pictures", "regions", "saturation area [pixels]"):
        table.add_column(heading, justify="left" if heading in ("type", "defect kind") else "right")
    for row in defects:
        low, high = row.saturation_min, row.saturation_max
        area = str(low) if low == high else f"{low} - {high}"
        table.add_row(row.kind, row.name, str(row.pixel_value), str(row.pictures), str(row.regions), area)
    return table


@data.command("render")
def render(
    name: Annotated[str, typer.Argument(metavar="CLASS", help="flat_connector, angle or composite_part.")],
    out: Annotated[Path, typer.Argument(help="Folder in which the class folder is made.")],
    count: Annotated[
        tuple[int, int, int, int, int] | None,
        typer.Option(
            help="Pictures: train, validation, test good, logical, structural.", show_default="350 60 100 90 90"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 0,
    size: Annotated[tuple[int, int], typer.Option(help="Width and height in pixels.")] = (1024, 640),
) -> None:
    """Render a metal-part class with exact masks, in the LOCO layout.

    Examples:
    `ensemble-ad data render angle out/data`

    `ensemble-ad data render composite_part out/data --count 100 20 30 30 30 --seed 7`
    """
    from data_loco.metal_parts import Counts, render_class
    from ensemble_ad.console import shown_progress
    from ensemble_ad.errors import ConfigError

    console = Console()
    try:
        with shown_progress(console) as progress:
            counts = None if count is None else Counts(*count)
            folder = render_class(
                name,
                out,
                counts=counts,
                seed=seed,
                size=(size[1], size[0]),
                progress=lambda done, total: progress.update(f"render {name}", done, total),
            )
    except (ValueError, FileExistsError) as error:
        raise ConfigError(str(error)) from error
    console.print(f"rendered {folder}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"next: ensemble-ad run --data {folder}", markup=False, highlight=False, soft_wrap=True)
