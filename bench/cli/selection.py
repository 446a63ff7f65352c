"""Options of a report's selection: which of the stored cells, which of their figures, in what order."""

from __future__ import annotations

import click

from bench.cli.options import RESULTS, Option, gathered
from bench.cli.terminal import TEXT

MODELS = click.option("--models", type=TEXT, help="Names, globs, families, name[field=value], -name; by commas.  [all]")
DATASET = click.option("--dataset", type=TEXT, help="Only tables of these, by commas (acdc, acdc-phantom).")
PRESET = click.option("--preset", type=TEXT, help="Only tables of this one, as captions name it (quick with steps=50).")
SPLIT = click.option("--split", type=TEXT, help="Only tables of these splits, by commas.")
SEEDS = click.option("--seeds", type=TEXT, help="Only these: how many (3) or which (0,4,).")
SELECTION: Option = gathered(
    "selection",
    "bench.report.selection:Selection",
    RESULTS,
    MODELS,
    DATASET,
    PRESET,
    SPLIT,
    SEEDS,
    click.option("--reference", type=TEXT, metavar="NAME", help="The differences' model.  [the proposed one]"),
    click.option("--columns", type=TEXT, help="dice,hd95,params,macs,speed,...: these alone, in this order."),
    click.option("--sort", type=TEXT, metavar="COLUMN", help="Rows by it, by name or by family.  [by merit]"),
    click.option("--top", type=click.IntRange(2), metavar="N", help="The first N rows, the proposed model among them."),
    click.option("--cases", type=click.IntRange(0), default=0, metavar="N", help="The N hardest cases too.  [0]"),
    click.option(
        "--literature",
        type=TEXT,
        is_flag=False,
        flag_value="published",
        metavar="[FILE]",
        help="Published figures below the tables: the package's, or a CSV's.",
    ),
    click.option("--classes", is_flag=True, help="Columns per class as well: Dice, or sensitivity."),
    click.option("--arms", is_flag=True, help="Arms of ablations as rows too."),
    click.option("--tests", is_flag=True, help="p-values too: of these trained networks only."),
    click.option(
        "--policy", type=click.Choice(["strict", "transunet"]), help="Of empty masks.  [strict; with literature: its]"
    ),
    click.option("--definition", type=click.Choice(["pooled", "max"]), default="pooled", help="Of HD95.  [pooled]"),
    click.option(
        "--weights",
        type=click.Choice(["best-val", "last", "average-best-val", "average-last"]),
        help="Whose.  [average-best-val where weights were averaged, else best-val]",
    ),
)
