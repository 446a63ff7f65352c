"""The undisturbed run that all others are held against."""

from __future__ import annotations

import pytest
from faults import finish, matrix

from bench.runs.execution import Execution
from bench.runs.job import Job


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> list[Job]:
    """The cells of a matrix, finished in peace."""
    jobs = matrix(tmp_path_factory.mktemp("undisturbed"))
    code, said = finish(jobs, Execution("2"))
    assert code == 0, said
    return jobs
