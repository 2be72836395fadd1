"""People: jointed bodies in varied clothes that walk, stand, crouch, reach and sit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mayhem_train.recordings.warehouse.mesh import Colour, Mesh, Skin, ball, block, merged, swing, tube, turn_z
from mayhem_train.recordings.warehouse.paint import Texture

POSTURES = ("walking", "standing", "reaching", "crouching", "sitting")

_THIGH, _SHIN, _SOLE = 0.43, 0.43, 0.08  # metres
_TORSO, _UPPER_ARM = 0.52, 0.29
_STRIDE = 1.4  # metres walked by a left and a right step

Transform = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True)
class Person:
    """A body of jointed parts, x forward, feet on z = 0.

    Attributes:
        mesh: every part about its own joint.
        posture: one of POSTURES.
        scale: size against 1.78 m.
        phase: where in its movement it starts, radians.
    """

    mesh: Mesh
    posture: str
    scale: float
    phase: float

    def posed(self, walked: float, time: float) -> Mesh:
        """The body as it stands after `walked` metres and `time` seconds."""
        joints = _joints(self.posture, self.phase, walked / self.scale, time)
        rotations = np.stack([rotation for rotation, _ in joints])[self.mesh.parts]
        offsets = np.stack([offset for _, offset in joints])[self.mesh.parts]
        turns = rotations.swapaxes(1, 2).astype(np.float32)
        positions = (self.mesh.positions @ turns + offsets[:, None]) * self.scale
        return replace(self.mesh, positions=positions.astype(np.float32), normals=self.mesh.normals @ turns)


def random_person(rng: np.random.Generator, posture: str) -> Person:
    """A person of random build and clothes."""
    build = rng.uniform(0.92, 1.15)
    scale = rng.uniform(0.92, 1.07)
    face = _pick(rng, ((0.87, 0.67, 0.55), (0.76, 0.55, 0.42), (0.52, 0.36, 0.26), (0.36, 0.24, 0.18)))
    vest = rng.random() < 0.6
    vest_colour = _pick(rng, ((0.85, 0.95, 0.2), (1.0, 0.5, 0.12), (1.0, 0.65, 0.1), (0.9, 0.25, 0.2)))
    shirt_colour = _pick(rng, _SHIRTS)
    trousers_colour = _pick(rng, _TROUSERS)
    shirt = Skin(Texture.CLOTH, shirt_colour)
    chest = Skin(Texture.VEST, vest_colour) if vest else shirt
    sleeve = Skin(Texture.CLOTH, face) if rng.random() < 0.25 else shirt
    trousers = Skin(Texture.CLOTH, trousers_colour)
    shoes = Skin(Texture.PLAIN, _pick(rng, ((0.1, 0.1, 0.1), (0.3, 0.2, 0.12), (0.75, 0.75, 0.78))))
    skin = Skin(Texture.PLAIN, face)
    torso = merged(
        [
            ball((0.11 * build, 0.165 * build, 0.13), trousers, (0, 0, -0.02)),
            _flat_tube(0.175 * build, 0.205 * build, _TORSO + 0.06, chest).moved((0, 0, -0.06)),
            ball((0.125 * build, 0.21 * build, 0.09), chest, (0, 0, _TORSO - 0.01)),
        ]
    )
    head = [tube(0.055, 0.055, 0.12, skin, sides=8), ball((0.1, 0.082, 0.125), skin, (0.015, 0, 0.21), rings=6)]
    if rng.random() < 0.5:
        helmet = Skin(Texture.PLAIN, _pick(rng, ((0.95, 0.95, 0.93), (0.95, 0.8, 0.1), (0.2, 0.4, 0.8))), gloss=0.5)
        head += [ball((0.13, 0.112, 0.12), helmet, (0.01, 0, 0.25), from_latitude=0, rings=5)]
        head += [tube(0.135, 0.125, 0.02, helmet).moved((0.03, 0, 0.245))]
    else:
        hair = Skin(
            Texture.CLOTH, _pick(rng, ((0.12, 0.09, 0.07), (0.32, 0.2, 0.12), (0.6, 0.5, 0.3), (0.5, 0.5, 0.5)))
        )
        head += [ball((0.105, 0.09, 0.115), hair, (-0.008, 0, 0.235), from_latitude=-15, rings=5)]
    parts = [torso.as_part(0), merged(head).as_part(1)]
    for side in (0, 1):
        parts += [
            merged([_hanging(0.06 * build, 0.05, _UPPER_ARM, sleeve)]).as_part(2 + side),
            merged(
                [_hanging(0.048, 0.036, 0.25, sleeve), ball((0.045, 0.035, 0.065), skin, (0, 0, -0.3), rings=3)]
            ).as_part(4 + side),
            merged([_hanging(0.09 * build, 0.066, _THIGH, trousers)]).as_part(6 + side),
            merged(
                [
                    _hanging(0.064, 0.052, _SHIN, trousers),
                    block((0.27, 0.1, _SOLE), shoes, (0.06, 0, -_SHIN - _SOLE)),
                ]
            ).as_part(8 + side),
        ]
    return Person(merged(parts), posture, scale, float(rng.uniform(0, 2 * np.pi)))


_SHIRTS = (
    (0.15, 0.2, 0.4),
    (0.5, 0.5, 0.52),
    (0.75, 0.15, 0.15),
    (0.1, 0.1, 0.11),
    (0.9, 0.9, 0.88),
    (0.2, 0.45, 0.3),
    (0.55, 0.35, 0.6),
    (0.2, 0.5, 0.7),
)
_TROUSERS = ((0.13, 0.17, 0.3), (0.1, 0.1, 0.11), (0.35, 0.33, 0.3), (0.45, 0.4, 0.28), (0.2, 0.3, 0.5))


def _pick(rng: np.random.Generator, options: tuple[Colour, ...]) -> Colour:
    colour = np.clip(np.array(options[int(rng.integers(len(options)))]) * rng.uniform(0.9, 1.1), 0, 1)
    return float(colour[0]), float(colour[1]), float(colour[2])


def _hanging(radius: float, end_radius: float, length: float, skin: Skin) -> Mesh:
    """A limb that hangs from its joint."""
    flip = np.diag([1.0, -1.0, -1.0])
    limb = tube(radius, end_radius, length, skin, sides=8, capped=False).moved((0, 0, 0), flip)
    return merged([limb, ball((radius, radius, radius), skin, rings=3)])


def _flat_tube(waist: float, shoulders: float, height: float, skin: Skin) -> Mesh:
    """A trunk: a tube that is 0.62 as deep as it is wide."""
    trunk = tube(waist, shoulders, height, skin, sides=12)
    squeeze = np.diag([0.64, 1.0, 1.0])
    return trunk.moved((0, 0, 0), squeeze)


def _joints(posture: str, phase: float, walked: float, time: float) -> list[Transform]:
    """Rotation and offset of each part: torso, head, upper arms, forearms, thighs, shins (left before right)."""
    sway = 0.04 * np.sin(1.3 * time + phase)
    lean, thighs, knees, arms, elbows, spread = (
        0.03 + sway / 2,
        [0.03, -0.03],
        [0.05, 0.05],
        [0.05, -0.05],
        [0.2, 0.2],
        0.1,
    )
    if posture == "walking":
        step = 2 * np.pi * walked / _STRIDE + phase
        thighs = [0.5 * np.sin(step), -0.5 * np.sin(step)]
        knees = [0.12 + 0.75 * max(0.0, np.cos(step)), 0.12 + 0.75 * max(0.0, -np.cos(step))]
        arms = [-0.55 * np.sin(step), 0.55 * np.sin(step)]
        elbows, lean = [0.35, 0.35], 0.06
    elif posture == "reaching":
        arms, elbows, lean = [1.5 + 4 * sway, 1.1 - 4 * sway], [0.35, 0.7], 0.15
    elif posture == "crouching":
        thighs, knees, arms, elbows, lean = [1.75, 1.2], [2.1, 2.0], [0.9, 0.7], [0.6, 0.9], 0.35 + sway
    elif posture == "sitting":
        thighs, knees, arms, elbows, lean = [1.4, 1.35], [1.35, 1.3], [0.8, 0.75], [0.9, 0.8], -0.05
    elif posture == "standing" and phase > np.pi:
        arms, elbows, spread = [0.25, 0.25], [1.7, 1.7], 0.35  # something held in front, or hands on hips
    legs = [_THIGH * np.cos(a) + _SHIN * np.cos(a - k) for a, k in zip(thighs, knees, strict=True)]
    pelvis = np.array([0.0, 0.0, max(legs) + _SOLE * 0.95])
    bend = swing(-lean) @ turn_z(0.15 * np.sin(2 * np.pi * walked / _STRIDE + phase) if posture == "walking" else sway)
    joints: list[Transform] = [(bend, pelvis)]
    joints.append((turn_z(8 * sway), pelvis + bend @ np.array([0.0, 0.0, _TORSO + 0.02])))
    shoulders = [pelvis + bend @ np.array([0.0, side * 0.235, _TORSO - 0.03]) for side in (1, -1)]
    uppers = [_sideways(side * spread) @ swing(arm - 0.3 * lean) for side, arm in zip((1, -1), arms, strict=True)]
    down = np.array([0.0, 0.0, -1.0])
    joints += list(zip(uppers, shoulders, strict=True))
    joints += [
        (upper @ swing(elbow), shoulder + upper @ down * _UPPER_ARM)
        for upper, shoulder, elbow in zip(uppers, shoulders, elbows, strict=True)
    ]
    hips = [pelvis + np.array([0.0, side * 0.095, 0.0]) for side in (1, -1)]
    upper_legs = [swing(angle) for angle in thighs]
    joints += list(zip(upper_legs, hips, strict=True))
    joints += [
        (leg @ swing(-knee), hip + leg @ down * _THIGH) for leg, hip, knee in zip(upper_legs, hips, knees, strict=True)
    ]
    return joints


def _sideways(angle: float) -> NDArray[np.float64]:
    """Rotation about x that lifts a hanging arm to its side (+y for positive angles)."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, -s], [0.0, s, c]])
