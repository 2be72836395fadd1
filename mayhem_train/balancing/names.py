"""Every balancing method by the name it is asked for."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from typing import TypeVar

from mayhem_ros.errors import UsageError
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
_ALIASES = {"dynamic": "dwa", "autol": "auto-lambda"}

Method = TypeVar("Method")


def canonical(name: str) -> str:
    """The name that an alias stands for, or the name itself."""
    return _ALIASES.get(name, name)


def build(kind: str, methods: Mapping[str, Callable[[], Method]], name: str) -> Method:
    """A new method of this name or alias.

    Raises:
        UsageError: there is none; the sentence lists all names and the nearest.
    """
    name = canonical(name)
    if name not in methods:
        nearest = difflib.get_close_matches(name, [*methods, *_ALIASES], 1, 0.4)
        hint = f"did you mean {nearest[0]}? All of them are" if nearest else "choose one of"
        raise UsageError(f"There is no {kind} {name!r}: {hint} {', '.join(methods)}.")
    return methods[name]()
