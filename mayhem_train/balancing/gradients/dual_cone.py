"""UPGrad and DualProj: projections onto the directions that conflict with no task."""

from __future__ import annotations

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from mayhem_train.balancing.gradients.method import GramMethod
from mayhem_train.balancing.gradients.square_root import square_root, unit_gram


class UPGrad(GramMethod):
    """d = 1/K sum_k P(g_k), where P projects onto the dual cone {v: v . g_j >= 0 for every j}.

    Quinton and Rey 2024, "Jacobian Descent for Multi-Objective Optimization", section 3. For two tasks it is half of
    PCGrad.
    """

    def weights(self, gram: Tensor) -> Tensor:
        """The mean of each gradient's projection."""
        if len(gram) == 2:
            return (1 - gram[0, 1].clamp(max=0) / gram.diagonal()) / 2
        cosines, lengths = unit_gram(gram.double().cpu().numpy())
        projections = [project_to_dual_cone(row, cosines) for row in np.diag(lengths)]
        return torch.from_numpy(np.mean(projections, axis=0) / lengths).to(gram)


class DualProj(GramMethod):
    """d = P(1/K sum_k g_k): the mean gradient, projected onto the dual cone of the gradients.

    Lopez-Paz and Ranzato 2017, "Gradient Episodic Memory for Continual Learning", equation 11. For two tasks
    w = (max(1, -G_12 / G_11), max(1, -G_12 / G_22)) / 2.
    """

    def weights(self, gram: Tensor) -> Tensor:
        """The mean's projection."""
        if len(gram) == 2:
            return (-gram[0, 1] / gram.diagonal()).clamp(min=1) / 2
        cosines, lengths = unit_gram(gram.double().cpu().numpy())
        return torch.from_numpy(project_to_dual_cone(lengths / len(lengths), cosines) / lengths).to(gram)


def project_to_dual_cone(weights: np.ndarray, gram: np.ndarray) -> np.ndarray:
    """v float64 [K], the weights of the projection of sum_k u_k g_k onto the gradients' dual cone.

    By duality v minimises v^T G v over v >= u, which is non-negative least squares in v - u.
    """
    vectors = square_root(gram)
    added, _ = nnls(vectors, -vectors @ weights)
    return np.asarray(weights + added)
