"""Files that the user names: every command that takes one makes its folder, or says in a line why it cannot."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bench.cli.main import main

RECORDS = Path(__file__).parents[1] / "smoke-record"
COMMANDS = {
    "tables.md": ["report", "--format", "markdown", "--output"],
    "report.html": ["report", "--format", "html", "--drawn", "0", "--output"],
    "rows.json": ["results", "export", "--to", "json", "--output"],
    "all.zip": ["results", "archive"],
}


def medbench(*words: str | Path) -> Result:
    return CliRunner().invoke(main, [*map(str, words), "--results", str(RECORDS)])


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_may_lie_in_a_new_folder(name: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / "below" / name
    result = medbench(*COMMANDS[name], path)
    assert result.exit_code == 0, result.output
    assert path.stat().st_size > 100
    assert [file.name for file in path.parent.iterdir()] == [name]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_file_that_cannot_be_written_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    path = tmp_path / "file" / name
    result = medbench(*COMMANDS[name], path)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(f"Error: Cannot write {path}: ")
