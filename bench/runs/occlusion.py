"""What of an image a classifier's answer rests on: its probability as patches of the image are covered."""

from __future__ import annotations

import warnings

import numpy as np

from bench.runs.trained import Trained, device_of, using_threads

PATCHES = 8  # an eighth of a side is covered at a time
OVERLAP = 0.5
BATCH = 32


def occlusion_map(trained: Trained, image: np.ndarray, label: int) -> np.ndarray:
    """(S, S): by how much covering a place lowers the probability of a class, on the network's own grid.

    A patch fades to 0 at its centre, which is the image's mean under `zscore` and black under `minmax` (MONAI's
    OcclusionSensitivity, `gaussian`): no edge is drawn into the image. It needs no layer of the network, and so means
    the same for CNNs and Transformers.

    Args:
        image: (C, H, W) uint8. label: the class's index.
    """
    import torch
    from monai.visualize import OcclusionSensitivity

    from bench.datasets.loading import batch_input

    x = batch_input([image], trained.protocol).to(device_of(trained.model))
    patch = max(2, trained.protocol.image_size // PATCHES)
    covering = OcclusionSensitivity(
        trained.model,
        mask_size=patch,
        n_batch=BATCH,
        overlap=OVERLAP,
        verbose=False,
        activate=lambda logits: logits.softmax(dim=1),  # by itself it takes a sigmoid where images have one channel
    )
    with using_threads(trained.protocol.threads), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch's of how MONAI 1.6 writes an index
        covered, _ = covering(x)
        whole = trained.model(x).softmax(dim=1)[0, label].item()
    return whole - covered[0, label].numpy(force=True)
