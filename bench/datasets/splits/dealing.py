"""Splits of datasets that have no published list: groups of images are dealt to the parts by a constant seed.

What a split does with an image depends on the image's name and group, never on the order of the files.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.datasets.base import PARTS, Split

if TYPE_CHECKING:
    from bench.datasets.base import Case

SHARES = {"train": 0.60, "val": 0.15, "test": 0.25}


def order(names: Sequence[str], seed: str) -> list[str]:
    """The names shuffled by a seed; taking one away leaves the others in their order."""
    return sorted(names, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).hexdigest())


def group_sizes(cases: Sequence[Case], group_of: Callable[[Case], str]) -> dict[str, Counter[int]]:
    """Group -> class -> how many of the cases; in segmentation all cases count as one class."""
    sizes: dict[str, Counter[int]] = {}
    for case in cases:
        sizes.setdefault(group_of(case), Counter())[case.label or 0] += 1
    return sizes


def deal(groups: Mapping[str, Mapping[int, int]], seed: str, slack: int | None = None) -> dict[str, str]:
    """Gives each group its part, about 60 / 15 / 25 % of each class: large groups first, equal ones shuffled.

    A group goes to the part that lacks the largest share of what it is to get, of those that have room for it (up to
    `slack` more than their share); where none has, to train.

    Args:
        groups: name -> class -> size. Sizes that do not count single images keep a split where one is missing.
        slack: the size of the largest group by default.

    Returns:
        Name -> part.
    """
    classes = sorted({label for sizes in groups.values() for label in sizes})
    slack = max(sum(sizes.values()) for sizes in groups.values()) if slack is None else slack
    total = {label: sum(sizes.get(label, 0) for sizes in groups.values()) for label in classes}
    goal = {part: {label: share * total[label] for label in classes} for part, share in SHARES.items()}
    dealt = {part: dict.fromkeys(classes, 0) for part in PARTS}
    parts: dict[str, str] = {}
    for name in sorted(order(list(groups), seed), key=lambda name: -sum(groups[name].values())):
        sizes = groups[name]
        part = max(
            (p for p in PARTS if all(dealt[p][k] + n <= goal[p][k] + slack for k, n in sizes.items())),
            key=lambda p: sum(1 - dealt[p][k] / goal[p][k] for k in sizes),
            default="train",
        )
        for label, n in sizes.items():
            dealt[part][label] += n
        parts[name] = part
    return parts


def deal_randomly(names: Mapping[int, Sequence[str]], seed: str) -> dict[str, str]:
    """Name -> part: 20 % of each class test and a tenth of the rest validates, whatever images resemble each other.

    Args:
        names: class -> names of its images.
    """
    parts: dict[str, str] = {}
    for members in names.values():
        shuffled = order(members, seed)
        test = round(0.2 * len(shuffled))
        val = round(0.1 * (len(shuffled) - test))
        for i, name in enumerate(shuffled):
            parts[name] = "test" if i < test else "val" if i < test + val else "train"
    return parts


def random_split(cases: Sequence[Case], name: str, source: str, flag: str, seed: str, **fields: Any) -> Split:
    """A split by case that `deal_randomly` makes of the images; its flag says why it leaks."""
    names: dict[int, list[str]] = {}
    for case in cases:
        names.setdefault(case.label or 0, []).append(case.case)
    parts = by_part([case.case for case in cases], deal_randomly(names, seed).__getitem__)
    return Split(name, source, parts, flag=flag, by_case=True, **fields)


def by_part(names: Sequence[str], part_of: Callable[[str], str]) -> dict[str, tuple[str, ...]]:
    """The names of each part, in their own order."""
    return {part: tuple(name for name in names if part_of(name) == part) for part in PARTS}
