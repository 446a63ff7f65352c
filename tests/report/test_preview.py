"""The preview of a plan: training images as steps would see them, masks that move along, the rate of each step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from bench.cli.main import main
from bench.report.preview import contact_sheet, rate_curve
from bench.runs.augmented import DRAWS, Augmented, augmented_images
from bench.runs.job import training_part
from bench.runs.request import Request
from bench.runs.runner import make_jobs
from bench.runs.train import learning_rate

KNOWN = {"preset": "smoke", "data": "phantom", "threads": 1}


@pytest.fixture(scope="module")
def hearts(user_data: Path) -> Augmented:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(user_data))
        jobs = make_jobs(Request("chance,unet_s", "acdc", settings=("image_size=32", "rot90=1"), seeds=2, **KNOWN))
        (preview,) = augmented_images(jobs)
    return preview


def test_masks_move_with_their_images_and_are_of_the_training_part(hearts: Augmented) -> None:
    count = len(hearts.names)
    assert hearts.images.shape == (1 + DRAWS, count, 1, 32, 32)
    assert hearts.labels.shape == (1 + DRAWS, count, 32, 32)
    assert all((hearts.labels[0, i] > 0).any() for i in range(count))
    assert not np.array_equal(hearts.images[0], hearts.images[1])
    blood = hearts.labels[:, :, None] == 3  # bright wherever it lies
    for draw in range(1 + DRAWS):
        assert hearts.images[draw][blood[draw]].mean() > hearts.images[draw][~blood[draw]].mean() + 0.5
    data, cases = training_part(hearts.job)
    assert {name.partition(",")[0] for name in hearts.names} <= {data.cases[i].case for i in cases}
    assert hearts.mixed == (None,) * DRAWS


def test_the_rate_is_that_of_the_steps(hearts: Augmented) -> None:
    settings = hearts.job.cell.settings()
    (rate,) = hearts.rates
    assert rate == settings.lr
    assert hearts.rates[rate].tolist() == [learning_rate(int(step), settings) for step in hearts.steps]
    (line,) = rate_curve(hearts).axes[0].lines
    assert (min(line.get_xdata()), max(line.get_xdata())) == (1, settings.steps)


def test_the_sheet_says_what_acts_and_that_images_are_drawn(hearts: Augmented) -> None:
    sheet = contact_sheet(hearts)
    title = sheet.get_suptitle().replace("\n", " ")
    assert title.startswith("PHANTOM images. ACDC (acdc-phantom), preset smoke with image_size=32, rot90=1.")
    assert "flip 0.5" in title
    assert "rot90 1" in title
    assert "mixup" not in title
    assert len(sheet.axes) == (1 + DRAWS) * len(hearts.names)


@pytest.mark.slow
def test_plan_draws_one_for_each_data_set_and_trains_nothing(tmp_path: Path) -> None:
    options = ["--models", "chance", "--preset", "smoke", "--data", "phantom", "--results", str(tmp_path / "results")]
    drawing = ["--set", "image_size=32", "--preview", str(tmp_path / "drawn")]
    result = CliRunner().invoke(main, ["plan", "--dataset", "acdc", *options, *drawing])
    assert result.exit_code == 0, result.output
    names = sorted(path.name for path in (tmp_path / "drawn").iterdir())
    assert names == ["acdc-phantom-smoke-augmentation.png", "acdc-phantom-smoke-rate.png"]
    assert not (tmp_path / "results").exists()
