"""Titles and families of networks that the user brings: given by option, or followed from their code as it is now.

They are written into `<results>/titles.json` (`bench.records.titles`), which tables read; no cell knows them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from filelock import FileLock

from bench.errors import UserError, unknown
from bench.records import store
from bench.records.damage import Damaged, read_json
from bench.records.titles import FILE, SCHEMA, read_titles, shown_of
from bench.runs.job import Job
from bench.zoo.catalogue import catalogue
from bench.zoo.entry import Family
from bench.zoo.libraries import is_of_library
from bench.zoo.registry import canonical_name, parse_model


@dataclass(frozen=True)
class Naming:
    """What `--title NAME=TITLE` and `--family NAME=FAMILY` say; an empty title is taken back."""

    title: Sequence[str] = ()
    family: Sequence[str] = ()

    def keep(self, results: str | Path, models: Collection[str] = ()) -> None:
        """Writes them into a results folder's file of titles.

        Args:
            models: names that are about to have records, beside those that have some.

        Raises:
            UserError: a text of another form, a name or a family that there is not, a network of medbench's own, or one
                that has no record.
        """
        said: dict[str, dict[str, str]] = {}
        for option, texts in (("title", self.title), ("family", self.family)):
            for text in texts:
                name, value = _split(option, text)
                if option == "family" and value and value not in get_args(Family):
                    raise unknown("family", value, get_args(Family))
                shown = said.setdefault(_named(name), {"from": "user"})
                if shown.setdefault(option, value) != value:
                    raise UserError(f"Expected one --{option} of {name}, but got {shown[option]!r} and {value!r}.")
        if not said:
            return
        known = {model.partition("[")[0] for model in (*models, *_stored_models(Path(results)))}
        for name in said:
            if name.partition("[")[0] not in known:
                raise unknown("model among the records", name, known)
        _write(Path(results), said)


def _split(option: str, text: str) -> tuple[str, str]:
    """`net.py:Net[width=8]=Mine` -> the name and the rest after the first = outside of brackets."""
    end = text.find("]", text.find("[")) + 1 if "[" in text.partition("=")[0] else 0
    place = text.find("=", end)
    if place < 1:
        raise UserError(f"Expected --{option} NAME={option.upper()}, but got {text!r}.")
    return text[:place].strip(), text[place + 1 :].strip()


def _named(name: str) -> str:
    """A network's name as records have it. A file's is not imported: it may be gone since it was trained."""
    if ":" in name and not is_of_library(name):
        place, colon, rest = name.rpartition(".py:") if ".py:" in name else name.rpartition(":")
        return f"{Path(place).name if colon == '.py:' else place}{colon}{rest}"
    entry, config = parse_model(name)
    if entry.name in catalogue()["entries"]:
        raise UserError(f"{entry.name} is a network of medbench: its title says what it is, and stays. Title your own.")
    return canonical_name(entry, config)


def _stored_models(results: Path) -> set[str]:
    """The names of models that have records in a results folder; those that cannot be read are passed over."""
    names = set()
    for folder in store.find_records(results) if results.is_dir() else ():
        with contextlib.suppress(Damaged, FileNotFoundError, KeyError, TypeError):
            names.add(str(read_json(folder / "record.json")["model"]["name"]))
    return names


def _write(results: Path, said: dict[str, dict[str, str]]) -> None:
    """Adds what is said to the file; an empty text takes back what was."""
    store.check_writable(results)
    with FileLock(results / f".{FILE}.lock"):
        titles = read_titles(results)
        for name, shown in said.items():
            kept = {key: value for key, value in ({**titles.get(name, {}), **shown}).items() if value}
            titles[name] = kept
        titles = {name: shown for name, shown in sorted(titles.items()) if set(shown) > {"from"}}
        store.write_json(results / FILE, {"schema": SCHEMA, "titles": titles})


def follow_titles(jobs: Sequence[Job]) -> None:
    """Has tables show what the code of a user's own network calls it now, where its records say otherwise.

    What `--title` says of a network stays.
    """
    own = {job.cell.model["name"]: job for job in jobs if job.place}
    if not own:
        return
    titles = read_titles(jobs[0].results)
    said = {}
    for name, job in own.items():
        shown, record = titles.get(name, {}), store.read_record(job.folder)
        if record is None or shown.get("from") == "user":
            continue
        entry, stored = job.entry(), record["model"]
        now = {"title": entry.title_of(record["dataset"]["task"]), "family": entry.family}
        if now != {key: shown_of(titles, name).get(key, stored[key]) for key in now}:
            said[name] = {**now, "from": "code"}
    if said:
        _write(jobs[0].results, said)
