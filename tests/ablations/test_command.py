"""`medbench ablate` as a user meets it, on phantoms: arms, null arm, reuse, resume, tables, and what is refused."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from few_records import copy_example
from torch import nn

from ablations.command import ablations_beside
from ablations.journal import read_study
from ablations.plans import Plan
from bench.cli.ablate import ablate
from bench.cli.main import main
from bench.errors import UserError
from bench.models.slots import SLOTS
from bench.records import store
from bench.report.selection import load_tables

SETTINGS = ["--preset", "smoke", "--data", "phantom", "--threads", "1"]
SETTINGS += [word for field in ("steps=2", "evaluations=1", "image_size=32") for word in ("--set", field)]


@pytest.fixture
def folder(tmp_path: Path, drawn: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MEDBENCH_DATA", str(drawn))
    monkeypatch.setattr("bench.records.environment.idle_cores", lambda: None)  # no note, however busy the machine is
    return tmp_path / "results"


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four arms of the committed ablations; tests/ablations/test_committed.py takes all of them."""
    arms = ("mednext_tiny", *(f"mednext_tiny[{slot}=none]" for slot in SLOTS))
    return copy_example(tmp_path_factory.mktemp("few") / "results" / "example", arms)


def call(folder: Path, *words: str, command: str = "ablate", dataset: str = "large-covid-ct") -> Result:
    line = [command, *words, "--dataset", dataset, "--results", str(folder), *SETTINGS]
    return CliRunner().invoke(main, line)


def journals(folder: Path) -> list:
    return [read_study(path) for path in sorted((folder / "studies").glob("ablate-*.log"))]


def test_removing_a_module_reuses_the_full_model_s_records(folder: Path) -> None:
    assert call(folder, "--models", "mednext_tiny", "--seeds", "2", command="run").exit_code == 0
    before = {p: p.stat().st_mtime_ns for p in folder.rglob("record.json")}
    done = call(folder, "--remove", "sem", "--seeds", "2", "--format", "markdown")
    assert done.exit_code == 0, done.output
    assert {p: p.stat().st_mtime_ns for p in before} == before
    cells = store.load_cells(folder)
    assert cells.groupby("model")["seed"].apply(sorted).to_dict() == {
        "mednext_tiny": [0, 1, 2, 3],
        "mednext_tiny[sem=none]": [0, 1],
    }
    for words in ("| full |", "| full, other seeds (null) |", "| without sem |", "PHANTOM images"):
        assert words in done.stdout
    (study,) = journals(folder)
    trials = study.get_trials()
    assert {t.state.name for t in trials} == {"COMPLETE"}
    assert {t.user_attrs["key"] for t in trials} == set(cells["key"])
    again = call(folder, "--remove", "sem", "--seeds", "2", "--format", "markdown")
    assert again.exit_code == 0
    assert "| without sem |" in again.stdout
    assert len(journals(folder)[0].get_trials()) == len(trials), "nothing is run or told twice"


@pytest.mark.slow
def test_a_cell_whose_record_is_gone_is_run_again_though_the_journal_has_it(folder: Path) -> None:
    words = ("--remove", "sem", "--seeds", "1", "--no-null")
    assert call(folder, *words).exit_code == 0
    (record,) = folder.rglob("mednext_tiny[[]sem=none[]]/*/record.json")
    record.unlink()
    assert call(folder, *words).exit_code == 0
    assert record.exists()


def test_a_results_folder_that_is_a_file_is_one_line(folder: Path) -> None:
    folder.write_text("")
    done = call(folder, "--remove", "sem", "--seeds", "1", "--storage", "sqlite://")
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: Expected --results to be a folder, but ")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_matched_arm_has_the_full_model_s_budget(folder: Path) -> None:
    done = call(folder, "--remove", "sdffn", "--match", "params", "--seeds", "2", "--no-null", "--format", "markdown")
    assert done.exit_code == 0, done.output
    cells = store.load_cells(folder).drop_duplicates("model").set_index("model")["params"]
    (arm,) = [name for name in cells.index if "widths=" in name]
    assert cells[arm] == pytest.approx(cells["mednext_tiny"], rel=0.01)
    assert "without sdffn, params matched" in done.stdout


@pytest.mark.slow
def test_show_and_output_write_the_same_tables_and_figures(folder: Path, tmp_path: Path) -> None:
    assert call(folder, "--all", "--seeds", "2", "--no-null").exit_code == 0
    line = ["ablate", "show", "--results", str(folder), "--format", "markdown", "--output", str(tmp_path / "out")]
    shown = CliRunner().invoke(main, line)
    assert shown.exit_code == 0, shown.output
    assert (tmp_path / "out" / "ablations.md").read_text() == shown.stdout
    names = {path.suffix for path in (tmp_path / "out").iterdir()}
    assert names == {".md", ".tex", ".csv", ".png", ".pdf", ".svg"}


def test_a_failed_arm_is_named_the_others_go_on_and_the_next_command_tries_it_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.runs import seeding

    build_seeded = seeding.build_seeded

    def failing(build: Callable[[], nn.Module], seed: int) -> nn.Module:
        model = build_seeded(build, seed)
        if not any(name.endswith(".sem") for name, _ in model.named_modules()):
            raise RuntimeError("no memory left")
        return model

    monkeypatch.setattr(seeding, "build_seeded", failing)
    done = call(folder, "--all", "--seeds", "1", "--no-null")
    assert done.exit_code == 1
    assert "not finished: mednext_tiny[sem=none] seed 0, see" in done.stderr
    assert sum(store.load_cells(folder)["status"] == "complete") == 3
    monkeypatch.setattr(seeding, "build_seeded", build_seeded)
    assert call(folder, "--all", "--seeds", "1", "--no-null").exit_code == 0
    states = [t.state.name for t in journals(folder)[0].get_trials()]
    assert sorted(states) == ["COMPLETE"] * 4 + ["FAIL"]


def let_diverge(folder: Path, model: str) -> None:
    """Makes the records of a model what a network that is not finite leaves."""
    for path in folder.glob(f"runs/*/*/{model.replace('[', '[[]')}/*/record.json"):
        left = {"status": "diverged", "metrics": None, "cases_sha256": None, "error": "the training loss is not finite"}
        store.write_json(path, json.loads(path.read_text()) | left)
        (path.parent / "cases.csv").unlink()


def test_diverged_cells_are_named_at_the_end_and_below_the_table(folder: Path) -> None:
    words = ("remove", "sem", "--seeds", "2", "--no-null", "--format", "markdown")
    assert call(folder, *words).stderr == ""
    let_diverge(folder, "mednext_tiny[sem=none]")
    done = call(folder, *words)
    assert done.exit_code == 0, done.output
    lines = done.stderr.splitlines()
    starts = [f"diverged: mednext_tiny[sem=none] seed {seed}, see " for seed in (0, 1)]
    assert [line.startswith(start) for line, start in zip(lines, starts, strict=True)] == [True, True]
    note = "Diverged or failed: without sem, 2 of 2 seeds diverged (seeds 0, 1)."
    assert note in done.stdout
    show = ["ablate", "show", "--results", str(folder), "--format", "markdown"]
    assert note in CliRunner().invoke(main, show).stdout
    let_diverge(folder, "mednext_tiny")
    shown = CliRunner().invoke(main, show)
    assert shown.exit_code == 2
    assert shown.stderr.count("\n") == 1
    assert "Diverged or failed: full, 2 of 2 seeds diverged (seeds 0, 1); without sem, 2 of 2 seeds" in shown.stderr


def examples() -> list[list[str]]:
    """The words of the example at the end of each help, behind `medbench`."""
    commands = [ablate, *ablate.commands.values()]
    return [str(command.help).partition("Example:\n")[2].split()[1:] for command in commands]


def test_every_help_ends_with_an_example() -> None:
    assert [words[:2] for words in examples()] == [
        ["ablate", name] for name in ("--remove", "remove", "swap", "factorial", "search", "replay", "list", "show")
    ]


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, marks=[] if words[1] in ("remove", "show") else [pytest.mark.slow], id=words[1])
        for words in examples()
        if words[1] != "list"
    ],
)
def test_the_example_of_each_help_runs(
    words: list[str], folder: Path, example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(example.parents[1])
    cheap = ["--set", "image_size=32", "--set", "evaluations=1", "--threads", "1", "--results", str(folder)]
    cheap += ["--speed-seconds", "0"] if "search" in words else ["--no-null"]
    if "--preset" in words:
        words = [*["large-covid-ct" if word == "acdc" else word for word in words], *cheap]  # drawn already
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert done.stdout


@pytest.mark.parametrize(
    ("earlier", "words"),
    [
        (["--remove", "sem"], ["remove", "sem"]),
        (["--remove", "sem+laffn", "--remove", "sdffn"], ["remove", "sem+laffn", "sdffn"]),
        (["--swap", "sem=strip"], ["swap", "sem=strip"]),
        (["--all", "--match", "params"], ["remove", "--all", "--match", "params"]),
        (["--factorial", "--no-null"], ["factorial", "--no-null"]),
    ],
    ids=lambda words: " ".join(words),
)
def test_a_subcommand_asks_for_the_same_arms_as_the_options(
    earlier: list[str], words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []

    def keep(plan: Plan, request: object, report: object) -> None:
        plans.append(plan)
        raise UserError("enough")

    monkeypatch.setattr("ablations.command.plan_jobs", keep)
    for line in (earlier, words):
        assert CliRunner().invoke(main, ["ablate", *line]).stderr == "Error: enough\n"
    assert plans[0] == plans[1] != Plan()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["show", "replay"])
def test_an_earlier_flag_is_its_subcommand(name: str, example: Path) -> None:
    rest = ["--dataset", "acdc", "--format", "csv", "--results", str(example)]
    earlier, now = (CliRunner().invoke(main, ["ablate", word, *rest]) for word in (f"--{name}", name))
    assert earlier.exit_code == now.exit_code == 0, now.output
    assert earlier.stdout == now.stdout != ""


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--remove", "sme"], "Error: Unknown slot 'sme'. Did you mean: sem?"),
        (["--swap", "sem=stripe"], "Error: Unknown filling of slot sem 'stripe'. Did you mean: strip?"),
        (["--remove", "sem", "--match", "flops"], "Error: Unknown budget 'flops'."),
        (
            ["remove", "sem", "--widen", "nonsense"],
            "Error: Expected --widen nonsense with --match params or --match macs",
        ),
        (["remove", "sme"], "Error: Unknown slot 'sme'. Did you mean: sem?"),
        (["swap", "sem=stripe"], "Error: Unknown filling of slot sem 'stripe'. Did you mean: strip?"),
        (["swap", "sem"], "Error: Expected a swap SLOT=FILLING, such as sem=strip, but got 'sem'."),
        (["swap"], "Error: Missing argument 'SLOT=FILLING...'."),
        (["remove"], "Error: Expected something to ablate"),
        (["remov", "sem"], "Error: No such command 'remov'."),
        (["--remove", "sem", "show"], "Error: Expected options after the subcommand: medbench ablate show --remove."),
        (["--remove", "sem", "--search"], "Error: No such option '--remove'."),
        (["--remove", "sem", "--max-macs", "1"], "Error: No such option '--max-macs'."),
        (["search", "--dataset", "acdc"], "Error: Expected one dataset for a search, but got acdc, large-covid-ct."),
        (["remove", "sem", "--dataset", "large-covid-ct"], "Error: Expected --dataset to be distinct names"),
        (["--remove", "sem", "--model", "unet_s"], "Error: Model 'unet_s' has no slots to ablate"),
        ([], "Error: Expected something to ablate"),
        (["search", "--pruner", "medain"], "Error: Unknown pruner 'medain'. Did you mean: median?"),
        (["search", "--trials", "0"], "Error: Expected at least one trial"),
        (["search", "--model", "unet_s"], "Error: Model 'unet_s' has no laffn, sem, sdffn, widths"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(folder: Path, words: list[str], line: str) -> None:
    done = call(folder, *words)
    assert done.exit_code == 2
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1
    assert not folder.exists() or not list(folder.rglob("cell.json"))
    assert not (folder / "studies").exists(), "no journal is left behind"


@pytest.mark.slow
def test_a_study_of_another_dataset_under_the_same_name_is_exit_code_2(folder: Path) -> None:
    assert call(folder, "--remove", "sem", "--seeds", "1", "--no-null", "--study", "mine").exit_code == 0
    done = call(folder, "--remove", "sem", "--seeds", "1", "--no-null", "--study", "mine", dataset="msld")
    assert done.exit_code == 2
    assert "Study 'mine' is of dataset large-covid-ct-phantom, not of msld-phantom." in done.stderr
    assert done.stderr.count("\n") == 1


def test_beside_tables_without_a_proposed_model_there_is_no_ablation(example: Path) -> None:
    tables = load_tables(example, dataset="acdc", preset="standard", models="mednext_tiny")
    others = [replace(table, cells=table.cells.assign(family="cnn")) for table in tables]
    assert ablations_beside(example, others) == []
    assert ablations_beside(example, tables)


@pytest.mark.parametrize(
    ("arm", "line"),
    [
        ("nonsense", "Error: Expected field=value for mednext_tiny, but got 'nonsense'."),
        ("nonsense=1", "Error: Unknown config field of mednext_tiny 'nonsense'."),
        ("sem=stripe", "Error: Unknown filling of slot sem 'stripe'. Did you mean: strip?"),
    ],
)
def test_an_arm_to_show_that_the_model_has_not_is_one_line(folder: Path, arm: str, line: str) -> None:
    (folder / "runs").mkdir(parents=True)
    done = CliRunner().invoke(main, ["ablate", "show", "--arm", arm, "--results", str(folder)])
    assert done.exit_code == 2
    assert done.stderr.startswith(line)
    assert done.stderr.count("\n") == 1


def test_nothing_stored_to_show_is_one_line(folder: Path) -> None:
    folder.mkdir()
    done = CliRunner().invoke(main, ["ablate", "show", "--results", str(folder)])
    assert done.exit_code == 2
    assert done.stderr.startswith("Error: No ablation of mednext_tiny is stored in")


def test_show_of_a_model_has_its_searches_alone(example: Path) -> None:
    words = ["ablate", "show", "--results", str(example), "--format", "markdown"]
    of_another = CliRunner().invoke(main, [*words, "--model", "unet_s"])
    assert of_another.exit_code == 2, "the search is of mednext_tiny"
    assert of_another.stderr.startswith("Error: No ablation of unet_s is stored in")
    of_this, of_all = (CliRunner().invoke(main, line) for line in ([*words, "--model", "mednext_tiny"], words))
    assert "Search over " in of_this.stdout
    assert of_this.stdout == of_all.stdout


@pytest.mark.slow
def test_a_search_ends_with_its_front_scored_once(folder: Path) -> None:
    words = ["search", "--trials", "3", "--seeds", "1", "--speed-seconds", "0", "--pruner", "none"]
    done = call(folder, *words)
    assert done.exit_code == 0, done.output
    study = read_study(next((folder / "studies").glob("search-*.log")))
    front = {name.removesuffix(".png") for name in os.listdir(folder / "studies") if name.endswith("-front.png")}
    assert front == {f"{study.study_name}-front"}
    scored = store.load_cells(folder)
    assert "mednext_tiny" in set(scored["model"])
    assert scored["status"].eq("complete").all()
    before = len(scored)
    assert call(folder, *words).exit_code == 0
    assert len(store.load_cells(folder)) == before, "the test part is read once"


def test_the_listing_has_every_filling_with_its_cost(folder: Path) -> None:
    done = CliRunner().invoke(main, [*examples()[-2], "--format", "csv"])
    assert done.exit_code == 0, done.output
    from bench.models.slots import filling_names

    for slot in SLOTS:
        for name in filling_names(slot):
            assert name in done.stdout
    assert "breaks the convolution-only rule" in done.stdout


@pytest.mark.slow
def test_a_killed_factorial_goes_on_and_loses_no_arm(folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bench.cli.main", "ablate", "--factorial", "--seeds", "1", "--no-null"]
    command += ["--dataset", "large-covid-ct", "--results", str(folder), *SETTINGS]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while len(list(folder.rglob("record.json"))) < 2:
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    (study,) = journals(folder)
    done = [t.user_attrs["key"] for t in study.get_trials() if t.state.name == "COMPLETE"]
    assert len(done) == len(set(done)) == 8
    assert not [t for t in study.get_trials() if t.state.name in ("RUNNING", "WAITING")]


@pytest.mark.slow
def test_two_processes_share_a_factorial(folder: Path) -> None:
    command = [sys.executable, "-m", "bench.cli.main", "ablate", "--factorial", "--seeds", "1", "--no-null"]
    command += ["--dataset", "large-covid-ct", "--results", str(folder), *SETTINGS]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    (study,) = journals(folder)
    assert {trial.state.name for trial in study.get_trials()} == {"COMPLETE"}
    assert len(study.get_trials()) == len({t.user_attrs["key"] for t in study.get_trials()}) == 8
    trained = [sum(line.startswith("complete") for line in output.splitlines()) for output in outputs]
    assert sum(trained) == 8, "no cell is trained twice"
    assert all(trained), "both did some"
