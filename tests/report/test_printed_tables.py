"""What `report` and `run` print: a caption of three lines, the rest as notes, what tables share once, the checklist."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from stored_records import EXAMPLE, change, change_cell
from test_comparison import cell, tables
from views import view_text

from bench.analysis.captions import PHANTOM
from bench.analysis.comparison import RECONSTRUCTION
from bench.analysis.segmentation import PARTIAL
from bench.analysis.short_budget import budget_mark
from bench.report.render import print_tables, render_tables
from bench.report.screen import Screen

SHORT = budget_mark(4_000)
ARM = "m[laffn=none,sdffn=none,sem=none,widths=24-57-145-259]"
HARD = {
    "partial": True,
    "source": "phantom",
    "dataset": "acdc-phantom",
    "preset": "quick with steps=125, learning rate and weight decay tuned in 4 trials on validation data",
    "split_flag": "patients in both parts",
}


def pairs(**fields: Any) -> list[tuple[dict[str, Any], float | None]]:
    return [
        (cell("a_s", 0, "U-Net (reduced)", reduced_from="unet", **fields), 0.5),
        (cell("a_s", 1, "U-Net (reduced)", reduced_from="unet", **fields), 0.6),
        (cell(ARM, 0, "MedNeXt-T (reconstr.)", family="proposed", **fields), 0.7),
        (cell(ARM, 1, "MedNeXt-T (reconstr.)", family="proposed", **fields), 0.8),
    ]


def printed(width: int, terminal: bool, checklist: bool = False, wide: bool = False, **fields: Any) -> str:
    screen = Screen(wide=wide, file=io.StringIO(), width=width, force_terminal=terminal, color_system=None)
    fields = {"images_seen": 4_000, **fields}
    found = tables(*pairs(**fields), *pairs(**fields, comparison="c2"), mm=True, classes=True)
    print_tables(screen, found, checklist)
    return screen.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("fields", [{}, HARD], ids=["plain", "marked"])
@pytest.mark.parametrize("width", [60, 80, 160])
def test_no_line_is_over_the_width_and_the_caption_has_three_lines(width: int, fields: dict[str, Any]) -> None:
    lines = printed(width, True, **fields).splitlines()
    assert max(map(cell_len, lines)) <= width
    caption = lines[: next(i for i, line in enumerate(lines) if not line.strip())]
    assert len(caption) <= 3
    text = " ".join(caption)
    assert text.startswith(PHANTOM if fields else SHORT)
    assert PARTIAL in text or not fields
    assert SHORT in text or width < 80
    assert "ACDC (acdc" in text or width < (160 if fields else 80), "below the table where three marks leave no room"
    assert not any("Split" in line or "weights" in line for line in caption)


def test_what_all_tables_share_is_said_once_and_files_keep_it_with_each() -> None:
    text = " ".join(printed(80, True).split())
    assert text.count("Reduced width: U-Net (reduced) (of unet).") == 1
    assert text.count(RECONSTRUCTION) == 1
    markdown = render_tables(tables(*pairs(), *pairs(comparison="c2")), "markdown")
    assert markdown.count("Reduced width: U-Net (reduced) (of unet).") == 2
    assert markdown.count(RECONSTRUCTION) == 2


def test_a_terminal_gets_the_checklist_where_it_is_asked_for_and_a_file_always() -> None:
    asked = "Weights selected on validation data?"
    assert asked not in printed(80, True)
    assert "medbench report --checklist" in printed(80, True)
    assert printed(80, True, checklist=True).count(asked) == 2
    assert printed(80, False).count(asked) == 2
    for form in ("rich", "markdown", "latex", "csv"):
        assert render_tables(tables(*pairs()), form).count(asked) == 1


def test_a_narrow_terminal_keeps_what_matters_and_wide_shows_all() -> None:
    text = printed(80, True)
    heads = " ".join(text.split("───")[0].split())
    for kept in ("Dice", "HD95", "miss", "inv.", "Seeds"):
        assert kept in heads
    below = " ".join(text.split("not shown at 80 columns: ")[1].split("--wide shows all")[0].split())
    assert "HD95 vox sd cases" in below
    assert "Dice sd cases" in below
    wide = printed(80, True, wide=True)
    assert "not shown" not in wide
    assert "HD95 (vox" not in wide, "heads are short"
    assert wide.split("───")[0].count("cases") == 3


def test_trials_of_one_title_have_a_row_each_and_a_failed_one_is_called_so(tmp_path: Path) -> None:
    stored = sorted((EXAMPLE / "tuning" / "runs" / "msld" / "resnet10t").iterdir())[:2]
    changed = {"": {}, "width": {"name": "resnet10t[width=8]"}, "v2": {"version": 2}}
    for kind, fields in changed.items():
        for folder in stored:
            path = shutil.copytree(folder, tmp_path / "tuning" / "runs" / "msld" / f"net{kind}" / folder.name)
            record = path / "record.json"
            if "name" in fields:
                change(record, "model", "name", to=fields["name"])
                change_cell(record, "model", "config", "width", to=8)
            if "version" in fields:
                change_cell(record, "model", "version", to=2)
                change(record, "status", to="failed")
    rows = [line.split(" | ") for line in view_text("trials", tmp_path).splitlines() if line.startswith("| ResNet")]
    titles = [row[0].removeprefix("| ") for row in rows]
    assert titles == ["ResNet-10-T [width=8] v1", "ResNet-10-T v1", "ResNet-10-T v2"]
    assert sum("**" in text for row in rows for text in row) == 2
    assert [text.strip(" |") for text in rows[2][1:]] == ["failed", "failed"]
