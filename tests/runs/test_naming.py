"""What tables call a user's own network: by option, or as its code says now; nothing is trained for that."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from stand_ins import leave_record
from stored_records import RECORDS

from bench.errors import UserError
from bench.records.store import load_cells
from bench.records.titles import retitled
from bench.runs.job import Job
from bench.runs.naming import Naming, follow_titles
from bench.runs.request import Request
from bench.runs.runner import make_jobs
from bench.zoo.registry import model_entry

NET = """from torch import nn
from bench import titled


@titled("{title}", family="{family}")
class Net(nn.Module):
    def __init__(self, in_channels, num_classes, width=4):
        super().__init__()
        self.head = nn.Conv2d(in_channels, width, 1)

    def forward(self, x):
        return self.head(x)[:, :4]
"""


def write(folder: Path, title: str, family: str = "cnn") -> str:
    (folder / "net.py").write_text(NET.format(title=title, family=family))
    return f"{folder / 'net.py'}:Net"


def trained(folder: Path, name: str) -> list[Job]:
    """Jobs of the network, with a record each that says what its code says now."""
    request = Request([name, f"{name}[width=8]"], preset="smoke", data="phantom", results=folder / "results")
    jobs = make_jobs(request)
    like = json.loads(next((RECORDS / "acdc").glob("unet_s/0-*/record.json")).read_text()) | {"status": "diverged"}
    for job in jobs:
        entry = job.entry()
        shown = {"title": entry.title, "family": entry.family}
        leave_record(job, like | {"model": like["model"] | shown, "metrics": None}, status="diverged")
    return jobs


def shown(results: Path) -> list[tuple[str, str]]:
    cells = load_cells(results)
    return list(zip(cells["title"], cells["family"], strict=True))


def test_the_decorator_s_title_is_no_part_of_the_version_and_the_code_is(tmp_path: Path) -> None:
    name = write(tmp_path, "First")
    first = model_entry(name)
    assert (first.title, first.family) == ("First", "cnn")
    second = model_entry(write(tmp_path, "Second", "transformer"))
    assert (second.title, second.family, second.version) == ("Second", "transformer", first.version)
    plain = NET.replace('@titled("{title}", family="{family}")\n', "").replace("from bench import titled\n", "")
    (tmp_path / "net.py").write_text(plain)
    assert model_entry(name).version == first.version
    (tmp_path / "net.py").write_text(plain.replace("[:, :4]", "[:, :4] * 2"))
    assert model_entry(name).version != first.version


def test_tables_follow_the_code_s_title_until_the_user_gives_one(tmp_path: Path) -> None:
    results = tmp_path / "results"
    jobs = trained(tmp_path, write(tmp_path, "First"))
    follow_titles(jobs)
    assert not (results / "titles.json").exists()
    write(tmp_path, "Second", "hybrid")
    again = trained_before(jobs, tmp_path)
    follow_titles(again)
    assert shown(results) == [("Second", "hybrid")] * 2
    Naming(["net.py:Net=By option", "net.py:Net[width=8]=Wide"], ["net.py:Net=proposed"]).keep(results)
    assert shown(results) == [("By option", "proposed"), ("Wide", "proposed")]
    write(tmp_path, "Third")
    follow_titles(trained_before(jobs, tmp_path))
    assert shown(results)[0] == ("By option", "proposed")
    Naming([f"{tmp_path}/gone/net.py:Net="], ["net.py:Net="]).keep(results)  # taken back, by any folder's path
    assert shown(results)[0] == ("First", "cnn")


def trained_before(jobs: list[Job], folder: Path) -> list[Job]:
    """The same cells, as a later call of the same command makes them."""
    request = Request(
        [f"{folder / 'net.py'}:Net", f"{folder / 'net.py'}:Net[width=8]"],
        preset="smoke",
        data="phantom",
        results=jobs[0].results,
    )
    again = make_jobs(request)
    assert [job.cell.key for job in again] == [job.cell.key for job in jobs]
    return again


@pytest.mark.parametrize(
    ("title", "family", "said"),
    [
        ("unet_s=Mine", "", "unet_s is a network of medbench"),
        ("unet_s", "", "Expected --title NAME=TITLE, but got 'unet_s'"),
        ("unt_s=Mine", "", "Unknown model"),
        ("", "net.py:Net=cn", "Unknown family 'cn'"),
        ("net.py:Nte=Mine", "", "Unknown model among the records 'net.py:Nte'. Did you mean: net.py:Net"),
    ],
)
def test_what_cannot_be_titled_is_said_in_one_line(tmp_path: Path, title: str, family: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        Naming([title] if title else [], [family] if family else []).keep(tmp_path, ["net.py:Net[width=8]"])
    assert not (tmp_path / "titles.json").exists()


def test_a_network_has_one_title(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Expected one --title of net\.py:Net, but got 'A' and 'B'"):
        Naming(["net.py:Net=A", "net.py:Net=B"]).keep(tmp_path, ["net.py:Net"])
    Naming(["net.py:Net=A", "net.py:Net=A"]).keep(tmp_path, ["net.py:Net"])


def test_a_damaged_file_of_titles_takes_no_table_away(tmp_path: Path) -> None:
    (tmp_path / "titles.json").write_text('{"schema": 1, "titles": {"a:B": {"from": "user", "title": 3}}}')
    cells = pd.DataFrame({"model": ["a:B"], "title": ["B"], "family": ["cnn"]})
    same, notes = retitled(cells, tmp_path)
    assert same is cells
    assert ["titles.json" in note and "title" in note for note in notes] == [True]
