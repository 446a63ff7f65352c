"""What a record says about where it was made."""

from __future__ import annotations

import json
import os
import platform
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from bench.records import environment as module
from bench.records.environment import environment, git_state


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(name, raising=False)
    git(tmp_path, "init", "-q")
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "cli.py").write_text("x = 1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_content() -> None:
    found = environment("cpu", 2)
    assert list(found) == [
        "python",
        "platform",
        "cpu",
        "logical_cores",
        "ram_gb",
        "gpu",
        "device",
        "threads",
        "versions",
        "cuda",
        "commit",
        "dirty",
    ]
    assert found["python"] == platform.python_version()
    assert (found["device"], found["threads"], found["gpu"], found["cuda"]) == ("cpu", 2, None, None)
    assert found["versions"]["torch"] == version("torch")
    assert found["cpu"]
    assert found["logical_cores"] >= 1
    assert found["ram_gb"] is None or found["ram_gb"] > 0


def test_is_json_and_names_no_host() -> None:
    text = json.dumps(environment("cpu", 1), allow_nan=False)
    host = socket.gethostname()
    assert len(host) < 4 or host not in text
    assert str(Path.home()) == "/" or str(Path.home()) not in text


def test_an_absent_distribution_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PACKAGES", ("numpy", "no-such-distribution"))
    assert environment("cpu", 1)["versions"] == {"numpy": version("numpy"), "no-such-distribution": None}


def test_commit_and_dirty(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    assert git_state(checkout) == (commit, False)
    (checkout / "notes.txt").write_text("results lie about\n")
    assert git_state(checkout) == (commit, False)
    (checkout / "bench" / "__pycache__").mkdir()
    (checkout / "bench" / "__pycache__" / "new.cpython-312.pyc").write_bytes(b"compiled")
    assert git_state(checkout) == (commit, False)
    (checkout / "bench" / "new.py").write_text("y = 2\n")
    assert git_state(checkout) == (commit, True)


def test_a_folder_inside_a_checkout_is_none(checkout: Path) -> None:
    assert git_state(checkout / "bench") == (None, None)


def test_no_commit_yet(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    assert git_state(tmp_path) == (None, None)


def test_git_variables_do_not_mislead(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = git_state(checkout)
    monkeypatch.setenv("GIT_DIR", "/nowhere")
    assert git_state(checkout) == expected


def test_without_git(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert git_state(checkout) == (None, None)


def test_imports_no_heavy_package() -> None:
    code = (
        "import sys; from bench.records.environment import environment; environment('cpu', 1);"
        "print(sorted({'torch', 'numpy', 'monai', 'timm', 'scipy'} & set(sys.modules)))"
    )
    root = Path(module.__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout == "[]\n"


def test_idle_cores_are_the_idle_share_of_the_ticks_between(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([(100, 1000), (130, 1040), (0.1, 0.3), (0.4, 0.3 + 0.29999999)])
    monkeypatch.setattr(module, "_core_times", lambda: next(ticks))
    monkeypatch.setattr(module.os, "cpu_count", lambda: 4)
    assert module.idle_cores(0.0) == 3.0
    assert module.idle_cores(0.0) == 4.0, "no more than there are, though seconds of all cores are rounded"
    monkeypatch.setattr(module, "_core_times", lambda: None)
    assert module.idle_cores() is None


@pytest.mark.skipif(not Path("/proc/stat").exists(), reason="this system has no /proc/stat")
def test_the_ticks_of_this_machine_go_on_and_idle_is_a_part_of_them() -> None:
    first = module._core_times()
    idle = module.idle_cores(0.1)
    assert first is not None
    assert 0 < first[0] < first[1]
    assert idle is not None
    assert 0 <= idle <= (os.cpu_count() or 1)
