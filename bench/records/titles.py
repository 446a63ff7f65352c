"""What tables call the networks of a results folder, where the user said so after they were trained.

`<results>/titles.json` holds a title and a family for a network's name. Neither is part of a cell, so that nothing is
trained anew; the records keep what they were written with.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.records.damage import Damaged, check_schema, fault, read_json

if TYPE_CHECKING:
    import pandas as pd

FILE, SCHEMA = "titles.json", 1
SHOWN = ("title", "family")  # the columns of cells that are shown otherwise


def read_titles(results: Path) -> dict[str, dict[str, str]]:
    """Network's name -> `title`, `family` or both, and `from`: `user`, or `code` where its own code says so now.

    Raises:
        Damaged: the file cannot be read, or holds something else.
    """
    path = results / FILE
    try:
        content = read_json(path)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    check_schema(path, content, "file of titles", SCHEMA, ["titles"])
    shape = {"title?": (str,), "family?": (str,), "from": (str,)}
    titles: Any = content["titles"]
    for shown in titles.values() if isinstance(titles, dict) else [titles]:
        if odd := fault(shown, shape):
            raise Damaged(path, f"{odd}: mend it, or move it away and give --title again.")
    return dict(titles)


def retitled(cells: pd.DataFrame, results: Path) -> tuple[pd.DataFrame, list[str]]:
    """The cells with the titles and families of the results folder, and a line where its file cannot be read.

    A name with a config goes before the bare name.

    Args:
        cells: rows with `model`, `title` and `family`.
    """
    try:
        titles = read_titles(results)
    except Damaged as error:
        return cells, [f"Titles are those of the records: {error}"]
    if not titles:
        return cells, []
    columns = {}
    for column in SHOWN:
        rows = zip(cells["model"], cells[column], strict=True)
        columns[column] = [shown_of(titles, model).get(column, stored) for model, stored in rows]
    return cells.assign(**columns), []


def shown_of(titles: dict[str, dict[str, str]], model: str) -> dict[str, str]:
    """What is said of a model, its own config's title before that of its bare name."""
    return titles.get(model.partition("[")[0], {}) | titles.get(model, {})
