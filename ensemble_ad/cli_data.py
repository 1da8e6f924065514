"""`ensemble-ad data ...`: look at class folders, and render some."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from ensemble_ad.cli_synthesise import synthesise

if TYPE_CHECKING:
    from data_loco.findings import CheckReport, DefectCount, Finding

data = typer.Typer(no_args_is_help=True, help="Check class folders, render metal-part classes.")
data.command("synthesise")(synthesise)


@data.command("check")
def check(
    folder: Annotated[Path, typer.Argument(help="Class folder in the LOCO layout or MVTec AD's, or a folder of them.")],
    quick: Annotated[
        bool, typer.Option("--quick", help="Headers, masks and hashes only; pictures are not decoded.")
    ] = False,
) -> None:
    """Say everything that is wrong with a class folder, or with each class of a folder; exit status 1 on errors.

    Examples:
    `ensemble-ad data check out/data/flat_connector`

    `ensemble-ad data check mvtec_loco_anomaly_detection --quick`
    """
    from data_loco import check_class
    from data_loco.loco import class_folders
    from data_loco.mvtec_loco import absent_classes

    console = Console()
    classes = class_folders(folder)
    reports = []
    for root in classes or (folder,):
        if classes:
            console.print(f"\n{root.name}", style="bold", markup=False, highlight=False)
        reports.append(check_class(root, quick=quick))
        _print_report(console, reports[-1])
    if classes:
        absent = list(absent_classes(folder))
        console.print()
        _print_findings(console, absent)
        console.print(_summary(reports, len(absent)), markup=False, highlight=False, soft_wrap=True)
    if any(report.errors for report in reports):
        raise typer.Exit(1)


def _print_report(console: Console, report: "CheckReport") -> None:
    _print_findings(console, report.findings)
    for note in report.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    if report.errors:
        console.print(f"{len(report.errors)} errors, {len(report.warnings)} warnings")
        return
    splits = Table(title=f"{report.root.resolve().name}: pictures", title_justify="left")
    for heading in ("split", "kind", "pictures"):
        splits.add_column(heading, justify="right" if heading == "pictures" else "left")
    for row in report.splits:
        splits.add_row(row.split, row.kind, str(row.pictures))
    console.print(splits)
    if report.defects:
        console.print(_defect_table(report.defects))
    console.print(f"no errors, {len(report.warnings)} warnings")


def _print_findings(console: Console, findings: "Iterable[Finding]") -> None:
    for finding in findings:
        colour = "red" if finding.level == "error" else "yellow"
        console.print(f"[{colour}]{finding.level}[/{colour}] ", end="")
        console.print(
            f"{finding.path}: {finding.reason}; {finding.cure}", markup=False, highlight=False, soft_wrap=True
        )


def _summary(reports: "Sequence[CheckReport]", warnings: int) -> str:
    """Pictures of all classes together by split and kind, errors, and warnings beside `warnings` of the parent."""
    pictures: Counter[str] = Counter()
    for row in (row for report in reports for row in report.splits):
        pictures[f"{row.split}/{row.kind}"] += row.pictures
    counted = ", ".join(f"{split} {count}" for split, count in pictures.items())
    errors = sum(len(report.errors) for report in reports)
    warnings += sum(len(report.warnings) for report in reports)
    return f"{len(reports)} classes: {counted}; {errors or 'no'} errors, {warnings} warnings"


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
