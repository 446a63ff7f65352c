"""Metrics as plain functions on numpy arrays."""

from bench.metrics import segmentation

__all__ = ["segmentation"]
