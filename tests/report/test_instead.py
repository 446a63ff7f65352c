"""Views of the stored results in place of whole tables: each in every format, and none that ignores a wish."""

from __future__ import annotations

from pathlib import Path

import pytest
from stored_records import invoke

EXAMPLE = str(Path(__file__).parents[2] / "results" / "example")
SIGNS = {"markdown": "| ---", "latex": "\\toprule", "csv": ","}


@pytest.mark.parametrize("view", ["--speeds", "--trials", "--conventions", "--ranks"])
def test_a_view_is_written_in_the_format_that_is_asked_for(view: str, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {"--conventions": ["--dataset", "acdc"], "--ranks": ["--dataset", "sars-cov2-ct"]}.get(view, [])
    for form, sign in SIGNS.items():
        done = invoke("report", "--results", EXAMPLE, view, *chosen, "--format", form)
        assert (done.exit_code, sign in done.stdout) == (0, True), done.output
        assert ("| ---" in done.stdout) == (form == "markdown")
    monkeypatch.setenv("COLUMNS", "80")
    done = invoke("report", "--results", EXAMPLE, view, *chosen)
    assert done.exit_code == 0, done.output
    assert "| ---" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        (["--speeds", "--models", "unet_s"], "Expected --speeds without --models, which it does not read."),
        (["--trials", "--dataset", "acdc", "--top", "3"], "Expected --trials without --dataset and --top"),
        (["--conventions", "--columns", "dice"], "Expected --conventions without --columns"),
        (["--budgets", "--dataset", "msld"], "No model of dataset msld has cells at two budgets or more"),
        (["--budgets", "--columns", "dice"], "Expected --budgets without --columns"),
        (["--budgets", "--figures", "never", "--top", "3"], "Expected --budgets without --top"),
        (["--brief", "--dataset", "acdc", "--cases", "2"], "Expected --brief without --cases"),
        (["--ranks", "--columns", "dice", "--tests"], "Expected --ranks without --columns and --tests"),
        (["--bibtex", "--format", "csv"], "Expected --bibtex without --format csv: citations are BibTeX."),
        (["--bibtex", "--classes"], "Expected --bibtex without --classes"),
        (["--figures", "never", "--cases", "2"], "Expected --figures without --cases"),
        (
            ["--ranks", "--format", "latex", "--width", "80mm"],
            "--width: of a paper's tables; ",
        ),
        (["--dataset", "acdc", "--cases", "2", "--format", "latex"], "Expected --cases without --format html, "),
        (["--bibtex", "--sort", "dice"], "Expected --bibtex without --sort"),
        (["--format", "latex", "--classes"], "Expected --table accuracy without --classes"),
        (["--format", "latex", "--table", "cost", "--columns", "dice"], "Expected --table cost without --columns"),
        (["--format", "latex", "--table", "ablation", "--top", "3"], "Expected --table ablation without --top"),
        (["--format", "latex", "--table", "leaks", "--models", "a"], "Expected --table leaks without --models"),
        (["--dataset", "acdc", "--columns", "dice,dice"], "Expected distinct columns, but got dice more than once."),
        (["--ranks", "--checklist"], "Expected --checklist with whole tables, "),
        (["--over", "steps"], "Expected --over with --figures or --format html"),
        (["--budgets", "--figures", "never", "--over", "steps"], "Expected --over with --figures or --format html"),
        (["--figures", "never", "--format", "csv"], "Expected --figures DIR without --format and --output"),
        (["--figures", "never", "--output", "never.md"], "Expected --figures DIR without --format and --output"),
    ],
)
def test_a_wish_that_a_view_does_not_read_is_refused(wishes: list[str], said: str) -> None:
    done = invoke("report", "--results", EXAMPLE, *wishes)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)
    assert said in done.stderr


def test_a_curve_s_caption_names_the_seeds_and_models_of_its_rows_alone() -> None:
    for models, asked, seeds in (("all", (), "0, 1, 2"), ("segformer_b0_s,swin_unet_s", ("--seeds", "0,"), "0")):
        wishes = ("--budgets", "--dataset", "acdc", "--models", models, *asked, "--format", "markdown")
        done = invoke("report", "--results", EXAMPLE, *wishes)
        caption = next(line for line in done.stdout.splitlines() if "preset standard" in line)
        assert f"; seeds {seeds}; " in caption
        assert "nnU-Net" not in done.stdout
    some = invoke(
        "report", "--results", EXAMPLE, "--budgets", "--models", "unet_s,mednext_tiny", "--format", "markdown"
    )
    assert "| U-Net (reduced) |" in some.stdout
    assert "SegFormer" not in some.stdout
