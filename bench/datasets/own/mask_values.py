"""What the values of a user's label maps stand for: seen in all of them once, then written into the description."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.datasets.cache.writing import read_ahead
from bench.datasets.own.items import Item
from bench.datasets.own.mask_files import COLOUR, MOST_IDS, WAY_OUT, check_palette_files, read_masks
from bench.datasets.readers.files import check_label
from bench.datasets.readers.meanings import check_palettes, even_levels
from bench.datasets.readers.nifti import is_nifti
from bench.datasets.readers.png_masks import Colours
from bench.errors import UserError

BACKGROUND = "background"
MOST_SMALL = 32  # greys up to it are class ids, beyond it levels that have to be named; our choice
MOST_OFFERED = 12  # more values than these are a picture's, not a label map's


class Resolved(NamedTuple):
    """What label maps were found to hold.

    Attributes:
        classes: names, the background's first.
        values: what stands for each class where that is not its id.
        holding: in how many label maps each class stands; empty: they were not read.
        notes: what else was seen, a sentence each.
    """

    classes: tuple[str, ...]
    values: dict[str, str]
    holding: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


def resolved(items: Sequence[Item], classes: tuple[str, ...], values: Mapping[str, str]) -> Resolved:
    """The classes of label maps, as their values and the user's words tell them.

    Args:
        classes: names that the user gave, or the files; empty: none.
        values: what the user said stands for a class; `{}`: the values tell.

    Raises:
        UserError: values that tell no class, with the mapping that could be meant.
    """
    if values:
        check_palette_files(items)
        return Resolved(classes, dict(values))
    pixels, holders = _held(items)
    seen = sorted(pixels)
    notes = ("label maps are JPEG: two classes, parted at level 128",) if _any_jpeg(items) else ()
    if seen[-1] >= COLOUR:
        raise _offering(items, pixels, holders, classes)
    if seen == [0]:
        raise UserError("Expected label maps with more than background, but all are 0 throughout.")
    ids_only = all(item.mask is not None and is_nifti(item.mask) for item in items)
    levels = _levels(seen, 0 if ids_only else len(classes))
    if not levels and not ids_only and seen[-1] >= max(MOST_SMALL, len(classes)):
        raise _offering(items, pixels, holders, classes)
    if ids_only and not levels and len(classes) <= seen[-1] and 2 * len({*seen} - {0}) < seen[-1]:
        raise _sparse(items, pixels, holders, classes)
    count = max(levels.values() or seen) + 1
    names = _names(count, classes, seen if levels else (), lambda: _rarest_text(items, pixels, holders))
    holding: dict[int, set[int]] = {}
    for value, of_value in holders.items():
        holding.setdefault(levels.get(value, value), set()).update(of_value)
    counts = tuple(len(holding.get(k, ())) for k in range(len(names)))
    return Resolved(names, {names[k]: _standing(k, levels, seen) for k in sorted(set(levels.values()))}, counts, notes)


def _standing(k: int, levels: Mapping[int, int], seen: Sequence[int]) -> str:
    """The levels of a class that were seen, as 127|128 of one between; where none was, the first."""
    of_class = [level for level, number in levels.items() if number == k]
    return "|".join(str(level) for level in of_class if level in seen) or str(of_class[0])


def _levels(seen: Sequence[int], classes: int) -> dict[int, int]:
    """Level -> class where greys from black to white stand for classes; else {}."""
    if set(seen) <= {0, 255}:
        return {0: 0, 255: 1}
    for count in (classes, classes + 1):
        if count > 2 and (levels := even_levels([seen], count)):
            return levels
    return {}


def _names(count: int, classes: tuple[str, ...], levels: Sequence[int], rarest: Callable[[], str]) -> tuple[str, ...]:
    """The classes' names: the user's, with the background before them where they leave it out, else numbers.

    Args:
        levels: the grey levels that were seen, where they stand for classes: then each has to have one.
        rarest: says where the rarest value stands, which may be a slip.
    """
    if not classes:
        return (BACKGROUND, "foreground") if count == 2 else (BACKGROUND, *(f"class {k}" for k in range(1, count)))
    if len(classes) == count - 1 and classes[0].lower() != BACKGROUND:
        return (BACKGROUND, *classes)
    if len(classes) < count:
        raise UserError(
            f"Expected names of {count} classes, the background's first, since label maps go up to {count - 1}, but "
            f"got {', '.join(classes)}: {rarest()}."
        )
    if levels and len(classes) > count:
        raise UserError(
            f"Expected names of {count} classes, since label maps have the values {', '.join(map(str, levels))}, but "
            f"got {len(classes)}: {', '.join(classes)}; leave out those that no map has, or say what stands for each "
            "with NAME=VALUE."
        )
    return classes


def _counted(item: Item) -> tuple[dict[int, int], list[tuple[Path, Colours]]]:
    """Value -> its pixels in the label maps of an image, and the palettes of these."""
    array, palettes = read_masks(item)
    values, counts = np.unique(array, return_counts=True)
    if len(values) > MOST_IDS:
        raise UserError(f"Expected {item.mask} to be a label map, but it has {len(values)} colours: {WAY_OUT}.")
    return dict(zip(values.tolist(), counts.tolist(), strict=True)), palettes


def _any_jpeg(items: Sequence[Item]) -> bool:
    return any(item.mask is not None and item.mask.suffix.lower() in (".jpg", ".jpeg") for item in items)


def _held(items: Sequence[Item]) -> tuple[Counter[int], dict[int, list[int]]]:
    """Value -> its pixels in all label maps, and which of the items hold it.

    Raises:
        UserError: a map that cannot be read, or palettes in which an id is two colours.
    """
    pixels: Counter[int] = Counter()
    holders: dict[int, list[int]] = {}
    palettes: list[tuple[Path, Colours]] = []
    for i, (of_mask, of_files) in enumerate(read_ahead([partial(_counted, item) for item in items])):
        pixels.update(of_mask)
        palettes += of_files
        for value in of_mask:
            holders.setdefault(value, []).append(i)
    check_palettes(palettes)
    return pixels, holders


def _rarest(pixels: Mapping[int, int], holders: Mapping[int, Sequence[int]]) -> int:
    return min(pixels, key=lambda value: (len(holders[value]), pixels[value]))


def _rarest_text(items: Sequence[Item], pixels: Mapping[int, int], holders: Mapping[int, Sequence[int]]) -> str:
    """In how many label maps the rarest value stands, and the first of them."""
    rarest = _rarest(pixels, holders)
    held, item = holders[rarest], items[holders[rarest][0]]
    count = _counted(item)[0][rarest]
    such = f"{'such as ' if len(held) > 1 else ''}{item.mask}{', {} {}'.format(*item.row) if item.row else ''}"
    words = f"{such}, {count:,} pixel{'s' if count > 1 else ''}"
    return f"the rarest value, {_text(rarest)}, stands in {len(held):,} of {len(items):,} masks ({words})"


def _sparse(
    items: Sequence[Item], pixels: Counter[int], holders: Mapping[int, Sequence[int]], classes: tuple[str, ...]
) -> UserError:
    """The error for ids of which most occur nowhere, with the mapping that names those that do."""
    seen = sorted({*pixels} - {0})
    stands = [0, *seen]
    names = classes if len(classes) == len(stands) else (BACKGROUND, *_foreground(len(seen), classes))
    offered = ",".join(f"{name}={value}" for name, value in zip(names[:MOST_OFFERED], stands, strict=False))
    offered += ",..." if len(stands) > MOST_OFFERED else ""
    held = f"{len(seen)} id{'s' * (len(seen) > 1)} ({', '.join(map(str, seen[:MOST_OFFERED]))}"
    held += ", ...)" if len(seen) > MOST_OFFERED else ")"
    return UserError(
        f"Expected label maps of class ids without gaps (0, 1, 2, ...), but from 1 to {seen[-1]} they hold {held} "
        f"alone; {_rarest_text(items, pixels, holders)}: say what each is, such as --classes '{offered}', or number "
        "them without gaps."
    )


def _offering(
    items: Sequence[Item], pixels: Counter[int], holders: Mapping[int, Sequence[int]], classes: tuple[str, ...]
) -> UserError:
    """The error for values that say no class by themselves, with the mapping that the user may mean."""
    shown = [_text(value) for value, _ in pixels.most_common(MOST_OFFERED)]
    rarest = _rarest(pixels, holders)
    first = items[holders[rarest][0]].mask
    if len(pixels) > MOST_OFFERED:
        return UserError(
            f"Expected label maps like {first} to have few values, but they have {len(pixels)} "
            f"({', '.join(shown)}, ...), as pictures and resampled maps do: {WAY_OUT}."
        )
    stands = shown
    if sorted(pixels) == [0, 1, 255] and len(classes) < 3 and not {*holders[1]} & {*holders[255]}:
        stands = ["0", "1|255"]  # some maps of ids, others of black and white
    names = classes if len(classes) == len(stands) else (BACKGROUND, *_foreground(len(stands) - 1, classes))
    offered = ",".join(f"{name}={value}" for name, value in zip(names, stands, strict=True))
    what = "colours" if max(pixels) >= COLOUR else "grey levels"
    return UserError(
        f"Expected label maps of class ids, but they hold {what} ({', '.join(shown)}, the most frequent first; "
        f"{_text(rarest)} in {len(holders[rarest])} of {len(items)}, such as {first}): say what each is, background "
        f"first, such as --classes '{offered}'."
    )


def _foreground(count: int, classes: tuple[str, ...]) -> tuple[str, ...]:
    fitting = len(classes) == count and classes[0].lower() != BACKGROUND
    return classes if fitting else tuple(f"class{k}" for k in range(1, count + 1))


def _text(value: int) -> str:
    return f"#{value - COLOUR:06x}" if value >= COLOUR else str(value)


def class_ids(item: Item, array: np.ndarray, classes: Sequence[str], values: Mapping[str, str]) -> np.ndarray:
    """Values of a label map -> class ids, uint8 of the same shape.

    Raises:
        UserError: a value that stands for no class.
    """
    if not values:
        assert item.mask is not None
        return check_label(item.mask, array, array.shape, len(classes))
    ids = np.full(array.shape, 255, np.uint8)
    for k, name in enumerate(classes):
        for stands in values.get(name, "").split("|"):
            ids[array == _packed(stands, array)] = k
    strange = array[ids == 255]
    if strange.size and len(classes) < 256:
        listed = ", ".join(f"{name} {stands}" for name, stands in values.items())
        raise UserError(
            f"Expected {item.mask} to have the values of classes alone ({listed}), but found {_text(int(strange[0]))} "
            f"({strange.size:,} pixels)."
        )
    return ids


def _packed(stands: str, array: np.ndarray) -> int:
    """What stands for a class as `mask_array` has it; of greys in a map of colours the colour."""
    if stands.startswith("#"):
        packed = int(stands[1:], 16)
        grey = packed >> 16
        return packed + COLOUR if array.dtype == np.uint32 else grey if packed == grey * 0x010101 else -1
    value = int(stands)
    return value * 0x010101 + COLOUR if array.dtype == np.uint32 else value
