"""Whether networks saw so few images that they have not converged: nothing of such a comparison is marked or ranked.

The protocol decides and not the preset's name: a short run of any preset is short, a long one of `quick` is not.
"""

from __future__ import annotations

from typing import Any

import pandas as pd

CONVERGED = 24_000  # images seen, from which on figures are marked and ranked: half of what `standard` sees at least
NO_RANKS = "Nothing is ranked: the budget is short, and networks have not converged."


def is_short(images: float) -> bool:
    """Whether networks that saw so many images in training are taken not to have converged."""
    return images < CONVERGED


def is_short_comparison(first: pd.Series[Any]) -> bool:
    """Whether the budget of a comparison is short; all its cells have one protocol."""
    return is_short(first["images_seen"])


def short_words(images: float) -> str:
    """That networks which saw so many images have not converged; blank where they saw enough."""
    return f"short budget: {images:,.0f} images seen, networks have not converged" if is_short(images) else ""


def budget_mark(images: float) -> str:
    """What counts against figures in a table of networks that saw so many images; blank where nothing does."""
    return f"{short_words(images)}; nothing is marked best" if is_short(images) else ""
