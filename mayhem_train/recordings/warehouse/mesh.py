"""Triangles with normals, textures and owners, and the few solids everything in the warehouse is built from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mayhem_train.recordings.warehouse.paint import Texture

Colour = tuple[float, float, float]

UNOWNED = 2  # the instance number of everything that is neither floor nor a labelled thing


@dataclass(frozen=True)
class Skin:
    """How a surface looks: a texture, an sRGB tint (0 to 1) it is multiplied with, gloss and glow from 0 to 1."""

    texture: Texture
    tint: Colour = (1.0, 1.0, 1.0)
    gloss: float = 0.0
    glow: float = 0.0


@dataclass(frozen=True)
class Mesh:
    """T triangles, counter-clockwise seen from outside, in metres, z up.

    Attributes:
        positions: float32 [T, 3, 3], corners.
        normals: float32 [T, 3, 3], unit normals at the corners.
        uvs: float32 [T, 3, 2], texture coordinates; a texture repeats every 1.
        textures: int32 [T].
        looks: float32 [T, 5], linear red, green, blue tint, gloss, glow.
        instances: int32 [T], the number of the thing each triangle belongs to.
        parts: int32 [T], the movable part each triangle belongs to (0 where nothing moves).
    """

    positions: NDArray[np.float32]
    normals: NDArray[np.float32]
    uvs: NDArray[np.float32]
    textures: NDArray[np.int32]
    looks: NDArray[np.float32]
    instances: NDArray[np.int32]
    parts: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.positions)

    def owned_by(self, instance: int) -> Mesh:
        """The same triangles as parts of one thing."""
        return replace(self, instances=np.full(len(self), instance, np.int32))

    def as_part(self, part: int) -> Mesh:
        """The same triangles as one movable part."""
        return replace(self, parts=np.full(len(self), part, np.int32))

    def moved(self, offset: ArrayLike, rotation: NDArray[np.float64] | None = None) -> Mesh:
        """The same triangles turned about the origin, then shifted by `offset`."""
        shift = np.asarray(offset, np.float32)
        if rotation is None:
            return replace(self, positions=self.positions + shift)
        turn = rotation.T.astype(np.float32)
        return replace(self, positions=self.positions @ turn + shift, normals=self.normals @ turn)


def merged(meshes: Sequence[Mesh]) -> Mesh:
    """All triangles of several meshes, in order."""
    return Mesh(
        positions=np.concatenate([m.positions for m in meshes]),
        normals=np.concatenate([m.normals for m in meshes]),
        uvs=np.concatenate([m.uvs for m in meshes]),
        textures=np.concatenate([m.textures for m in meshes]),
        looks=np.concatenate([m.looks for m in meshes]),
        instances=np.concatenate([m.instances for m in meshes]),
        parts=np.concatenate([m.parts for m in meshes]),
    )


def turn_z(angle: float) -> NDArray[np.float64]:
    """Rotation about the vertical, counter-clockwise seen from above, radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def swing(angle: float) -> NDArray[np.float64]:
    """Rotation about y that swings something hanging down (-z) forward (+x) by `angle`, radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0.0, -s], [0.0, 1.0, 0.0], [s, 0.0, c]])


def block(
    size: ArrayLike, skin: Skin, offset: ArrayLike = (0.0, 0.0, 0.0), *, top: Skin | None = None, tile: float = 0.0
) -> Mesh:
    """A cuboid standing on z = 0, centred in x and y, then shifted; `top` is the skin of its upper face.

    A texture covers each face once, or repeats every `tile` metres where `tile` is positive.
    """
    extent = np.asarray(size, np.float64)
    positions = _CUBE * extent + (np.asarray(offset, np.float64) + [0, 0, extent[2] / 2])
    uvs = _CUBE_UVS if tile <= 0 else _CUBE_UVS * (extent[_CUBE_UV_AXES] / tile)[:, None]
    cube = _mesh(positions, _CUBE_NORMALS, uvs, skin)
    if top is not None:
        cube.textures[_CUBE_TOP] = int(top.texture)
        cube.looks[_CUBE_TOP] = _look(top)
    return cube


def quad(corners: ArrayLike, skin: Skin, uv: ArrayLike = ((0, 1), (1, 1), (1, 0), (0, 0))) -> Mesh:
    """A flat four-cornered face, counter-clockwise seen from its visible side."""
    points, texture_points = np.asarray(corners, np.float64), np.asarray(uv, np.float64)
    normal = np.cross(points[1] - points[0], points[2] - points[0])
    normal /= np.linalg.norm(normal)
    order = [[0, 1, 2], [0, 2, 3]]
    return _mesh(points[order], np.broadcast_to(normal, (2, 3, 3)), texture_points[order], skin)


def tube(radius: float, end_radius: float, length: float, skin: Skin, *, sides: int = 10, capped: bool = True) -> Mesh:
    """A round bar from the origin along +z that widens or narrows to `end_radius`."""
    angles = np.linspace(0, 2 * np.pi, sides + 1)
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(sides + 1)], axis=1)
    low, high = ring * radius, ring * end_radius + [0, 0, length]
    slope = np.array([0, 0, (radius - end_radius) / max(length, 1e-6)])
    smooth = (ring + slope) / np.linalg.norm(ring + slope, axis=1, keepdims=True)
    u = np.linspace(0, 2, sides + 1)
    i, j = np.arange(sides), np.arange(1, sides + 1)
    positions = [np.stack([low[i], low[j], high[j]], 1), np.stack([low[i], high[j], high[i]], 1)]
    normals = [np.stack([smooth[i], smooth[j], smooth[j]], 1), np.stack([smooth[i], smooth[j], smooth[i]], 1)]
    one, zero = np.ones(sides), np.zeros(sides)
    uvs = [
        np.stack([np.stack([u[i], one], 1), np.stack([u[j], one], 1), np.stack([u[j], zero], 1)], 1),
        np.stack([np.stack([u[i], one], 1), np.stack([u[j], zero], 1), np.stack([u[i], zero], 1)], 1),
    ]
    if capped:
        for rim, direction, order in ((high, 1.0, (i, j)), (low, -1.0, (j, i))):
            centre = np.broadcast_to(rim.mean(axis=0) * [0, 0, 1], (sides, 3))
            positions.append(np.stack([centre, rim[order[0]], rim[order[1]]], 1))
            normals.append(np.broadcast_to([0.0, 0.0, direction], (sides, 3, 3)))
            uvs.append(np.full((sides, 3, 2), 0.5))
    return _mesh(np.concatenate(positions), np.concatenate(normals), np.concatenate(uvs), skin)


def bar(start: ArrayLike, end: ArrayLike, radius: float, skin: Skin, *, sides: int = 6) -> Mesh:
    """A round bar between two points."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    length = float(np.linalg.norm(b - a))
    forward = (b - a) / length
    side = np.cross([0.0, 1.0, 0.0] if abs(forward[1]) < 0.9 else [1.0, 0.0, 0.0], forward)
    side /= np.linalg.norm(side)
    frame = np.stack([side, np.cross(forward, side), forward], axis=1)
    return tube(radius, radius, length, skin, sides=sides).moved(a, frame)


def ball(
    radii: ArrayLike,
    skin: Skin,
    offset: ArrayLike = (0.0, 0.0, 0.0),
    *,
    from_latitude: float = -90.0,
    rings: int = 4,
) -> Mesh:
    """An ellipsoid about the origin, shifted; `from_latitude` (degrees) cuts its lower part off, open."""
    extent = np.asarray(radii, np.float64)
    latitudes = np.radians(np.linspace(from_latitude, 90, rings + 1))
    longitudes = np.linspace(0, 2 * np.pi, 2 * rings + 1)
    unit = np.stack(
        [
            np.cos(latitudes)[:, None] * np.cos(longitudes),
            np.cos(latitudes)[:, None] * np.sin(longitudes),
            np.repeat(np.sin(latitudes)[:, None], len(longitudes), axis=1),
        ],
        axis=-1,
    )
    normal = unit / extent
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    uv = np.stack(np.meshgrid(np.linspace(0, 1, 2 * rings + 1), np.linspace(1, 0, rings + 1)), axis=-1)
    corners = [
        (slice(0, -1), slice(0, -1)),
        (slice(0, -1), slice(1, None)),
        (slice(1, None), slice(1, None)),
        (slice(1, None), slice(0, -1)),
    ]
    pick = [[corners[k] for k in order] for order in ((0, 1, 2), (0, 2, 3))]
    triangles = [
        np.concatenate([np.stack([grid[c] for c in order], axis=2).reshape(-1, 3, grid.shape[-1]) for order in pick])
        for grid in (unit * extent, normal, uv)
    ]
    return _mesh(triangles[0], triangles[1], triangles[2], skin).moved(offset)


def _mesh(positions: NDArray[np.float64], normals: NDArray[np.float64], uvs: NDArray[np.float64], skin: Skin) -> Mesh:
    count = len(positions)
    return Mesh(
        positions=np.ascontiguousarray(positions, np.float32),
        normals=np.ascontiguousarray(normals, np.float32),
        uvs=np.ascontiguousarray(uvs, np.float32),
        textures=np.full(count, int(skin.texture), np.int32),
        looks=np.tile(_look(skin), (count, 1)),
        instances=np.full(count, UNOWNED, np.int32),
        parts=np.zeros(count, np.int32),
    )


def _look(skin: Skin) -> NDArray[np.float32]:
    red, green, blue = skin.tint  # sRGB becomes linear with the exponent 2 that the renderer uses throughout
    return np.array([red * red, green * green, blue * blue, skin.gloss, skin.glow], np.float32)


def _unit_cube() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Corners, normals and texture coordinates of a cube's 12 triangles about the origin, and the axes of u and v."""
    positions, normals, uvs, axes = [], [], [], []
    for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1), (2, -1), (2, 1)):
        across, up = {0: (1, 2), 1: (0, 2), 2: (0, 1)}[axis]
        corners = np.zeros((4, 3))
        corners[:, axis] = sign * 0.5
        corners[:, across] = [-0.5, 0.5, 0.5, -0.5]
        corners[:, up] = [-0.5, -0.5, 0.5, 0.5]
        uv = np.array([[0, 1], [1, 1], [1, 0], [0, 0]], np.float64)
        # (x, y, z) is right-handed, so the corner order above faces +axis for x and z, and -axis for y
        if (sign > 0) != (axis != 1):
            corners = corners[::-1]
            uv = uv[::-1] * [-1, 1] + [1, 0]  # so that words are not mirrored
        for order in ([0, 1, 2], [0, 2, 3]):
            positions.append(corners[order])
            normals.append(np.tile(np.eye(3)[axis] * sign, (3, 1)))
            uvs.append(uv[order])
            axes.append([across, up])
    return np.array(positions), np.array(normals), np.array(uvs), np.array(axes)


_CUBE, _CUBE_NORMALS, _CUBE_UVS, _CUBE_UV_AXES = _unit_cube()
_CUBE_TOP = slice(10, 12)  # the last face made
