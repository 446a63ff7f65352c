"""Images of 16 bits become 8 by one rule for the whole data set, and what it cost stands in the manifest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.datasets.cache.prepared import open_prepared, prepare
from bench.datasets.readers.sars_cov2_ct import SPEC
from bench.errors import UserError
from bench.report.data import info_text, prepared_text


def write(folder: Path, highest: dict[str, int]) -> Path:
    """Noise from 0 to a highest level, of 16 bits; further images of 8 bits."""
    rng = np.random.default_rng(0)
    for name, top in highest.items():
        levels = rng.integers(0, top + 1, (30, 40))
        path = folder / ("COVID" if name.startswith("Covid") else "non-COVID") / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(levels.astype(np.uint8 if top < 256 else np.uint16)).save(path)
    return folder


def test_the_manifest_and_info_say_what_became_of_16_bits(tmp_path: Path) -> None:
    source = write(tmp_path / "raw", {"Covid (1)": 65535, "Covid (2)": 25_700, "Non-Covid (1)": 255})
    prepared = prepare(SPEC, source, tmp_path / "root")
    (dark,) = (i for i, case in enumerate(prepared.cases) if case.case == "Covid (2)")
    kept = len(np.unique(prepared.image(dark)))
    told = prepared.manifest["sixteen_bits"]
    assert told == {
        "rule": "grey level / 257, rounded: 65535 is 255, in every file alike",
        "images": 2,
        "under_half": 1,
        "worst": {"case": "Covid (2)", "levels": [told["worst"]["levels"][0], kept]},
    }
    assert kept == 101
    line = "16 bits   2 images, grey level / 257, rounded: 65535 is 255, in every file alike; 1 keep less than half of"
    assert line in prepared_text(prepared)
    assert line in info_text(SPEC.name, str(tmp_path / "root"))
    assert open_prepared(SPEC, tmp_path / "root").fingerprint == prepared.fingerprint


def test_without_16_bits_nothing_is_said(tmp_path: Path) -> None:
    prepared = prepare(SPEC, write(tmp_path / "raw", {"Covid (1)": 255, "Non-Covid (1)": 250}), tmp_path / "root")
    assert "sixteen_bits" not in prepared.manifest
    assert "16 bits" not in prepared_text(prepared)


def test_a_file_that_would_keep_little_stops_the_preparation(tmp_path: Path) -> None:
    source = write(tmp_path / "raw", {"Covid (1)": 65535, "Non-Covid (1)": 4180})
    with pytest.raises(UserError, match=r"Non-Covid \(1\).png to use the range of its 16 bits .* 17 would be left"):
        prepare(SPEC, source, tmp_path / "root")
    assert not (tmp_path / "root" / SPEC.name).exists()
