"""What the fuzz tests share: how many examples, a folder for each, and one line where a reader cannot read."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings

from bench.errors import UserError

EXAMPLES = int(os.environ.get("MEDBENCH_FUZZ_EXAMPLES", "60"))
fuzzed = settings(
    max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True
)


@contextmanager
def new_folder() -> Iterator[Path]:
    """A folder of one example."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield Path(name)


def one_line(read: Callable[[], Any]) -> Any:
    """What a reader gives, or None where it says in one line that it cannot."""
    said = ""
    try:
        return read()
    except UserError as error:
        said = str(error)
    assert len(said.splitlines()) == 1, said
    return None
