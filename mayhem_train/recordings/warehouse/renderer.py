"""Draws triangles: which thing each pixel shows, how far it is, and how much light comes from there."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from mayhem_train.recordings.warehouse.camera import CameraPose, Intrinsics
from mayhem_train.recordings.warehouse.mesh import Mesh
from mayhem_train.recordings.warehouse.paint import FLOOR_TEXELS_PER_METRE, Pyramid

FLOOR = 1  # the instance number of the floor

_NEAR = 0.05  # metres


@dataclass(frozen=True)
class Lamps:
    """A regular grid of ceiling lamps.

    Attributes:
        origin: (x, y, z) of the lamp [0, 0], metres.
        pitch: (x, y) from lamp to lamp, metres.
        colours: float32 [columns, rows, 3], linear light of each; zero where one is broken.
        ambient: float32 [3], light from everywhere.
        beacon: float32 [6], position and colour of one more light near the ground, such as an open gate.
    """

    origin: tuple[float, float, float]
    pitch: tuple[float, float]
    colours: NDArray[np.float32]
    ambient: NDArray[np.float32]
    beacon: NDArray[np.float32]


@dataclass(frozen=True)
class Surroundings:
    """What does not change during a drive but for the triangles.

    Attributes:
        atlas: the textures.
        floor: the floor's picture.
        grain: float32 [256, 256], fine pattern of the floor.
        openness: float32 [rows, columns], share of the lamps' light that reaches the floor, `openness_scale` a metre.
        openness_scale: cells a metre.
        lamps: the lights.
        floor_gloss: how mirror-like the floor is, 0 to 1.
    """

    atlas: Pyramid
    floor: Pyramid
    grain: NDArray[np.float32]
    openness: NDArray[np.float32]
    openness_scale: float
    lamps: Lamps
    floor_gloss: float


@dataclass(frozen=True)
class Rendering:
    """One picture's raw material; see `render`.

    Attributes:
        light: float32 [H, W, 3], linear RGB.
        depth: float64 [H, W], metres along the optical axis; infinity where there is nothing.
        instances: int32 [H, W], 0 where there is nothing, FLOOR, UNOWNED or the number of a thing.
        silhouettes: int64 [N], pixels each thing would cover if nothing stood before it.
    """

    light: NDArray[np.float32]
    depth: NDArray[np.float64]
    instances: NDArray[np.int32]
    silhouettes: NDArray[np.int64]


def render(
    mesh: Mesh,
    surroundings: Surroundings,
    shadows: NDArray[np.float32],
    intrinsics: Intrinsics,
    pose: CameraPose,
    instance_count: int,
) -> Rendering:
    """Draws a mesh as the camera sees it.

    Args:
        mesh: the triangles in the world.
        surroundings: textures and lights.
        shadows: float32 [S, 6], soft shadows of moving things on the floor: x, y, yaw, half length, half width, depth.
        intrinsics: the camera.
        pose: where it stands.
        instance_count: one more than the greatest instance number.
    """
    shape = (intrinsics.height, intrinsics.width)
    triangles, depth, edges = _visible(mesh, intrinsics, pose, mirrored=False)
    instances = np.where(triangles >= 0, mesh.instances[np.maximum(triangles, 0)], 0).astype(np.int32)
    if surroundings.floor_gloss > 0:
        small = intrinsics.scaled(0.5)
        below = pose.mirrored()
        behind, behind_depth, behind_edges = _visible(mesh, small, below, mirrored=True)
        nothing = np.zeros((1, 1, 3), np.float32)
        reflection = _lit(mesh, surroundings, shadows, small, below, behind, behind_depth, behind_edges, nothing)
        # a rough floor smears what it mirrors, far more up and down than sideways
        unit = small.width / 320
        reflection = cv2.GaussianBlur(reflection, (0, 0), sigmaX=1.2 * unit, sigmaY=5.0 * unit).astype(np.float32)
    else:
        reflection = np.zeros((1, 1, 3), np.float32)
    light = _lit(mesh, surroundings, shadows, intrinsics, pose, triangles, depth, edges, reflection)
    silhouettes = _silhouettes(edges, mesh.instances, _bounds(edges, shape), instance_count, *shape)
    return Rendering(light, depth, instances, silhouettes)


def _visible(
    mesh: Mesh, intrinsics: Intrinsics, pose: CameraPose, *, mirrored: bool
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """The nearest triangle of every pixel (-1 for none), its depth, and all triangles' edge functions."""
    shape = (intrinsics.height, intrinsics.width)
    inverse_depth = np.zeros(shape, np.float64)
    triangles = np.full(shape, -1, np.int32)
    edges = np.zeros((len(mesh), 14), np.float64)
    lens = np.array([intrinsics.focal, intrinsics.cx, intrinsics.cy])
    _rasterise(mesh.positions, pose.rotation, pose.eye, lens, mirrored, inverse_depth, triangles, edges)
    with np.errstate(divide="ignore"):
        return triangles, 1.0 / inverse_depth, edges


def _bounds(edges: NDArray[np.float64], shape: tuple[int, int]) -> NDArray[np.int64]:
    return edges[:, 9:13].astype(np.int64)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _rasterise(positions, rotation, eye, lens, mirrored, inverse_depth, triangles, edges):  # type: ignore[no-untyped-def]
    """Fills the buffers, nearest triangle first.

    Homogeneous rasterisation (Olano and Greer 1997): with the corners' (u w, v w, w) as the rows of M, the columns of
    M^-1 are edge functions of the pixel that need no clipping: all three are positive inside, and they add up to 1 / w.
    edges holds M^-1 (9 numbers), the bounds left, top, right, bottom, and 1 where the triangle faces the camera.
    """
    height, width = inverse_depth.shape
    focal, cx, cy = lens
    m = np.empty((3, 3))
    for t in range(len(positions)):
        nearest, farthest = 1e9, -1e9
        for k in range(3):
            x = positions[t, k, 0] - eye[0]
            y = positions[t, k, 1] - eye[1]
            z = positions[t, k, 2] - eye[2]
            w = rotation[2, 0] * x + rotation[2, 1] * y + rotation[2, 2] * z
            m[k, 0] = focal * (rotation[0, 0] * x + rotation[0, 1] * y + rotation[0, 2] * z) + cx * w
            m[k, 1] = focal * (rotation[1, 0] * x + rotation[1, 1] * y + rotation[1, 2] * z) + cy * w
            m[k, 2] = w
            nearest, farthest = min(nearest, w), max(farthest, w)
        if farthest < _NEAR:
            continue
        a00 = m[1, 1] * m[2, 2] - m[1, 2] * m[2, 1]
        a01 = m[0, 2] * m[2, 1] - m[0, 1] * m[2, 2]
        a02 = m[0, 1] * m[1, 2] - m[0, 2] * m[1, 1]
        determinant = m[0, 0] * a00 + m[1, 0] * a01 + m[2, 0] * a02
        if (determinant <= 1e-9 and mirrored) or (determinant >= -1e-9 and not mirrored):
            continue
        left, top, right, bottom = 1e9, 1e9, -1e9, -1e9
        for k in range(3):
            if m[k, 2] >= _NEAR:
                u, v = m[k, 0] / m[k, 2], m[k, 1] / m[k, 2]
                left, right, top, bottom = min(left, u), max(right, u), min(top, v), max(bottom, v)
            j = (k + 1) % 3
            if (m[k, 2] >= _NEAR) != (m[j, 2] >= _NEAR):  # the edge pierces the near plane: its end counts
                s = (_NEAR - m[k, 2]) / (m[j, 2] - m[k, 2])
                u = (m[k, 0] + s * (m[j, 0] - m[k, 0])) / _NEAR
                v = (m[k, 1] + s * (m[j, 1] - m[k, 1])) / _NEAR
                left, right, top, bottom = min(left, u), max(right, u), min(top, v), max(bottom, v)
        x0, x1 = max(0, int(np.ceil(max(left, 0.0)))), min(width - 1, int(np.floor(min(right, width - 1.0))))
        y0, y1 = max(0, int(np.ceil(max(top, 0.0)))), min(height - 1, int(np.floor(min(bottom, height - 1.0))))
        if x1 < x0 or y1 < y0:
            continue
        scale = 1.0 / determinant
        e = edges[t]
        e[0], e[1], e[2] = a00 * scale, a01 * scale, a02 * scale
        e[3] = (m[1, 2] * m[2, 0] - m[1, 0] * m[2, 2]) * scale
        e[4] = (m[0, 0] * m[2, 2] - m[0, 2] * m[2, 0]) * scale
        e[5] = (m[0, 2] * m[1, 0] - m[0, 0] * m[1, 2]) * scale
        e[6] = (m[1, 0] * m[2, 1] - m[1, 1] * m[2, 0]) * scale
        e[7] = (m[0, 1] * m[2, 0] - m[0, 0] * m[2, 1]) * scale
        e[8] = (m[0, 0] * m[1, 1] - m[0, 1] * m[1, 0]) * scale
        e[9], e[10], e[11], e[12], e[13] = x0, y0, x1, y1, 1.0
        for y in range(y0, y1 + 1):
            r0 = e[3] * y + e[6]
            r1 = e[4] * y + e[7]
            r2 = e[5] * y + e[8]
            for x in range(x0, x1 + 1):
                b0 = e[0] * x + r0
                b1 = e[1] * x + r1
                b2 = e[2] * x + r2
                if b0 >= 0 and b1 >= 0 and b2 >= 0:
                    nearness = b0 + b1 + b2
                    if nearness > inverse_depth[y, x] and nearness < 1 / _NEAR:
                        inverse_depth[y, x] = nearness
                        triangles[y, x] = t


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _silhouettes(edges, instances, bounds, instance_count, height, width):  # type: ignore[no-untyped-def]
    """Counts the pixels each thing would cover alone; a thing's triangles stand next to each other."""
    counts = np.zeros(instance_count, np.int64)
    seen = np.zeros((height, width), np.int32)
    for t in range(len(edges)):
        owner = instances[t]
        if owner <= 2 or edges[t, 13] == 0:
            continue
        e = edges[t]
        left, top, right, bottom = bounds[t]
        for y in range(top, bottom + 1):
            for x in range(left, right + 1):
                if seen[y, x] == owner:
                    continue
                b0 = e[0] * x + e[3] * y + e[6]
                b1 = e[1] * x + e[4] * y + e[7]
                b2 = e[2] * x + e[5] * y + e[8]
                if b0 >= 0 and b1 >= 0 and b2 >= 0 and b0 + b1 + b2 < 1 / _NEAR:
                    seen[y, x] = owner
                    counts[owner] += 1
    return counts


def _lit(
    mesh: Mesh,
    surroundings: Surroundings,
    shadows: NDArray[np.float32],
    intrinsics: Intrinsics,
    pose: CameraPose,
    triangles: NDArray[np.int32],
    depth: NDArray[np.float64],
    edges: NDArray[np.float64],
    reflection: NDArray[np.float32],
) -> NDArray[np.float32]:
    lamps = surroundings.lamps
    light = np.zeros((*triangles.shape, 3), np.float32)
    _shade(
        mesh.positions,
        mesh.normals,
        mesh.uvs,
        mesh.textures,
        mesh.looks,
        mesh.instances,
        triangles,
        depth,
        edges,
        np.array([intrinsics.focal, intrinsics.cx, intrinsics.cy]),
        pose.rotation,
        pose.eye,
        surroundings.atlas,
        surroundings.floor,
        surroundings.grain,
        surroundings.openness,
        surroundings.openness_scale,
        np.array(lamps.origin),
        np.array(lamps.pitch),
        lamps.colours,
        lamps.ambient,
        lamps.beacon,
        shadows,
        reflection,
        surroundings.floor_gloss,
        light,
    )
    return light


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator, unused-ignore]
def _bilinear(picture, u, v, out):  # type: ignore[no-untyped-def]
    """Linear light (sRGB squared) of a picture that repeats, at texel coordinates."""
    height, width = picture.shape[:2]
    u -= 0.5
    v -= 0.5
    fu, fv = np.floor(u), np.floor(v)
    x0, y0 = int(fu) % width, int(fv) % height
    x1, y1 = (x0 + 1) % width, (y0 + 1) % height
    a, b = np.float32(u - fu), np.float32(v - fv)
    for c in range(3):
        upper = picture[y0, x0, c] * (1 - a) + picture[y0, x1, c] * a
        lower = picture[y1, x0, c] * (1 - a) + picture[y1, x1, c] * a
        value = (upper * (1 - b) + lower * b) * np.float32(1 / 255)
        out[c] = value * value


@njit(cache=True, nogil=True, fastmath=True)  # type: ignore[untyped-decorator, unused-ignore]
def _shade(  # type: ignore[no-untyped-def]
    positions,
    normals,
    uvs,
    textures,
    looks,
    instances,
    triangles,
    depth,
    edges,
    lens,
    rotation,
    eye,
    atlas,
    floor,
    grain,
    openness,
    openness_scale,
    lamp_origin,
    lamp_pitch,
    lamp_colours,
    ambient,
    beacon,
    shadows,
    reflection,
    floor_gloss,
    light,
):
    """Colours every pixel: texture, the four nearest lamps, what shades it, and on the floor what it mirrors."""
    height, width = triangles.shape
    focal, cx, cy = lens
    columns, rows = lamp_colours.shape[:2]
    open_height, open_width = openness.shape
    size = atlas[0].shape[1]
    base = np.zeros(3, np.float32)
    lit = np.zeros(3, np.float32)
    for y in range(height):
        for x in range(width):
            t = triangles[y, x]
            if t < 0:
                continue
            z = depth[y, x]
            rx, ry = (x - cx) / focal * z, (y - cy) / focal * z
            dx = rotation[0, 0] * rx + rotation[1, 0] * ry + rotation[2, 0] * z
            dy = rotation[0, 1] * rx + rotation[1, 1] * ry + rotation[2, 1] * z
            dz = rotation[0, 2] * rx + rotation[1, 2] * ry + rotation[2, 2] * z
            px, py, pz = eye[0] + dx, eye[1] + dy, eye[2] + dz
            distance = np.sqrt(dx * dx + dy * dy + dz * dz)
            is_floor = instances[t] == 1
            gloss, glow = looks[t, 3], looks[t, 4]
            if is_floor:
                nx, ny, nz = 0.0, 0.0, 1.0
                # texels under one pixel, a compromise between the view's two directions
                footprint = FLOOR_TEXELS_PER_METRE * z / focal * min(6.0, np.sqrt(distance / abs(dz)))
                level = min(4, max(0, int(np.log2(max(footprint, 1.0)) + 0.5)))
                scale = FLOOR_TEXELS_PER_METRE / (1 << level)
                _bilinear(floor[level], px * scale, py * scale, base)
                if distance < 6:
                    g = grain[int(py * 250) & 255, int(px * 250) & 255] - 1
                    g = 1 + g * max(0.0, 1 - distance / 6)
                    base[0] *= g
                    base[1] *= g
                    base[2] *= g
            else:
                e = edges[t]
                b0 = (e[0] * x + e[3] * y + e[6]) * z
                b1 = (e[1] * x + e[4] * y + e[7]) * z
                b2 = (e[2] * x + e[5] * y + e[8]) * z
                nx = b0 * normals[t, 0, 0] + b1 * normals[t, 1, 0] + b2 * normals[t, 2, 0]
                ny = b0 * normals[t, 0, 1] + b1 * normals[t, 1, 1] + b2 * normals[t, 2, 1]
                nz = b0 * normals[t, 0, 2] + b1 * normals[t, 1, 2] + b2 * normals[t, 2, 2]
                length = np.sqrt(nx * nx + ny * ny + nz * nz) + 1e-9
                nx, ny, nz = nx / length, ny / length, nz / length
                u = b0 * uvs[t, 0, 0] + b1 * uvs[t, 1, 0] + b2 * uvs[t, 2, 0]
                v = b0 * uvs[t, 0, 1] + b1 * uvs[t, 1, 1] + b2 * uvs[t, 2, 1]
                # texture repeats a metre along the first edge and the last
                ax = positions[t, 1, 0] - positions[t, 0, 0]
                ay = positions[t, 1, 1] - positions[t, 0, 1]
                az = positions[t, 1, 2] - positions[t, 0, 2]
                au, av = uvs[t, 1, 0] - uvs[t, 0, 0], uvs[t, 1, 1] - uvs[t, 0, 1]
                density = np.sqrt((au * au + av * av) / (ax * ax + ay * ay + az * az + 1e-12))
                ax = positions[t, 2, 0] - positions[t, 1, 0]
                ay = positions[t, 2, 1] - positions[t, 1, 1]
                az = positions[t, 2, 2] - positions[t, 1, 2]
                au, av = uvs[t, 2, 0] - uvs[t, 1, 0], uvs[t, 2, 1] - uvs[t, 1, 1]
                density = max(density, np.sqrt((au * au + av * av) / (ax * ax + ay * ay + az * az + 1e-12)))
                footprint = density * size * z / focal
                level = min(4, max(0, int(np.log2(max(footprint, 1.0)) + 0.5)))
                layer_size = size >> level
                _bilinear(atlas[level][textures[t]], u * layer_size, v * layer_size, base)
                for c in range(3):
                    base[c] *= looks[t, c]

            # the four lamps around, weighted so that walking from cell to cell shows no seam
            gx = (px - lamp_origin[0]) / lamp_pitch[0]
            gy = (py - lamp_origin[1]) / lamp_pitch[1]
            ix, iy = int(np.floor(gx)), int(np.floor(gy))
            fx, fy = gx - ix, gy - iy
            fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
            lit[0] = lit[1] = lit[2] = 0.0
            shine = np.float32(0.0)
            inverse = 1 / distance
            for k in range(4):
                jx, jy = ix + (k & 1), iy + (k >> 1)
                cxk, cyk = min(max(jx, 0), columns - 1), min(max(jy, 0), rows - 1)
                weight = (fx if k & 1 else 1 - fx) * (fy if k >> 1 else 1 - fy)
                lx = lamp_origin[0] + cxk * lamp_pitch[0] - px
                ly = lamp_origin[1] + cyk * lamp_pitch[1] - py
                lz = lamp_origin[2] - pz
                norm = 1 / np.sqrt(lx * lx + ly * ly + lz * lz + 1e-6)
                cosine = (nx * lx + ny * ly + nz * lz) * norm
                cosine = 0.18 + 0.82 * cosine if cosine > 0 else 0.18 * (1 + cosine)
                for c in range(3):
                    lit[c] += np.float32(weight * cosine) * lamp_colours[cxk, cyk, c]
                if gloss > 0:
                    hx, hy, hz = lx * norm - dx * inverse, ly * norm - dy * inverse, lz * norm - dz * inverse
                    half = (nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz + 1e-6)
                    if half > 0.8:
                        half = half**24
                        shine += np.float32(weight * half * gloss) * lamp_colours[cxk, cyk, 1]

            # how open the place in front of the surface is to the lamps
            ox = int((px + 0.35 * nx) * openness_scale)
            oy = int((py + 0.35 * ny) * openness_scale)
            free = np.float32(1.0)
            if pz < 4.5 and ox >= 0 and oy >= 0 and ox < open_width - 1 and oy < open_height - 1:
                if is_floor:
                    sx, sy = px * openness_scale - 0.5, py * openness_scale - 0.5
                    ox, oy = max(int(sx), 0), max(int(sy), 0)
                    sx, sy = sx - ox, sy - oy
                    free = np.float32(
                        (openness[oy, ox] * (1 - sx) + openness[oy, ox + 1] * sx) * (1 - sy)
                        + (openness[oy + 1, ox] * (1 - sx) + openness[oy + 1, ox + 1] * sx) * sy
                    )
                else:
                    up = min(1.0, max(pz, 0.0) / 4.5)
                    free = np.float32(openness[oy, ox] * (1 - up) + up)
                    free = np.float32(0.35) + np.float32(0.65) * free
            near_floor = np.float32(1.0)
            if is_floor:
                for s in range(len(shadows)):
                    qx, qy = px - shadows[s, 0], py - shadows[s, 1]
                    if qx * qx + qy * qy > 9:
                        continue
                    ca, sa = np.cos(shadows[s, 2]), np.sin(shadows[s, 2])
                    along = abs(ca * qx + sa * qy) - shadows[s, 3]
                    aside = abs(ca * qy - sa * qx) - shadows[s, 4]
                    outside = np.sqrt(max(along, 0.0) ** 2 + max(aside, 0.0) ** 2) + min(max(along, aside), 0.0)
                    soft = min(max(1 - (outside + 0.12) / 0.42, 0.0), 1.0)
                    near_floor *= np.float32(1 - shadows[s, 5] * soft * soft * (3 - 2 * soft))
            elif pz < 0.3:
                near_floor = np.float32(0.62 + 0.38 * (max(pz, 0.0) / 0.3))

            bx, by, bz = beacon[0] - px, beacon[1] - py, beacon[2] - pz
            square = bx * bx + by * by + bz * bz + 1.0
            facing = max(0.0, (nx * bx + ny * by + nz * bz) / np.sqrt(square))
            sky = np.float32(0.72 + 0.28 * nz)
            for c in range(3):
                arriving = lit[c] * free + ambient[c] * sky * (np.float32(0.45) + np.float32(0.55) * free)
                arriving += beacon[3 + c] * np.float32(facing * 16 / square)
                colour = base[c] * arriving * near_floor + shine * free
                light[y, x, c] = colour + glow * base[c] * 3

            if is_floor and reflection.shape[0] > 1:
                grazing = 1 - abs(dz) * inverse
                mirror = np.float32(floor_gloss * (0.12 + 0.88 * grazing**4))
                half_height, half_width = reflection.shape[:2]
                row, column = min(y // 2, half_height - 1), min(x // 2, half_width - 1)
                for c in range(3):
                    light[y, x, c] = light[y, x, c] * (1 - mirror) + mirror * reflection[row, column, c]
