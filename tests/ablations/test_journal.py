"""Studies on disk: leases, trials taken back, half a line, a name that is of something else."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from ablations.journal import claiming, has_ended, lease, open_study, read_study, take_back
from bench.errors import UserError

ABOUT = {"dataset": "acdc"}


def states(study: object) -> list[str]:
    return [trial.state.name for trial in study.get_trials(deepcopy=False)]  # type: ignore[attr-defined]


def test_a_lease_ends_with_its_process() -> None:
    own = lease()
    assert not has_ended(own)
    child = subprocess.run(
        [sys.executable, "-c", "from ablations.journal import lease; import json; print(json.dumps(lease()))"],
        capture_output=True,
        text=True,
        check=True,
    )
    import json

    assert has_ended(json.loads(child.stdout))
    assert has_ended({**own, "start": own["start"] - 60}), "another process of the same number"
    assert has_ended({**own, "start": "4711"}), "a lease of before starts were told in seconds"
    assert not has_ended({**own, "start": own["start"] + 0.5}), "the clock was set meanwhile"


def test_a_lease_of_another_host_ends_with_time_alone() -> None:
    away = {**lease(), "host": "elsewhere", "pid": 1}
    assert not has_ended(away)
    assert has_ended({**away, "time": away["time"] - 10_000})
    assert has_ended(None)


def test_a_trial_whose_process_is_gone_is_failed_and_enqueued_again_once(tmp_path: Path) -> None:
    study = open_study(tmp_path, "s", ABOUT, ["maximize"])
    for number in range(2):
        study.enqueue_trial({"x": float(number)}, user_attrs={"key": f"k{number}"})
    for pid in (os.getpid(), 2**22 + 1):
        trial = study.ask()
        trial.suggest_float("x", 0, 5)
        trial.set_user_attr("lease", {**lease(), "pid": pid})
    with claiming(tmp_path, "s"):
        assert take_back(study) == 1
        assert take_back(study) == 0
    assert states(study) == ["RUNNING", "FAIL", "WAITING"]
    again = study.ask()
    assert again.suggest_float("x", 0, 5) == 1.0
    assert again.user_attrs["key"] == "k1"


def test_a_kill_while_a_trial_is_taken_back_neither_loses_nor_doubles_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_study(tmp_path, "s", ABOUT, ["maximize"])
    trial = study.ask()
    trial.suggest_float("x", 0, 5)
    trial.set_user_attr("lease", {**lease(), "pid": 2**22 + 1})
    tell = study.tell
    for killed in (True, False):

        def told(*args: object, killed: bool = killed, **options: object) -> None:
            if killed:
                raise KeyboardInterrupt
            tell(*args, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(study, "tell", told)
        with claiming(tmp_path, "s"), suppress(KeyboardInterrupt):
            take_back(study)
    assert states(study) == ["FAIL", "WAITING"]
    assert study.ask().suggest_float("x", 0, 5) == trial.params["x"]


def test_a_study_of_another_dataset_under_the_same_name_is_one_line(tmp_path: Path) -> None:
    open_study(tmp_path, "mine", ABOUT, ["maximize"])
    with pytest.raises(UserError, match=r"Study .mine. is of dataset acdc, not of synapse\. Name another with --study"):
        open_study(tmp_path, "mine", {"dataset": "synapse"}, ["maximize"])
    with pytest.raises(UserError, match="1 objectives, not 2"):
        open_study(tmp_path, "mine", ABOUT, ["maximize", "minimize"])


def test_half_a_line_of_a_killed_writer_is_dropped(tmp_path: Path) -> None:
    study = open_study(tmp_path, "s", ABOUT, ["maximize"])
    study.tell(study.ask(), 1.0)
    path = tmp_path / "studies" / "s.log"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"op_code": 4, "wor')
    again = open_study(tmp_path, "s", ABOUT, ["maximize"])
    assert states(again) == ["COMPLETE"]
    again.tell(again.ask(), 2.0)
    assert states(read_study(path)) == ["COMPLETE", "COMPLETE"]


def test_half_a_line_that_another_process_wrote_behind_is_dropped_and_its_line_kept(tmp_path: Path) -> None:
    study = open_study(tmp_path, "s", ABOUT, ["maximize"])
    path = tmp_path / "studies" / "s.log"
    before = path.read_bytes()
    study.tell(study.ask(), 1.0)
    later = path.read_bytes().removeprefix(before)
    path.write_bytes(before + b'{"op_code": 4, "wor' + later)
    with pytest.raises(UserError, match="is no journal"):
        read_study(path)
    assert states(open_study(tmp_path, "s", ABOUT, ["maximize"])) == ["COMPLETE"]
    assert path.read_bytes().startswith(before + later), "what was whole is as it was"
    foreign = b"a user's own notes\n" + before
    path.write_bytes(foreign)
    with pytest.raises(UserError, match="Cannot open study"):
        open_study(tmp_path, "s", ABOUT, ["maximize"])
    assert path.read_bytes() == foreign


@pytest.mark.parametrize("line", ["not a journal", "null", "[]", "3", '{"op_code": 99}', '{"op_code": "x"}'])
def test_a_file_that_is_no_journal_is_one_line(line: str, tmp_path: Path) -> None:
    (tmp_path / "studies").mkdir()
    (tmp_path / "studies" / "s.log").write_text(f"{line}\n")
    with pytest.raises(UserError, match="Cannot open study 's'"):
        open_study(tmp_path, "s", ABOUT, ["maximize"])
    with pytest.raises(UserError, match=r"s\.log is no journal of a study 's'"):
        read_study(tmp_path / "studies" / "s.log")


def test_a_storage_url_takes_the_journal_s_place(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'study.db'}"
    study = open_study(tmp_path, "s", ABOUT, ["maximize"], url)
    study.tell(study.ask(), 1.0)
    assert states(open_study(tmp_path, "s", ABOUT, ["maximize"], url)) == ["COMPLETE"]
    with pytest.raises(UserError, match="Cannot open study 's' in nothing://x"):
        open_study(tmp_path, "s", ABOUT, ["maximize"], "nothing://x")
