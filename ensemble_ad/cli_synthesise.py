"""`ensemble-ad data synthesise`: a class whose anomalies are made from its own normal pictures."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from ensemble_ad.cli_run import Cache


class SourceName(StrEnum):
    """Which normal pictures are edited."""

    VALIDATION = "validation"
    TRAIN = "train"


def synthesise(
    folder: Annotated[Path, typer.Argument(metavar="CLASS", help="Class folder in the LOCO layout, or MVTec AD's.")],
    out: Annotated[Path, typer.Argument(help="Class folder to be made.")],
    count: Annotated[int, typer.Option(help="Anomalies in all, half of them logical.")] = 60,
    seed: Annotated[int, typer.Option(help="The same seed gives the same pictures.")] = 0,
    kinds: Annotated[str | None, typer.Option(help="Names with commas between them.", show_default="all")] = None,
    source: Annotated[SourceName, typer.Option(help="The normal pictures that are edited.")] = SourceName.VALIDATION,
    cache: Cache = Path("out/cache"),
) -> None:
    """Make synthetic anomalies of both kinds, with exact masks, as a class of its own and a contact sheet to look at.

    Examples:
    `ensemble-ad data synthesise out/data/angle out/data/angle_synthetic`

    `ensemble-ad data synthesise out/data/angle out/missing --kinds missing,additional --count 20 --seed 3`
    """
    from data_loco import open_class
    from ensemble_ad.console import shown_progress
    from ensemble_ad.synthesis import complete_class, write_contact_sheet
    from ensemble_ad.synthesis import synthesise as make
    from extractors.runtime import Runtime, using

    console = Console()
    original = open_class(folder)
    wanted = None if kinds is None else [name.strip() for name in kinds.split(",") if name.strip()]
    with shown_progress(console) as progress, using(Runtime(cache=cache / "backbone")):
        made = make(original, out, kinds=wanted, count=count, seed=seed, source=source.value, progress=progress)
    write_contact_sheet(made, out / "contact_sheet.png")
    complete_class(original, out)
    for line in (*(f"note: {note}" for note in made.notes), f"made {out}", f"look at {out / 'contact_sheet.png'}"):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"next: ensemble-ad run --data {out}", markup=False, highlight=False, soft_wrap=True)
