"""`--precision` is another word for `--set precision=`."""

from __future__ import annotations

from typing import Any

import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.runs.protocol import CHOICES


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The settings of the requests that become jobs."""
    seen: list[Any] = []
    monkeypatch.setattr("bench.runs.runner.make_jobs", lambda request, report: seen.append(request.settings) or [])
    return seen


@pytest.mark.parametrize("command", ["run", "plan"])
def test_it_stands_among_the_settings_wherever_it_is_given(command: str, asked: list[Any]) -> None:
    for options in (
        ["--precision", "bf16-mixed", "--set", "lr=1e-3"],
        ["--set", "lr=1e-3", "--precision", "bf16-mixed"],
        ["--set", "lr=1e-3", "--set", "precision=bf16-mixed"],
        ["--set", "lr=1e-3"],
    ):
        CliRunner().invoke(main, [command, "--dataset", "acdc", *options])
    assert asked == [("lr=1e-3", "precision=bf16-mixed")] * 3 + [("lr=1e-3",)]


def test_both_words_at_once_are_refused(asked: list[Any]) -> None:
    done = CliRunner().invoke(main, ["plan", "--dataset", "acdc", "--precision", "32-true", "--set", "precision=x"])
    assert (done.exit_code, done.stderr) == (2, "Error: Expected --precision, or --set precision, but got both.\n")
    assert asked == []


def test_the_help_names_what_the_protocol_takes() -> None:
    text = " ".join(CliRunner().invoke(main, ["run", "--help"]).output.split())
    assert all(name in text.partition("--precision")[2][:120] for name in CHOICES["precision"])
