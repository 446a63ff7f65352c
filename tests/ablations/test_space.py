"""Fields of a search that the user names: steps that decimals do not add up to."""

from __future__ import annotations

import optuna
import pytest

from ablations.space import read_space

MODEL = "emcad_b0_s"


@pytest.mark.parametrize("text", ["drop_path=0..0.3:0.1", "drop_path=0..0.5:0.1", "drop_path=0.1..0.7:0.2"])
def test_the_model_s_own_value_is_in_a_range_of_decimals(text: str) -> None:
    (dimension,) = read_space([text], MODEL)
    assert dimension.nearest(0.3, 0.0) == 0.3
    study = optuna.create_study()
    study.enqueue_trial({"drop_path": dimension.nearest(0.3, 0.0)})
    assert dimension.draw(study.ask()) == "0.3"
    drawn = {dimension.draw(study.ask()) for _ in range(30)}
    assert all(len(value) <= 3 for value in drawn), drawn
