"""Metrics as plain functions on numpy arrays."""

from bench.metrics import classification, segmentation

__all__ = ["classification", "segmentation"]
