"""MGDA: the shortest vector between the gradients, which lowers every loss or says that none can be."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from mayhem_train.balancing.gradients.method import GramMethod
from mayhem_train.balancing.gradients.square_root import square_root, unit_gram


class MGDA(GramMethod):
    """w minimises |sum_k w_k g_k| over w_k >= 0, sum_k w_k = 1.

    Désidéri 2012, "Multiple-gradient descent algorithm (MGDA) for multiobjective optimization"; Sener and Koltun 2018,
    "Multi-Task Learning as Multi-Objective Optimization". For two tasks w_1 = (G_22 - G_12) / (G_11 + G_22 - 2 G_12)
    within [0, 1].
    """

    def weights(self, gram: Tensor) -> Tensor:
        """The shortest vector's weights."""
        if len(gram) == 2:
            (a, x), (_, b) = gram
            to_other = torch.stack([b - x, a - x])
            return (to_other / to_other.sum()).nan_to_num(0.5).clamp(0, 1)  # equal gradients: any weights do
        return torch.from_numpy(shortest_weights(gram.double().cpu().numpy())).to(gram)


def shortest_weights(gram: np.ndarray) -> np.ndarray:
    """w float64 [K] of the shortest vector in the convex hull of vectors with this Gram matrix.

    As non-negative least squares: y minimises |A y|^2 + (sum(w) - 1)^2 over y >= 0 exactly where w / sum(w) is
    shortest, since for a fixed w / sum(w) the least value n / (1 + n) grows with n = |A y|^2. A has unit columns and
    w_k = y_k s_k with s_k ~ 1 / |g_k|, so that a gradient a millionth as long as another counts as exactly.
    """
    cosines, lengths = unit_gram(gram)
    shares = lengths.min() / lengths
    rows = np.vstack([square_root(cosines), shares])
    solution, _ = nnls(rows, np.append(np.zeros(len(gram)), 1.0))
    return np.asarray(solution * shares / (solution @ shares))
