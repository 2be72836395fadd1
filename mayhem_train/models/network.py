"""Every network by the name it is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from mayhem_ros.errors import UsageError
from mayhem_train.models import detection, segmentation
from mayhem_train.models.bodies import Weights
from mayhem_train.models.deeplabv3 import deeplabv3
from mayhem_train.models.faster_rcnn import faster_rcnn
from mayhem_train.models.lraspp import lraspp
from mayhem_train.models.multi_task import MultiTaskNetwork
from mayhem_train.models.original import ORIGINAL_NETWORKS
from mayhem_train.models.recipe import HeadRecipe, NetworkRecipe
from mayhem_train.models.specification import NetworkSpecification
from mayhem_train.models.ssdlite import ssdlite
from mayhem_train.naming import look_up

__all__ = ["ALIASES", "NETWORKS", "PRESETS", "MultiTaskNetwork", "build_network", "canonical"]

FASTER_RCNN = HeadRecipe(detection.TASK, faster_rcnn)
SSDLITE = HeadRecipe(detection.TASK, ssdlite)
DEEPLABV3 = HeadRecipe(segmentation.TASK, deeplabv3, dilates=True)
LR_ASPP = HeadRecipe(segmentation.TASK, lraspp)

NETWORKS: dict[str, NetworkRecipe] = {
    "frcnn": NetworkRecipe((FASTER_RCNN,)),
    "ssdlite": NetworkRecipe((SSDLITE,)),
    "deeplabv3": NetworkRecipe((DEEPLABV3,)),
    "lraspp": NetworkRecipe((LR_ASPP,)),
    "frcnn-mtl": NetworkRecipe((FASTER_RCNN, DEEPLABV3)),
    "ssdlite-mtl": NetworkRecipe((SSDLITE, DEEPLABV3)),
    "lraspp-mtl": NetworkRecipe((SSDLITE, LR_ASPP)),
}
ALIASES = {"frcnn-hybrid": "frcnn-mtl", "ssdlite-hybrid": "ssdlite-mtl", "lraspp-hybrid": "lraspp-mtl"}
PRESETS: dict[str, Mapping[str, NetworkRecipe]] = {"fair": NETWORKS, "original": ORIGINAL_NETWORKS}

LEAST_SIDE = 64  # pixels


def canonical(name: str) -> str:
    """The name that an old one stands for, or the name itself."""
    return ALIASES.get(name, name)


def build_network(specification: NetworkSpecification, weights: Weights) -> MultiTaskNetwork:
    """The network that a specification names; `weights` says what its body starts from.

    Raises:
        UsageError: no preset, network or body of this name, no classes to learn, or a size it cannot take.
    """
    recipe = look_up("network", look_up("preset", PRESETS, specification.preset), specification.name, ALIASES)
    if min(specification.height, specification.width) < LEAST_SIDE:
        raise UsageError(
            f"The network's input is {specification.height}x{specification.width} pixels: choose at least "
            f"{LEAST_SIDE}x{LEAST_SIDE}."
        )
    return recipe.build(replace(specification, name=canonical(specification.name)), weights)
