"""Which of the stored cells are meant: by model, data set, preset, split, seed, version and status."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import UserError, unknown
from bench.records.damage import STATUSES
from bench.records.seeds import parse_seeds

if TYPE_CHECKING:
    import pandas as pd

Names = str | Sequence[str] | None
FAMILIES = ("proposed", "cnn", "transformer", "hybrid", "chance", "other")
UNFINISHED = "unfinished"  # the status of a cell that was begun and has no record
EVERY = ("all", "zoo")  # of stored cells there is one list


@dataclass(frozen=True)
class Choice:
    """What cells must be to be meant; None: whatever.

    Attributes:
        models: names, globs, families, `name[field=value]`, `all`, and `-name` for those that are not meant; by commas,
            or in a list. A plain name or glob means every config of a model.
        dataset: names as tables say them (`acdc`, `acdc-phantom`), by commas, or in a list.
        preset: one, as captions name it (`quick with steps=50`).
        split: names, `blocks/5` for folds, by commas, or in a list.
        seeds: how many from 0 on (`3`), or which (`0,4`).
        version: of the model, as records have it.
        status: `complete`, `failed`, `diverged`, `pruned`, or `unfinished` where cells without a record are listed.
    """

    models: Names = None
    dataset: Names = None
    preset: str | None = None
    split: Names = None
    seeds: str | int | Sequence[int] | None = None
    version: int | str | None = None
    status: str | None = None

    @property
    def configs(self) -> list[str]:
        """The names with a config, `mednext_tiny[sem=none]`: arms of an ablation that are asked for by name."""
        return [canonical(name) for name in listed(self.models) if "[" in name and not name.startswith("-")]

    def of(self, cells: pd.DataFrame) -> pd.DataFrame:
        """The rows of `bench.records.store.load_cells` that are meant.

        Raises:
            UserError: a name that no cell has, or several wishes that no cell fulfils together.
        """
        kept = cells
        for column, wish in (("dataset", self.dataset), ("split", self.split)):
            if wish is not None:
                kept = kept[kept[column].isin(_known(column, listed(wish), cells[column]))]
        for column, word in (("preset", self.preset), ("version", self.version)):
            if word is not None:
                known = cells[column].astype(str)
                kept = kept[known[kept.index].isin(_known(column, [str(word)], known))]
        if self.status is not None:
            if self.status not in (*STATUSES, UNFINISHED):
                raise unknown("status", self.status, (*STATUSES, UNFINISHED))
            kept = kept[kept["status"] == self.status]
        if self.seeds is not None:
            kept = kept[kept["seed"].isin(parse_seeds(self.seeds, 1))]
        kept = kept[kept["model"].isin(self._models(cells))]
        if len(cells) and kept.empty:
            raise UserError(f"No stored cell is all of this: {self.text}. Leave out one of them.")
        return kept

    def _models(self, cells: pd.DataFrame) -> Collection[str]:
        family = dict(zip(cells["model"].tolist(), cells["family"].tolist(), strict=True))
        items = listed(self.models)
        wanted = [item for item in items if not item.startswith("-")] or ["all"]
        chosen = {name for item in wanted for name in _matching("model", item, family)}
        for item in (item[1:] for item in items if item.startswith("-")):
            chosen -= set(_matching("model to leave out", item, family))
        return chosen

    @property
    def text(self) -> str:
        """The wishes in words, `dataset acdc, seeds 0,1`."""
        wishes = {name: wish for name, wish in vars(self).items() if wish is not None}
        return ", ".join(
            f"{name} {w if isinstance(w, str | int) else ','.join(map(str, w))}" for name, w in wishes.items()
        )


ALL = Choice()


def listed(names: Names) -> list[str]:
    """Names in a text, by commas that are outside of brackets, or in a list, where each is one."""
    if names is None or not isinstance(names, str):
        return [str(name) for name in names or ()]
    parts, depth = [""], 0
    for c in names:
        depth += (c in "[({") - (c in "])}")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return [part.strip() for part in parts if part.strip()]


def canonical(name: str) -> str:
    """A name as records have it: its config's fields in alphabetical order, the file of its code without folders."""
    plain, bracket, config = name.partition("[")
    fields = ",".join(sorted(listed(config.removesuffix("]"))))
    folder, colon, network = plain.rpartition(":")
    return f"{folder.rpartition('/')[2]}{colon}{network}" + (f"[{fields}]" if bracket else "")


def _known(column: str, names: Sequence[str], values: pd.Series[str]) -> Sequence[str]:
    for name in names:
        if name not in set(values):
            raise unknown(f"{column} among the records", name, set(values))
    return names


def _matching(kind: str, item: str, family: dict[str, str]) -> list[str]:
    """The stored models that a name, a glob, a family or `all` means. Raises UserError where there is none."""
    if item in EVERY:
        return list(family)
    if item in FAMILIES:
        return [name for name in family if family[name] == item]
    wanted = canonical(item)
    means: Callable[[str], bool] = (
        (lambda name: name == wanted) if "[" in item else (lambda name: fnmatch.fnmatch(name.partition("[")[0], wanted))
    )
    if not (found := [name for name in family if means(name)]):
        raise unknown(f"{kind} among the records", item, set(family))
    return found
