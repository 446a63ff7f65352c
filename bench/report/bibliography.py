"""Citations of the networks and data sets of tables as BibTeX, and of the sources of published figures."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from bench.analysis.certainty import bare_name
from bench.records.keys import dataset_of
from bench.report.escaping import latex_text

if TYPE_CHECKING:
    from bench.analysis.comparison import Table
    from bench.analysis.literature import Published

_OWNERS = re.compile(r",?\n  medbench = \{([^}]*)\}")
DATA = "data:"


@dataclass(frozen=True)
class Cited:
    """An entry of the package's citations: its key, its BibTeX, and the networks and data sets that it is of."""

    key: str
    text: str
    owners: frozenset[str]


@cache
def citations() -> tuple[Cited, ...]:
    """All entries that the package ships."""
    text = (files("bench.report") / "citations.bib").read_text(encoding="utf-8")
    found = []
    for entry in re.findall(r"^@.*?^\}$", text, re.M | re.S):
        owners = _OWNERS.search(entry)
        names = frozenset(re.split(r",\s*", owners[1])) if owners else frozenset()
        key = entry.partition("{")[2].partition(",")[0]
        found.append(Cited(key, _OWNERS.sub("", entry), names))
    return tuple(found)


def keys_of(table: Table) -> list[str]:
    """The keys of the citations of a table's networks and data set, in alphabetical order."""
    owners = {_plain(str(model)) for model in table.figures["model"]}
    owners.add(DATA + dataset_of(table.name))
    return sorted(cited.key for cited in citations() if owners & cited.owners)


def _plain(model: str) -> str:
    """A row's network under the name of its published size: `unet` of `unet_s[up=resize] v2`."""
    return bare_name(model).partition("[")[0].removesuffix("_s")


def bibliography(tables: Sequence[Table], published: Iterable[Published] = ()) -> str:
    """BibTeX of all networks and data sets of the tables, and of what stands below them.

    A network without an entry (a third party's) is named in a comment.

    Args:
        published: the figures that stand below the tables; where one has no citation its source is an entry.
    """
    known = {cited.key: cited.text for cited in citations()}
    keys = {key for table in tables for key in keys_of(table)}
    sources = {}
    for figure in published:
        if figure.key in known:
            keys.add(figure.key)
        else:
            sources[figure.key or source_key(figure)] = figure.source
    owned = {owner for cited in citations() for owner in cited.owners}
    models = {str(model) for table in tables for model in table.figures["model"]}
    without = sorted(model for model in models if _plain(model) not in owned and _plain(model) != "chance")
    lines = [f"% No citation is known of {model}." for model in without]
    entries = [known[key] for key in sorted(keys)]
    for key, text in sorted(sources.items()):
        words = latex_text(text).replace("/", "/\\allowbreak{}")
        entries.append(f"@misc{{{key},\n  key = {{{key}}},\n  howpublished = {{{words}}}\n}}")
    return "\n\n".join([*lines, *entries]) + "\n"


def source_key(figure: Published) -> str:
    """The key of an entry for a figure of which the source alone is known."""
    return "source:" + re.sub(r"[^a-z0-9]+", "-", figure.source.lower()).strip("-")[:40]
