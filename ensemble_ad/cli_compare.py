"""`ensemble-ad compare`: which detector is better, and can that be told?"""

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console


def compare(
    records: Annotated[
        list[Path], typer.Argument(metavar="RUN|SURVEY...", help="Run folders, folders of surveys, or both.")
    ],
    out: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("out/compare"),
    resamples: Annotated[int, typer.Option(help="How often the test pictures are drawn again.")] = 2000,
    seed: Annotated[int, typer.Option(help="Of the drawing; has nothing to do with the detectors' seeds.")] = 0,
    level: Annotated[float, typer.Option(help="Share of cases in which an interval shall hold the truth.")] = 0.95,
) -> None:
    """Compare detectors on the same test pictures: intervals, tests over classes, figures.

    Runs of one detector with several seeds, or on several classes, are recognised as such.

    Examples:
    `ensemble-ad compare out/runs/screw_rack/*`

    `ensemble-ad compare out/survey --out out/compare`
    """
    from ensemble_ad.comparison.compare import compare as compare_records
    from ensemble_ad.comparison.reading import read_records
    from ensemble_ad.comparison.text import terminal_tables
    from ensemble_ad.comparison.writing import refuse_foreign, write_comparison
    from ensemble_ad.console import shown_progress

    console = Console()
    refuse_foreign(out)
    found, notes = read_records(records)
    with shown_progress(console) as progress:
        comparison = compare_records(found, resamples=resamples, seed=seed, level=level, progress=progress)
    write_comparison(comparison, out, shlex.join(["ensemble-ad", *sys.argv[1:]]))
    for table in terminal_tables(comparison):
        console.print(table)
    for note in (*notes, *comparison.notes):
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    console.print(f"{out / 'index.html'}, every metric in {out / 'compare.csv'}", markup=False, highlight=False)
