"""What a report costs: each stored file is read once, and no library is imported that its figures do not need."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from few_records import copy_preset

from bench.records import damage, store
from bench.report.render import results_tables
from bench.report.sheets import render_sheets
from bench.report.table_sheets import rank_sheet, table_sheet


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of three seeds each."""
    folder = tmp_path_factory.mktemp("results")
    copy_preset(folder, "msld", "quick", ("resnet10t", "mobilenetv3_small"))
    return folder


def test_each_record_and_its_cases_are_read_once(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reads: Counter[Path] = Counter()
    for module, name in ((store, "read_json"), (damage, "read_hashed")):
        read = getattr(module, name)
        monkeypatch.setattr(module, name, lambda path, *rest, read=read: (reads.update([path]), read(path, *rest))[1])
    assert results_tables(results)[0]
    files = [path for path in results.rglob("*") if path.name in ("record.json", "cases.csv")]
    assert reads == dict.fromkeys(files, 1)
    assert len(files) == 12


def test_a_table_with_intervals_needs_neither_scikit_learn_nor_torch(results: Path) -> None:
    heavy = ("sklearn", "scipy.stats", "torch", "matplotlib")
    code = (
        "import sys; from bench.report.render import render_tables, results_tables; "
        f"tables = results_tables({str(results)!r})[0]; text = render_tables(tables, 'rich'); "
        f"print(any(table.sure.gaps for table in tables), [m for m in {heavy!r} if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "True []"


def test_tables_and_ranks_are_sheets_that_every_format_renders(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.analysis.short_budget.CONVERGED", 1)  # as if networks had been trained long
    table = max(results_tables(results)[0], key=lambda table: len(table.sure.gaps))
    first = table.frame["Model"].iloc[0]
    for sheet in (table_sheet(table), rank_sheet(table)):
        markdown, latex, csv = (render_sheets([sheet], form) for form in ("markdown", "latex", "csv"))
        assert markdown.startswith(sheet.caption.partition("_")[0][:40])
        assert f"| {first} |" in markdown
        assert sum(line.endswith(r"\\") for line in latex.splitlines()) == 1 + len(sheet.frame)
        assert csv.count("\n") == 1 + len(sheet.frame) * (len(sheet.frame.columns) - 1)
    best = table.frame[table.columns[0].header].idxmax()
    assert table_sheet(table).marks.loc[best, table.columns[0].header] == "bold"
