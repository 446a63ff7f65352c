"""Which stored cells are meant by a name, a glob, a family, a config, or several wishes together."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest
from test_comparison import cell

from bench.errors import UserError
from bench.records.choice import Choice, canonical, listed

CELLS = pd.DataFrame(
    [
        cell("unet_s", 0),
        cell("unet_s", 1, status="failed"),
        cell("unet_s", 0, comparison="c2", preset="quick with steps=4, image_size=32"),
        cell("mednext_tiny", 0, family="proposed", version=5),
        cell("mednext_tiny[laffn=none,sem=none]", 0, family="proposed"),
        cell("net.py:MyNet", 0, family="other", version="a1b2"),
        cell("resnet10t", 3, dataset="msld", split="subject/5"),
    ]
)


@pytest.mark.parametrize(
    ("wishes", "count"),
    [
        ({}, 7),
        ({"models": "all,-unet_s"}, 4),
        ({"models": "-unet*"}, 4),
        ({"models": "mednext_tiny"}, 2),
        ({"models": "mednext_*"}, 2),
        ({"models": "mednext_tiny[sem=none,laffn=none]"}, 1),
        ({"models": "proposed,other"}, 3),
        ({"models": "my folder/net.py:MyNet"}, 1),
        ({"models": ["unet_s", "resnet10t"], "seeds": "0,"}, 2),
        ({"seeds": 1}, 5),
        ({"seeds": "0,3"}, 6),
        ({"dataset": "acdc,msld"}, 7),
        ({"dataset": "msld"}, 1),
        ({"split": "subject/5"}, 1),
        ({"preset": "quick with steps=4, image_size=32"}, 1),
        ({"version": "a1b2"}, 1),
        ({"version": 5}, 1),
        ({"status": "failed"}, 1),
    ],
)
def test_what_is_meant(wishes: dict[str, Any], count: int) -> None:
    assert len(Choice(**wishes).of(CELLS)) == count


@pytest.mark.parametrize(
    ("wishes", "line"),
    [
        ({"models": "unet"}, r"Unknown model among the records 'unet'\. Did you mean: unet_s\?"),
        ({"models": "-swin*"}, r"Unknown model to leave out among the records 'swin\*'"),
        ({"dataset": "acdc,msl"}, r"Unknown dataset among the records 'msl'\. Did you mean: msld\?"),
        ({"split": "random"}, "Unknown split among the records 'random'"),
        ({"version": 7}, "Unknown version among the records '7'"),
        ({"status": "done"}, "Unknown status 'done'. Known: complete, diverged, failed, pruned, unfinished"),
        ({"models": "unet_s", "dataset": "msld"}, "No stored cell is all of this: models unet_s, dataset msld"),
        ({"seeds": "x"}, "Expected --seeds to be a number"),
    ],
)
def test_what_nothing_is_ends_in_a_line_that_names_it(wishes: dict[str, Any], line: str) -> None:
    with pytest.raises(UserError, match=line):
        Choice(**wishes).of(CELLS)


def test_no_cells_at_all_are_no_mistake_of_the_choice() -> None:
    assert Choice(seeds=2).of(CELLS.iloc[:0]).empty


def test_names_are_listed_outside_of_brackets_and_configs_are_named() -> None:
    assert listed("a[x=1,y=(2,3)], b ,-c") == ["a[x=1,y=(2,3)]", "b", "-c"]
    assert canonical("lib/net.py:N[b=2,a=1]") == "net.py:N[a=1,b=2]"
    assert Choice("unet_s,m[b=2,a=1],-k[a=1]").configs == ["m[a=1,b=2]"]
