"""What stands in a warehouse: racks and their loads, cartons, and clutter that is none of the labelled classes."""

from __future__ import annotations

import numpy as np

from mayhem_train.recordings.warehouse.mesh import Colour, Mesh, Skin, ball, bar, block, merged, tube, turn_z
from mayhem_train.recordings.warehouse.paint import Texture

BAY_LENGTH = 2.7  # metres between a rack's uprights
RACK_DEPTH = 1.1

_CARDBOARD = (
    (0.76, 0.58, 0.4),
    (0.7, 0.52, 0.35),
    (0.82, 0.66, 0.48),
    (0.64, 0.47, 0.33),
    (0.86, 0.74, 0.58),
    (0.9, 0.88, 0.84),
)
_CRATE_COLOURS = ((0.15, 0.35, 0.7), (0.2, 0.5, 0.3), (0.7, 0.15, 0.12), (0.5, 0.52, 0.55), (0.85, 0.75, 0.2))
_WRAP_COLOURS = ((0.92, 0.94, 0.96), (0.55, 0.65, 0.8), (0.25, 0.26, 0.28), (0.8, 0.85, 0.82), (0.75, 0.8, 0.9))
_RACK_COLOURS = ((0.1, 0.25, 0.55), (0.85, 0.4, 0.08), (0.35, 0.37, 0.4), (0.1, 0.4, 0.3))
_CARTON_SIDES = (Texture.CARTON_A, Texture.CARTON_B, Texture.CARTON_C, Texture.CARTON_D)

# kinds of clutter, and the radius each takes up on the floor, metres
CLUTTER = {
    "cone": 0.25,
    "drum": 0.3,
    "bollard": 0.15,
    "crates": 0.4,
    "pallets": 0.75,
    "sign": 0.3,
    "bin": 0.4,
    "trolley": 0.55,
    "sacks": 0.5,
}


def carton(rng: np.random.Generator, size: tuple[float, float, float]) -> Mesh:
    """A cardboard box, standing on z = 0."""
    tint = _pick(rng, _CARDBOARD)
    side = Skin(_CARTON_SIDES[int(rng.integers(len(_CARTON_SIDES)))], tint)
    return block(size, side, top=Skin(Texture.CARTON_TOP, tint))


def pallet(rng: np.random.Generator) -> Mesh:
    """An empty wooden pallet, 1.2 m by 0.8 m by 0.14 m."""
    wood = Skin(Texture.WOOD, _pick(rng, ((1.0, 0.95, 0.9), (0.8, 0.75, 0.7), (0.7, 0.62, 0.55))))
    parts = [block((1.2, 0.8, 0.03), wood, (0, 0, 0.11))]
    parts += [block((1.2, 0.1, 0.11), wood, (0, y, 0.0)) for y in (-0.35, 0.0, 0.35)]
    return merged(parts)


def wrapped_load(rng: np.random.Generator, height: float) -> Mesh:
    """Goods on a pallet that are not cartons: wrapped in film, plastic crates, sacks or drums."""
    kind = rng.random()
    if kind < 0.5:
        skin = Skin(_either(rng, Texture.WRAP_A, Texture.WRAP_B), _pick(rng, _WRAP_COLOURS), gloss=0.35)
        load = block((1.12, 0.76, height), skin, (0, 0, 0.14))
    elif kind < 0.75:
        skin = Skin(Texture.CRATE, _pick(rng, _CRATE_COLOURS), gloss=0.15)
        load = block((1.16, 0.78, height), skin, (0, 0, 0.14), tile=0.4)
    elif kind < 0.9:
        skin = Skin(Texture.SACK, _pick(rng, ((1.0, 1.0, 1.0), (0.8, 0.85, 0.95), (0.9, 0.85, 0.7))))
        load = block((1.1, 0.74, height * 0.7), skin, (0, 0, 0.14), tile=0.6)
    else:
        skin = Skin(Texture.DRUM, _pick(rng, _CRATE_COLOURS), gloss=0.3)
        drums = [tube(0.27, 0.27, 0.85, skin).moved((x, y, 0.14)) for x in (-0.29, 0.29) for y in (-0.2, 0.2)]
        load = merged(drums)
    return merged([pallet(rng), load])


def rack(rng: np.random.Generator, bays: int) -> Mesh:
    """Pallet racking along x, centred, with loads on its levels; one pallet deep."""
    steel = Skin(Texture.UPRIGHT, _pick(rng, _RACK_COLOURS), gloss=0.15)
    beam = Skin(Texture.METAL, _pick(rng, ((0.95, 0.45, 0.08), (0.9, 0.7, 0.1), (0.75, 0.78, 0.8))))
    level_height = rng.uniform(1.45, 1.9)
    levels = int(rng.integers(3, 5))
    length = bays * BAY_LENGTH
    parts = []
    for post in range(bays + 1):
        x = post * BAY_LENGTH - length / 2
        for y in (-0.5, 0.5):
            parts.append(block((0.1, 0.09, levels * level_height), steel, (x, y, 0), tile=0.35))
            guard = Skin(Texture.HAZARD)
            parts.append(block((0.16, 0.13, 0.4), guard, (x, y * 1.05, 0), tile=0.3))
        for level in range(levels):
            z = level * level_height
            parts.append(bar((x, -0.5, z + 0.2), (x, 0.5, z + level_height * 0.9), 0.02, steel, sides=4))
    label = Skin(Texture.SIGN_D)
    for level in range(levels + 1):
        z = level * level_height
        if level:
            parts += [block((length, 0.05, 0.12), beam, (0, y, z - 0.12)) for y in (-0.5, 0.5)]
            parts += [block((0.25, 0.07, 0.1), label, (x, y, z - 0.11)) for y in (-0.5, 0.5) for x in (-1.2, 1.2)]
        if level == levels:
            continue
        for bay in range(bays):
            for slot in (-0.66, 0.66):
                if rng.random() < 0.16:
                    continue
                x = (bay + 0.5) * BAY_LENGTH - length / 2 + slot
                load = wrapped_load(rng, rng.uniform(0.45, level_height - 0.45))
                parts.append(load.moved((x + rng.normal(0, 0.03), rng.normal(0, 0.03), z), turn_z(rng.normal(0, 0.02))))
    return merged(parts)


def clutter(rng: np.random.Generator, kind: str) -> Mesh:
    """One of CLUTTER, standing on z = 0."""
    if kind == "cone":
        orange, white = Skin(Texture.PLAIN, (1.0, 0.4, 0.08)), Skin(Texture.PLAIN, (0.95, 0.95, 0.95))
        return merged(
            [
                block((0.36, 0.36, 0.04), orange),
                tube(0.14, 0.095, 0.2, orange).moved((0, 0, 0.04)),
                tube(0.095, 0.07, 0.12, white).moved((0, 0, 0.24)),
                tube(0.07, 0.025, 0.24, orange).moved((0, 0, 0.36)),
            ]
        )
    if kind == "drum":
        colour = _pick(rng, ((0.12, 0.3, 0.65), (0.15, 0.15, 0.16), (0.6, 0.62, 0.65), (0.7, 0.2, 0.12)))
        return tube(0.29, 0.29, 0.88, Skin(Texture.DRUM, colour, gloss=0.4), sides=16)
    if kind == "bollard":
        return tube(0.09, 0.09, 1.0, Skin(Texture.HAZARD))
    if kind == "crates":
        colour = _pick(rng, _CRATE_COLOURS)
        count = int(rng.integers(1, 5))
        crates = [
            block((0.6, 0.4, 0.3), Skin(Texture.CRATE, colour, gloss=0.15), (0, 0, 0.31 * k)).moved(
                rng.normal(0, 0.015, 3) * [1, 1, 0]
            )
            for k in range(count)
        ]
        return merged(crates)
    if kind == "pallets":
        count = int(rng.integers(1, 9))
        stack = [pallet(rng).moved((0, 0, 0.15 * k), turn_z(rng.normal(0, 0.03))) for k in range(count)]
        return merged(stack)
    if kind == "sign":
        yellow = Skin(Texture.SIGN_B)
        tilt = np.array([[1.0, 0, 0], [0, np.cos(0.25), -np.sin(0.25)], [0, np.sin(0.25), np.cos(0.25)]])
        leaf = block((0.3, 0.02, 0.62), yellow)
        return merged([leaf.moved((0, 0.16, 0), tilt), leaf.moved((0, -0.16, 0), tilt.T)])
    if kind == "bin":
        colour = _pick(rng, ((0.15, 0.35, 0.2), (0.2, 0.2, 0.22), (0.15, 0.25, 0.5)))
        body = Skin(Texture.PLAIN, colour, gloss=0.2)
        return merged(
            [tube(0.26, 0.32, 0.95, body, sides=4), tube(0.36, 0.34, 0.07, body, sides=4).moved((0, 0, 0.95))]
        )
    if kind == "trolley":
        frame = Skin(Texture.METAL, (0.3, 0.45, 0.7))
        parts = [block((0.9, 0.55, 0.05), frame, (0, 0, 0.2))]
        parts += [bar((-0.42, y, 0.22), (-0.5, y, 1.0), 0.02, frame) for y in (-0.25, 0.25)]
        parts += [bar((-0.5, -0.25, 1.0), (-0.5, 0.25, 1.0), 0.02, frame)]
        parts += [ball((0.09, 0.04, 0.09), Skin(Texture.TYRE), (x, y, 0.1)) for x in (-0.35, 0.35) for y in (-0.2, 0.2)]
        return merged(parts)
    sack = Skin(Texture.SACK, _pick(rng, ((1.0, 1.0, 1.0), (0.85, 0.8, 0.65))))
    heap = [
        ball((0.4, 0.26, 0.11), sack, (rng.normal(0, 0.06), rng.normal(0, 0.06), 0.1 + 0.17 * k))
        for k in range(int(rng.integers(1, 5)))
    ]
    return merged(heap)


def _pick(rng: np.random.Generator, options: tuple[Colour, ...]) -> Colour:
    red, green, blue = np.clip(np.array(options[int(rng.integers(len(options)))]) * rng.uniform(0.88, 1.08), 0, 1)
    return float(red), float(green), float(blue)


def _either(rng: np.random.Generator, first: Texture, second: Texture) -> Texture:
    return first if rng.random() < 0.5 else second
