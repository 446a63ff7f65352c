"""What the values of whole folders of label maps stand for, where a file alone does not tell."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np

from bench.datasets.readers.png_masks import Colours, listed
from bench.errors import UserError

WHITE = 255
MOST_LEVELS = 8  # evenly spaced greys are no longer told from ids by eye beyond it; our choice


def check_palettes(palettes: Iterable[tuple[Path, Colours]]) -> Colours:
    """All colours of the files of one comparison by their index, which is the class id.

    Raises:
        UserError: an index that is two colours, or a colour that is two indices: then no index is an id.
    """
    colour_of: dict[int, tuple[tuple[int, int, int], Path]] = {}
    index_of: dict[tuple[int, int, int], tuple[int, Path]] = {}
    for path, colours in palettes:
        for index, colour in colours.items():
            earlier_colour, coloured = colour_of.setdefault(index, (colour, path))
            earlier_index, indexed = index_of.setdefault(colour, (index, path))
            if earlier_colour != colour or earlier_index != index:
                if earlier_colour != colour:
                    earlier, earlier_path = {index: earlier_colour}, coloured
                else:
                    earlier, earlier_path = {earlier_index: colour}, indexed
                raise UserError(
                    f"Expected one palette in all label maps that are compared, but found {listed({index: colour})} in "
                    f"{path}, but {listed(earlier)} in {earlier_path}: write class ids as grey levels."
                )
    return {index: colour for index, (colour, _) in sorted(colour_of.items())}


def even_levels(values: Iterable[Collection[int]], classes: int | None) -> dict[int, int]:
    """Grey -> class id where folders hold evenly spaced greys, black to white, in place of ids; else {}.

    0 and 255 are two classes; 0, 127 or 128, and 255 are three where three are named. Where a level between is in no
    folder, nothing tells whether 255 is class 1 or the last of several.

    Args:
        values: of each folder; those of ids alone say nothing.
        classes: how many there are, the background included; None: not known, two are tried.
    """
    count = classes or 2
    if not 2 <= count <= MOST_LEVELS:
        return {}
    step = WHITE / (count - 1)
    levels = {grey: k for k in range(count) for grey in (math.floor(k * step), math.ceil(k * step))}
    greys = {value for folder in values if max(folder, default=0) >= count for value in folder}
    return levels if greys <= set(levels) and (count == 2 or greys - {0, WHITE}) else {}


def class_table(values: Collection[int], classes: int | None, levels: dict[int, int]) -> np.ndarray:
    """(256,) uint8: which class id each value of a folder is; `levels` as `even_levels` has them for all folders."""
    table = np.arange(256, dtype=np.uint8)
    if levels and max(values, default=0) >= (classes or 2):
        table[list(levels)] = list(levels.values())
    return table
