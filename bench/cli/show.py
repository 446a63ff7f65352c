"""`medbench show`: the test cases that models do worst on, as pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from bench.cli.options import DATA_ROOT, RESULTS, Option, gathered
from bench.cli.predict import TRUST
from bench.cli.terminal import PATH, TEXT, make_console, say, wide_option
from bench.errors import UserError

if TYPE_CHECKING:
    from bench.analysis.asked_runs import Asked
    from bench.analysis.gallery import Gallery

COUNT = click.IntRange(1, 100)
ASKED: Option = gathered(
    "asked",
    "bench.analysis.asked_runs:Asked",
    click.argument("dataset", type=TEXT),
    click.option("--models", type=TEXT, help="Names and globs, as records have them.  [all but chance and arms]"),
    click.option("--preset", type=TEXT, help="Of this preset, as captions name it (quick with steps=50)."),
    click.option("--split", type=TEXT, help="Of this split."),
    click.option("--seed", type=click.IntRange(0), help="Of the runs.  [the lowest that all models have]"),
    click.option("--worst", type=COUNT, metavar="N", help="The N worst cases, by the mean over the models.  [3]"),
    click.option("--best", type=COUNT, metavar="N", help="The N best cases."),
    click.option("--median", type=COUNT, metavar="N", help="N cases in the middle."),
    click.option("--case", "cases", multiple=True, type=TEXT, help="This case; again for others."),
)


@click.command()
@ASKED
@click.option("--output", type=PATH, required=True, metavar="DIR", help="Where the pictures are written.")
@click.option("--no-maps", is_flag=True, help="No occlusion maps of classifiers, which load their networks.")
@TRUST
@RESULTS
@DATA_ROOT
@wide_option
def show(
    asked: Asked,
    output: Path,
    no_maps: bool,
    trust: Path | None,
    results: Path,
    data_root: str | None,
    wide: bool,
) -> None:
    """Draw test cases: image, reference, each model's contours and errors, or its probabilities and an occlusion map.

    \b
    Example:
      medbench show acdc-phantom --worst 3 --output cases
    """
    from bench.analysis.gallery import gallery
    from bench.report.overlays import draw_gallery, gallery_sheet
    from bench.report.sheets import print_sheets

    shown = gallery(results, asked, data_root)
    maps, notes = ({}, []) if no_maps else _maps(shown, trust)
    paths = draw_gallery(shown, output, maps)
    print_sheets(make_console(wide), [gallery_sheet(shown)])
    for line in notes:
        say(line, 0)
    for path in paths:
        click.echo(path)


def _maps(shown: Gallery, trust: Path | None) -> tuple[dict[tuple[str, str], Any], list[str]]:
    """Occlusion maps of the class that each classifier said, where its weights are there; else why not, in lines."""
    maps: dict[tuple[str, str], Any] = {}
    notes: list[str] = []
    networks: dict[Path, Any] = {}
    for scene in shown.scenes:
        for shot in scene.shots if isinstance(scene.truth, int) else ():
            if shot.folder not in networks:
                networks[shot.folder] = _loaded(shot.folder, trust, notes)
            if networks[shot.folder] is not None:
                from bench.runs.occlusion import occlusion_map

                image, said = shown.data.image(scene.index), int(shot.answer.argmax())
                maps[scene.case, shot.title] = occlusion_map(networks[shot.folder], image, said)
    return maps, notes


def _loaded(folder: Path, trust: Path | None, notes: list[str]) -> Any:
    from bench.runs.trained import load_trained

    try:
        return load_trained(folder, trust=trust)
    except UserError as error:
        notes.append(f"No occlusion map: {error}")
        return None
