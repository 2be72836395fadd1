"""Vectors of a few coordinates that have the same inner products as the gradients."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def square_root(gram: NDArray[np.float64]) -> NDArray[np.float64]:
    """A float64 [K, K] with A^T A = G, for a positive semi-definite G; its columns stand for the gradients."""
    values, vectors = np.linalg.eigh(gram)
    return np.asarray(np.sqrt(np.clip(values, 0, None))[:, None] * vectors.T)


def unit_gram(gram: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The Gram matrix [K, K] of the gradients at unit length, which has no scale, and their lengths [K]."""
    lengths = np.sqrt(gram.diagonal())
    return gram / np.outer(lengths, lengths), lengths
