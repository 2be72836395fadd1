"""Every balancing method by the name it is asked for."""

from __future__ import annotations

from collections.abc import Callable

from mayhem_train.balancing.gradients.aligned_mtl import AlignedMTL
from mayhem_train.balancing.gradients.cagrad import CAGrad
from mayhem_train.balancing.gradients.db_mtl import DualBalancing
from mayhem_train.balancing.gradients.dual_cone import DualProj, UPGrad
from mayhem_train.balancing.gradients.fair import FairGrad, NashMTL
from mayhem_train.balancing.gradients.graddrop import FeatureGradDrop, GradDrop
from mayhem_train.balancing.gradients.imtl_g import IMTLG
from mayhem_train.balancing.gradients.method import GradientMethod
from mayhem_train.balancing.gradients.mgda import MGDA
from mayhem_train.balancing.gradients.pcgrad import PCGrad
from mayhem_train.balancing.gradients.plain_sum import PlainSum
from mayhem_train.balancing.weightings.auto_lambda import AutoLambda
from mayhem_train.balancing.weightings.dynamic import DynamicWeightAverage
from mayhem_train.balancing.weightings.equal import EqualWeighting
from mayhem_train.balancing.weightings.famo import FastAdaptiveWeighting
from mayhem_train.balancing.weightings.geometric import GeometricWeighting
from mayhem_train.balancing.weightings.random import RandomWeighting
from mayhem_train.balancing.weightings.relative_difficulty import RelativeDifficultyWeighting
from mayhem_train.balancing.weightings.smooth_tchebycheff import SmoothTchebycheffWeighting
from mayhem_train.balancing.weightings.task_difficulty import TaskDifficultyWeighting
from mayhem_train.balancing.weightings.uncertainty import UncertaintyWeighting
from mayhem_train.balancing.weightings.weighting import LossWeighting

CONSTANT = "constant"
WEIGHTINGS: dict[str, Callable[[], LossWeighting]] = {
    "equal": EqualWeighting,
    CONSTANT: EqualWeighting,
    "uncertainty": UncertaintyWeighting,
    "dwa": DynamicWeightAverage,
    "bmtl": TaskDifficultyWeighting,
    "relative": RelativeDifficultyWeighting,
    "geometric": GeometricWeighting,
    "auto-lambda": AutoLambda,
    "rlw": RandomWeighting,
    "famo": FastAdaptiveWeighting,
    "stch": SmoothTchebycheffWeighting,
}
GRADIENT_METHODS: dict[str, Callable[[], GradientMethod]] = {
    "none": PlainSum,
    "pcgrad": PCGrad,
    "cagrad": CAGrad,
    "graddrop": FeatureGradDrop,
    "graddrop-shared": GradDrop,
    "mgda": MGDA,
    "nash-mtl": NashMTL,
    "imtl-g": IMTLG,
    "aligned-mtl": AlignedMTL,
    "upgrad": UPGrad,
    "dualproj": DualProj,
    "fairgrad": FairGrad,
    "db-mtl": DualBalancing,
}
ALIASES = {"dynamic": "dwa", "autol": "auto-lambda"}


def canonical(name: str) -> str:
    """The name that an alias stands for, or the name itself."""
    return ALIASES.get(name, name)
