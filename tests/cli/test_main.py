"""The command as a user meets it: help, exact errors with exit code 2, tables, plan, the README's examples."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from bench.cli.main import main

SMOKE = ["--preset", "smoke", "--data", "phantom", "--set", "steps=2", "--set", "evaluations=1", "--threads", "1"]


@pytest.fixture(autouse=True)
def no_note_of_load(monkeypatch: pytest.MonkeyPatch) -> None:
    """However busy the machine is."""
    monkeypatch.setattr("bench.records.environment.idle_cores", lambda: None)


def medbench(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def commands(group: click.Group = main, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], click.Command]:
    found: dict[tuple[str, ...], click.Command] = {}
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            found |= commands(command, (*path, name))
            if command.invoke_without_command:
                found[(*path, name)] = command
        else:
            found[(*path, name)] = command
    return found


def test_help_answers_quickly() -> None:
    """The fastest of several whole processes, in seconds of a core: the machine may be busy."""
    seconds = []
    for _ in range(5):
        before = os.times()
        subprocess.run([sys.executable, "-m", "bench.cli.main", "--help"], check=True, capture_output=True)
        after = os.times()
        seconds.append(after.children_user + after.children_system - before.children_user - before.children_system)
    assert min(seconds) < 0.3


@pytest.mark.parametrize("path", commands(), ids=" ".join)
def test_every_help_ends_with_an_example_whose_options_exist(path: tuple[str, ...]) -> None:
    result = medbench(*path, "--help")
    assert result.exit_code == 0
    example = re.search(r"Example:\n +medbench (.*)\n", result.output)
    assert example is not None
    words = example[1].split()
    assert tuple(words[: len(path)]) == path
    known = {option for parameter in commands()[path].params for option in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= known


def test_a_run_ends_with_a_table_and_is_answered_from_records_afterwards(tmp_path: Path) -> None:
    command = ["run", "--models", "chance,mednext_tiny", "--dataset", "acdc", *SMOKE, "--results", tmp_path]
    first = medbench(*command)
    assert first.exit_code == 0, first.output
    assert "0 reused, 2 complete, 0 diverged, 0 failed of 2 cells" in first.output
    assert "PHANTOM images" in first.output
    assert "MedNeXt-T (reconstr.)" in first.output
    again = medbench(*command)
    assert "2 reused, 0 complete" in again.output
    assert first.output[first.output.index("PHANTOM") :] == again.output[again.output.index("PHANTOM") :]
    latex = medbench("report", "--results", tmp_path, "--format", "latex")
    assert latex.exit_code == 0
    assert r"\toprule" in latex.output
    assert medbench("report", "--results", tmp_path, "--output", tmp_path / "t.md", "--format", "markdown").output == ""
    assert "| MedNeXt-T (reconstr.)" in (tmp_path / "t.md").read_text()


def test_plan_tells_what_is_to_do_and_runs_nothing(tmp_path: Path) -> None:
    request = ["--models", "chance,unet_s", "--dataset", "acdc", *SMOKE, "--seeds", "2", "--results", tmp_path]
    result = medbench("plan", *request)
    assert result.exit_code == 0, result.output
    assert "0 of 4 cells done" in result.output
    assert "MACs alone, rough" in result.output
    assert not (tmp_path / "runs").exists()
    medbench("run", *request)
    result = medbench("plan", *request)
    assert "4 of 4 cells done" in result.output
    assert "about 0.00 h to come" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--dataset", "adcd"], "Error: Unknown dataset 'adcd'. Did you mean: acdc?\n"),
        (
            ["run", "--dataset", "acdc", "--data", "phantom", "--models", "mednxt_tiny"],
            "Error: Unknown model 'mednxt_tiny'. Did you mean: mednext_tiny, deit_tiny, convnext_tiny?\n",
        ),
        (["run", "--dataset", "acdc", "--preset", "smok"], "Error: Unknown preset 'smok'. Did you mean: smoke?\n"),
        (["run"], "Error: Missing option '--dataset'.\n"),
        (
            ["run", "--dtaset", "acdc"],
            "Error: No such option '--dtaset'. (Did you mean one of: '--data', '--dataset', '--set'?)\n",
        ),
        (
            ["run", "--dataset", "acdc", "--data", "phantom", "--split", "mtunt"],
            "Error: Unknown split of acdc 'mtunt'. Did you mean: mtunet?\n",
        ),
        (["models", "--preset", "fast"], "Error: Unknown preset 'fast'. Known: paper, quick, smoke, standard.\n"),
        (["data", "info", "adcd"], "Error: Unknown dataset 'adcd'. Did you mean: acdc?\n"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(arguments: list[str], message: str, tmp_path: Path) -> None:
    result = medbench(*arguments, *(["--results", tmp_path] if arguments[0] == "run" else []))
    assert (result.exit_code, result.stderr) == (2, message)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "command",
    [
        ["plan", "--models", "chance"],
        ["run", "--models", "chance"],
        ["develop", "--models", "chance", "--vary", "lr=1e-3,2e-3", "--folds", "3"],
        ["ablate", "--model", "mednext_tiny[depths=1-1-1-1,widths=8-8-16-16]", "--remove", "sem", "--no-null"],
        ["plan", "--models", "chance", "--commands"],
    ],
)
def test_drawn_images_that_nobody_asked_for_are_told_once(command: list[str], tmp_path: Path) -> None:
    options = [*SMOKE, "--dataset", "large-covid-ct", "--set", "image_size=32", "--results", tmp_path]
    del options[options.index("--data") : options.index("--data") + 2]
    said = "note: no real images of large-covid-ct are prepared here: drawn ones (phantoms) are used."
    assert medbench(*command, *options).stderr.count(said) == 1
    assert said not in medbench(*command, *options, "--data", "phantom").stderr


def test_a_typo_in_the_data_root_is_an_error_and_never_phantoms(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    result = medbench("run", "--dataset", "acdc", "--data-root", tmp_path / "dat", "--results", tmp_path / "r")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: The folder {tmp_path / 'dat'} of --data-root does not exist.")
    assert str(tmp_path / "data") in result.stderr
    assert result.stderr.count("\n") == 1
    result = medbench("run", "--dataset", "acdc", "--data-root", tmp_path / "data", "--results", tmp_path / "r")
    assert result.exit_code == 2
    assert "medbench data prepare acdc --from DIR" in result.stderr


@pytest.mark.parametrize(
    "command",
    [
        ["report"],
        ["show", "acdc"],
        ["results", "list"],
        ["plan", "--dataset", "acdc", *SMOKE],
        ["run", "--dataset", "acdc", *SMOKE],
        ["data", "leaks"],
    ],
)
def test_a_file_is_no_results_folder(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = medbench(*command, "--results", tmp_path / "file")
    said = f"Error: Expected --results to be a folder, but {tmp_path / 'file'} is a file.\n"
    assert (result.exit_code, result.stderr) == (2, said)


def test_an_unwritable_results_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file" / "below", Path("/proc/results")):
        result = medbench("run", "--models", "chance", "--dataset", "acdc", *SMOKE, "--results", place)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"Error: Cannot write to the results folder {place}: ")
        assert result.stderr.count("\n") == 1


def test_changed_scores_are_not_shown(tmp_path: Path) -> None:
    command = ["run", "--models", "chance", "--dataset", "acdc", *SMOKE, "--results", tmp_path]
    assert medbench(*command).exit_code == 0
    (path,) = tmp_path.rglob("cases.csv")
    path.write_text(path.read_text().replace(",0.0,", ",0.9,", 1))
    result = medbench("report", "--results", tmp_path)
    assert (result.exit_code, result.stderr.count("\n")) == (2, 1)
    assert "is not the file that its record was written with" in result.stderr
    path.unlink()
    assert medbench(*command).exit_code == 0, "a lost cases.csv is made again"
    assert path.exists()


@pytest.mark.parametrize("option", ["--seeds", "--split", "--data-root", "--results", "--models"])
def test_an_empty_option_is_a_mistake(option: str) -> None:
    result = medbench("run", "--dataset", "acdc", option, "")
    line = f"Error: Invalid value for '{option}': it is empty; leave the option out for its default.\n"
    assert (result.exit_code, result.stderr) == (2, line)


@pytest.mark.parametrize("command", [["report"], ["show", "acdc", "--output", "never"]])
def test_report_without_records_says_what_to_do(command: list[str], tmp_path: Path) -> None:
    result = medbench(*command, "--results", tmp_path)
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: No records in ")
    assert "Run `medbench run` first" in result.stderr
    result = medbench(*command, "--results", tmp_path / "none")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: No results folder ")


def test_an_interrupt_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import bench.runs.runner

    def stop(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench.runs.runner, "run_jobs", stop)
    result = medbench("run", "--models", "chance", "--dataset", "acdc", *SMOKE, "--results", tmp_path)
    assert result.exit_code == 130
    assert (
        result.stderr == "Interrupted. What is finished is stored; the same command goes on where this one stopped.\n"
    )


def test_models_marks_what_all_means() -> None:
    result = medbench("models", "--preset", "paper")
    marks = {words[0]: words[1] for line in result.output.splitlines() if len(words := line.split()) > 1}
    assert marks["unet"] == "*"
    assert marks["unet_s"] == "U-Net"


def test_data_commands_from_drawn_files_to_a_broken_cache(tmp_path: Path) -> None:
    """tests/datasets/test_prepared.py prepares the real ones."""
    assert medbench("data", "draw", "acdc", tmp_path / "raw").exit_code == 0
    prepared = medbench("data", "prepare", "acdc", "--from", tmp_path / "raw", "--data-root", tmp_path)
    assert prepared.exit_code == 0, prepared.stderr
    assert "6 patients, 12 volumes, " in prepared.output
    assert "split     mtunet (default): patients present/official train 3/70, val 1/10, test 2/20" in prepared.output
    again = medbench("data", "prepare", "acdc", "--from", tmp_path / "raw", "--data-root", tmp_path)
    assert again.output.startswith("kept: the same content is prepared already\n")
    verified = medbench("data", "verify", "acdc", "--data-root", tmp_path)
    assert verified.output.endswith("all hashes agree with the manifest\n")
    assert "6 patients" in medbench("data", "list", "--data-root", tmp_path).output
    with (tmp_path / "acdc" / "images.npy").open("r+b") as file:
        file.seek(5000)
        file.write(b"\xff\xff")
    broken = medbench("data", "verify", "acdc", "--data-root", tmp_path)
    assert broken.exit_code == 2
    assert "1 problems" in broken.stderr


def test_data_that_are_phantoms_alone_are_told(tmp_path: Path) -> None:
    root = ["--data-root", tmp_path]
    assert medbench("data", "prepare", "acdc", "--phantom", *root).exit_code == 0
    doctor = medbench("doctor", *root).output
    (line,) = (line for line in doctor.splitlines() if line.startswith("  acdc "))
    count = line.partition("phantoms: prepared, ")[2]
    assert count.endswith(" cases")
    assert f" no; phantoms: {count} " in medbench("data", "list", *root).output
    assert medbench("data", "info", "acdc", *root).output.endswith(
        f"\nphantoms  {tmp_path / 'acdc-phantom'}: {count}\n"
    )
    (tmp_path / "acdc-phantom" / "manifest.json").write_text("{")
    said = "broken, see `medbench data verify acdc --data phantom`"
    assert medbench("data", "list", *root).exit_code == 0
    assert medbench("data", "info", "acdc", *root).output.endswith(f": {said}\n")


@pytest.mark.parametrize("odd", ["a file", "a name too long", "a link to itself"])
@pytest.mark.parametrize("command", ["list", "report", "run"])
def test_a_path_that_the_system_refuses_is_one_line(odd: str, command: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    results = {
        "a file": tmp_path / "file" / "results",
        "a name too long": tmp_path / ("n" * 300),
        "a link to itself": tmp_path / "loop" / "results",
    }[odd]
    words = {"list": ["results", "list"], "report": ["report"], "run": ["run", *SMOKE, "--models", "chance"]}[command]
    done = medbench(*words, "--results", results)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1), done.output
    assert "Error: " in done.stderr
    assert "Traceback" not in done.output
