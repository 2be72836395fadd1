"""A random warehouse: the hall, what stands and moves in it, its light, and the AGV's drive through it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TypeVar

import cv2
import numpy as np
from numba import njit
from numpy.typing import NDArray

from mayhem_train.recordings.warehouse import stock, vehicles
from mayhem_train.recordings.warehouse.camera import CameraPose, Film, Intrinsics
from mayhem_train.recordings.warehouse.drive import Drive, plan_drive
from mayhem_train.recordings.warehouse.mesh import UNOWNED, Colour, Mesh, Skin, bar, block, merged, quad, turn_z
from mayhem_train.recordings.warehouse.paint import FloorPlan, Texture, paint_atlas, paint_floor, paint_grain
from mayhem_train.recordings.warehouse.people import Person, random_person
from mayhem_train.recordings.warehouse.renderer import FLOOR, Lamps, Surroundings

THINGS = ("person", "box", "agv", "forklift")
SURFACES = ("floor",)
FRAME_RATE = 10.0  # pictures a second
LEAD_TIME = 0.5  # seconds of driving before the first picture and after the last

Option = TypeVar("Option")

_OPENNESS_SCALE = 12.0  # cells a metre
_CLEARANCE = 0.8  # metres the AGV keeps from everything, from its middle
_REACH_BEHIND = 2.5  # metres: no actor is longer from its middle
_TICK = 0.25  # seconds between the moments at which paths are checked against each other


@dataclass(frozen=True)
class Motion:
    """Where something is: at rest, shuttling on a line (heading kept), or walking round a narrow ellipse.

    `reach` is how far it goes from (x, y) to either side along `heading`, `girth` the same across it, in metres;
    `rate` radians a second. A girth of 0 makes the line, a reach of 0 the rest.
    """

    x: float
    y: float
    heading: float
    reach: float = 0.0
    girth: float = 0.0
    rate: float = 0.0
    phase: float = 0.0

    def at(self, time: float) -> tuple[float, float, float, float]:
        """x, y, yaw and the distance travelled since time 0."""
        if self.reach == 0:
            return self.x, self.y, self.heading, 0.0
        angle = self.rate * time + self.phase
        along, aside = self.reach * np.sin(angle), -self.girth * np.cos(angle)
        c, s = np.cos(self.heading), np.sin(self.heading)
        yaw = self.heading
        if self.girth > 0:
            yaw += np.arctan2(self.girth * np.sin(angle), self.reach * np.cos(angle))
        return self.x + c * along - s * aside, self.y + s * along + c * aside, yaw, self.reach * self.rate * 0.64 * time


@dataclass(frozen=True)
class Actor:
    """Something that may move, in its own frame: a body, where it is, and half its length and width on the floor."""

    body: Mesh | Person
    motion: Motion
    half_length: float
    half_width: float

    def mesh_at(self, time: float) -> Mesh:
        """Its triangles in the world."""
        x, y, yaw, travelled = self.motion.at(time)
        body = self.body.posed(travelled, time) if isinstance(self.body, Person) else self.body
        return body.moved((x, y, 0), turn_z(yaw))


@dataclass(frozen=True)
class Warehouse:
    """Everything needed to draw any moment of one drive.

    Attributes:
        still: the triangles that never move.
        actors: what may move.
        things: class names of the labelled things by instance number.
        surroundings: textures and lights.
        drive: the AGV's motion.
        film: what its camera does to the light.
        field_of_view: degrees from left to right.
        camera_height: metres above the floor.
        camera_pitch: radians down.
        seed: what the drive's further chances, such as sensor noise, are drawn from.
    """

    still: Mesh
    actors: tuple[Actor, ...]
    things: dict[int, str]
    surroundings: Surroundings
    drive: Drive
    film: Film
    field_of_view: float
    camera_height: float
    camera_pitch: float
    seed: tuple[int, int]

    def intrinsics(self, width: int, height: int) -> Intrinsics:
        """The camera at a picture size. Flatter pictures than 4:3 are cut at top and bottom, as on a sensor."""
        return Intrinsics.with_field_of_view(width, height, self.field_of_view)

    def camera_at(self, time: float) -> CameraPose:
        """The camera's pose; the AGV shakes a little on joints in the floor."""
        drive = self.drive
        x, y, yaw = (drive.value(samples, time) for samples in (drive.x, drive.y, drive.yaw))
        pitch = self.camera_pitch + 0.003 * np.sin(9.1 * time) + 0.002 * np.sin(23.7 * time)
        roll = 0.003 * np.sin(7.3 * time + 1) + 0.02 * drive.value(drive.yaw_rate, time)
        ahead = 0.35  # metres from the AGV's middle to its camera
        eye = np.array([x + ahead * np.cos(yaw), y + ahead * np.sin(yaw), self.camera_height])
        return CameraPose.looking(eye, yaw, pitch, roll)

    def mesh_at(self, time: float) -> Mesh:
        """The triangles in the world, without the actors far behind the camera."""
        pose = self.camera_at(time)
        meshes = [self.still]
        for actor in self.actors:
            x, y, _, _ = actor.motion.at(time)
            if np.dot(pose.rotation[2, :2], [x - pose.eye[0], y - pose.eye[1]]) > -_REACH_BEHIND:
                meshes.append(actor.mesh_at(time))
        return merged(meshes)

    def shadows_at(self, time: float) -> NDArray[np.float32]:
        """Soft shadows of the actors, float32 [S, 6], as `renderer.render` takes them."""
        rows = []
        for actor in self.actors:
            x, y, yaw, _ = actor.motion.at(time)
            rows.append((x, y, yaw, actor.half_length, actor.half_width, 0.8))
        return np.array(rows, np.float32).reshape(-1, 6)


def frame_time(index: int) -> float:
    """Seconds from the drive's start to picture `index`."""
    return LEAD_TIME + index / FRAME_RATE


def build_warehouse(seed: int, drive_number: int, frames: int) -> Warehouse:
    """Draws a warehouse and a drive of `frames` pictures; the same arguments always give the same one."""
    rng = np.random.default_rng([seed, drive_number])
    hall = _Hall.random(rng)
    drive = plan_drive(hall.loop(rng), frame_time(frames - 1) + LEAD_TIME, rng)
    site = _Site(rng, hall, drive)
    site.build_hall()
    site.fill_rows()
    site.place_everything()
    plan = FloorPlan(hall.length, hall.width, hall.aisle_ys, hall.aisle_widths, hall.cross_xs)
    lamps = _lamps(rng, hall)
    openness = _openness(site, lamps)
    tint = rng.normal(1, 0.05, 3)
    return Warehouse(
        still=merged([*site.meshes, _lamp_mesh(lamps)]),
        actors=tuple(site.actors),
        things=site.things,
        surroundings=Surroundings(
            atlas=paint_atlas(rng),
            floor=paint_floor(plan, rng),
            grain=paint_grain(rng),
            openness=openness,
            openness_scale=_OPENNESS_SCALE,
            lamps=lamps,
            floor_gloss=float(rng.choice([0.0, 0.12, 0.3, 0.45])),
        ),
        drive=drive,
        film=Film(
            exposure=float(rng.uniform(0.9, 1.2)),
            adaptation=float(rng.uniform(0.4, 0.85)),
            white_balance=tint / tint.mean(),
            vignetting=float(rng.uniform(0.1, 0.4)),
            noise=float(rng.uniform(1.5, 5.0)),
            softness=float(rng.uniform(0.45, 0.8)),
        ),
        field_of_view=float(rng.uniform(62, 76)),
        camera_height=float(rng.uniform(0.6, 1.15)),
        camera_pitch=float(np.radians(rng.uniform(5, 11))),
        seed=(seed, drive_number),
    )


@dataclass(frozen=True)
class _Hall:
    """The hall's plan: aisles along x, rows of racks between them; the corner of the floor is the origin."""

    length: float
    width: float
    height: float
    aisle_ys: tuple[float, ...]
    aisle_widths: tuple[float, ...]
    rows: tuple[tuple[float, float], ...]  # middle and depth of what stands between and beside the aisles
    cross_xs: tuple[float, float]
    driven: int  # the drive goes round the row between this aisle and the next

    @classmethod
    def random(cls, rng: np.random.Generator) -> _Hall:
        length = rng.uniform(27, 38)
        count = int(rng.integers(2, 4))
        y, aisle_ys, aisle_widths, rows = 0.15, [], [], []
        for aisle in range(count + 1):
            outer = aisle in (0, count)
            depth = rng.uniform(1.2, 1.5) if outer else rng.choice([1.3, 2.4, rng.uniform(2.0, 3.2)])
            rows.append((y + depth / 2, depth))
            y += depth
            if aisle < count:
                width = rng.uniform(4.4, 6.0)
                aisle_ys.append(y + width / 2)
                aisle_widths.append(width)
                y += width
        cross = (rng.uniform(2.8, 4.0), length - rng.uniform(2.8, 4.0))
        driven = int(rng.integers(count - 1))
        return cls(
            length, y + 0.15, rng.uniform(6.5, 8.5), tuple(aisle_ys), tuple(aisle_widths), tuple(rows), cross, driven
        )

    def loop(self, rng: np.random.Generator) -> list[tuple[float, float]]:
        """Corners of the driven loop."""
        left, right = self.cross_xs
        low, high = self.driven, self.driven + 1
        y0 = self.aisle_ys[low] + rng.uniform(-0.15, 0.15) * self.aisle_widths[low]
        y1 = self.aisle_ys[high] + rng.uniform(-0.15, 0.15) * self.aisle_widths[high]
        corners = [(left, y0), (right, y0), (right, y1), (left, y1)]
        return corners if rng.random() < 0.5 else corners[::-1]


@dataclass
class _Site:
    """A hall being filled: nothing is put where something else is, will be, or where the AGV drives."""

    rng: np.random.Generator
    hall: _Hall
    drive: Drive
    meshes: list[Mesh] = field(default_factory=list)
    actors: list[Actor] = field(default_factory=list)
    things: dict[int, str] = field(default_factory=dict)
    blockers: list[tuple[float, float, float, float]] = field(default_factory=list)  # x0, y0, x1, y1
    tracks: list[tuple[NDArray[np.float64], float]] = field(default_factory=list)  # positions [ticks, 2], radius
    shades: list[tuple[NDArray[np.float64], float, float]] = field(default_factory=list)  # outline, height, opacity

    def __post_init__(self) -> None:
        self.times = np.arange(0, self.drive.duration + _TICK, _TICK)
        self.ego = np.array([[self.drive.value(v, t) for v in (self.drive.x, self.drive.y)] for t in self.times])

    # the hall

    def build_hall(self) -> None:
        """Floor, walls with gates, doors and signs, ceiling with beams and aisle boards."""
        rng, hall = self.rng, self.hall
        length, width, height = hall.length, hall.width, hall.height
        corners = np.array([[0, 0, 0], [length, 0, 0], [length, width, 0], [0, width, 0]])
        self.meshes.append(quad(corners, Skin(Texture.PLAIN)).owned_by(FLOOR))
        wall = Skin(_one(rng, (Texture.PANEL_WALL, Texture.BRICK_WALL, Texture.CORRUGATED)), _one(rng, _WALL_COLOURS))
        band = Skin(Texture.PANEL_WALL, _one(rng, _BAND_COLOURS))
        for k in range(4):
            a, b = corners[(k + 1) % 4], corners[k]
            span = float(np.linalg.norm(b - a))
            up = np.array([0, 0, height])
            repeat = np.array([[0, height], [span, height], [span, 0], [0, 0]]) / 2.5
            self.meshes.append(quad([a, b, b + up, a + up], wall, repeat))
            inward = np.array([(b - a)[1], -(b - a)[0], 0]) / span
            stripe_height = rng.uniform(0.3, 1.4)
            near = inward * 0.02
            tall = np.array([0, 0, stripe_height])
            repeat = np.array([[0, 1], [span / 1.5, 1], [span / 1.5, 0], [0, 0]])
            self.meshes.append(quad([a + near, b + near, b + near + tall, a + near + tall], band, repeat))
            self._furnish_wall(a, b, inward)
        ceiling = Skin(Texture.CORRUGATED, _one(rng, ((0.4, 0.41, 0.43), (0.6, 0.6, 0.6), (0.3, 0.32, 0.36))))
        tiles = np.array([[0, 0], [width, 0], [width, length], [0, length]]) / 2
        self.meshes.append(quad(corners[[0, 3, 2, 1]] + [0, 0, height], ceiling, tiles))
        steel = Skin(Texture.METAL, (0.5, 0.5, 0.52))
        for x in np.arange(2, length, rng.uniform(3.5, 6)):
            self.meshes.append(block((0.25, width, 0.45), steel, (x, width / 2, height - 0.5), tile=2))
        for y in hall.aisle_ys:
            duct = Skin(Texture.METAL, (0.7, 0.7, 0.72))
            self.meshes.append(bar((0.1, y + 1.5, height - 0.9), (length - 0.1, y + 1.5, height - 0.9), 0.2, duct))
            board = Skin(_one(rng, (Texture.SIGN_A, Texture.SIGN_B, Texture.SIGN_C)))
            for x in hall.cross_xs:
                self.meshes.append(block((0.06, 1.0, 0.6), board, (x, y, 3.4)))

    def _furnish_wall(self, start: NDArray[np.float64], end: NDArray[np.float64], inward: NDArray[np.float64]) -> None:
        rng = self.rng
        span = float(np.linalg.norm(end - start))
        along = (end - start) / span
        yaw = float(np.arctan2(inward[1], inward[0]))
        place = rng.uniform(1.5, 3)
        while place < span - 2.5:
            kind = rng.random()
            if kind < 0.35:
                colour = _one(rng, ((0.75, 0.77, 0.8), (0.3, 0.45, 0.65), (0.85, 0.85, 0.8), (0.6, 0.25, 0.2)))
                gate = block((0.08, 3.0, 3.3), Skin(Texture.SHUTTER, colour))
                frame = Skin(Texture.HAZARD)
                parts = [gate, *(block((0.14, 0.16, 3.4), frame, (0, s * 1.58, 0), tile=0.4) for s in (-1, 1))]
                item, step = merged(parts), 5.0
            elif kind < 0.6:
                door = block((0.06, 1.0, 2.1), Skin(Texture.PLAIN, _one(rng, _BAND_COLOURS)))
                light = block((0.06, 0.45, 0.18), Skin(Texture.SIGN_C, (0.5, 1.0, 0.6), glow=0.5), (0, 0, 2.3))
                item, step = merged([door, light]), 2.5
            elif kind < 0.85:
                sign = _one(rng, (Texture.SIGN_A, Texture.SIGN_B, Texture.SIGN_C, Texture.SIGN_D))
                size = rng.uniform(0.5, 1.1)
                item, step = block((0.05, size, size), Skin(sign), (0, 0, rng.uniform(1.3, 2.2))), 1.8
            else:
                item = block((0.25, 0.6, 1.5), Skin(Texture.METAL, (0.6, 0.62, 0.6)), (0.1, 0, 0.3))
                step = 1.6
            self.meshes.append(item.moved(start + along * place + inward * 0.05, turn_z(yaw)))
            place += step * rng.uniform(0.7, 1.6)

    # rows

    def fill_rows(self) -> None:
        """Racks, pillars and open storage between and beside the aisles."""
        rng, hall = self.rng, self.hall
        left, right = hall.cross_xs[0] + 1.9, hall.cross_xs[1] - 1.9
        for middle, depth in hall.rows:
            lines = [middle] if depth < 2.2 else [middle - 0.56, middle + 0.56]
            x = left + rng.uniform(0, 1)
            while x < right - stock.BAY_LENGTH:
                bays = min(int(rng.integers(1, 4)), int((right - x) / stock.BAY_LENGTH))
                extent = bays * stock.BAY_LENGTH + 0.2
                if rng.random() < 0.68:
                    for line in lines:
                        self.meshes.append(stock.rack(rng, bays).moved((x + extent / 2, line, 0)))
                    half = 0.56 * len(lines)
                    self._block(x, middle - half, x + extent, middle + half, 2.6, 0.65)
                else:
                    extent = rng.uniform(2.2, 4.0)
                    self._open_storage(x, extent, middle, depth)
                x += extent + (rng.uniform(0.1, 0.5) if rng.random() < 0.7 else rng.uniform(1.2, 2.4))

    def _open_storage(self, x: float, extent: float, middle: float, depth: float) -> None:
        """A pillar, loads on pallets side by side, or nothing."""
        rng = self.rng
        kind = rng.random()
        if kind < 0.35:
            self._pillar(x + extent / 2, middle)
        elif kind < 0.75:
            for k in range(int(extent / 1.4)):
                load = stock.wrapped_load(rng, rng.uniform(0.5, 1.5))
                if rng.random() < 0.3:
                    load = merged([load, stock.wrapped_load(rng, 0.7).moved((0, 0, 1.65))])
                place = (x + 0.7 + 1.4 * k, middle + rng.normal(0, 0.05))
                self.meshes.append(load.moved((*place, 0), turn_z(rng.normal(0, 0.04))))
                self._block(place[0] - 0.65, place[1] - 0.45, place[0] + 0.65, place[1] + 0.45, 1.4, 0.9)

    def _pillar(self, x: float, y: float) -> None:
        concrete, guard = Skin(Texture.CONCRETE), Skin(Texture.HAZARD)
        self.meshes.append(block((0.42, 0.42, self.hall.height), concrete, (x, y, 0), tile=1.5))
        self.meshes.append(block((0.46, 0.46, 1.1), guard, (x, y, 0), tile=0.6))
        if self.rng.random() < 0.6:
            red = Skin(Texture.PLAIN, (0.8, 0.08, 0.06), gloss=0.4)
            self.meshes.append(bar((x, y - 0.3, 0.6), (x, y - 0.3, 1.1), 0.08, red, sides=8))
        self._block(x - 0.25, y - 0.4, x + 0.25, y + 0.25, 3.0, 1.0)

    def _block(self, x0: float, y0: float, x1: float, y1: float, height: float, opacity: float) -> None:
        self.blockers.append((x0, y0, x1, y1))
        self.shades.append((np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]), height, opacity))

    # things and clutter

    def place_everything(self) -> None:
        """Vehicles first, since they need most room, then people, cartons and clutter."""
        rng = self.rng
        driven = float(np.hypot(*np.diff(self.ego, axis=0).T).sum())
        metres = 12 + min(driven, 2 * (self.hall.cross_xs[1] - self.hall.cross_xs[0]) + 12)
        for spacing, add in (
            (5.5, self._add_forklift),
            (4.2, self._add_agv),
            (4.4, self._add_person),
            (2.2, self._add_cartons),
            (2.6, self._add_clutter),
        ):
            for _ in range(max(2, round(metres / spacing * rng.uniform(0.85, 1.2)))):
                for _ in range(60):
                    if add():
                        break

    def _spot(self, margin: float) -> tuple[float, float, float]:
        """A place where things are put, beside the AGV's way or at an aisle's edge, and which way the aisle runs."""
        rng, hall = self.rng, self.hall
        if rng.random() < 0.7:  # beside the way, where the AGV will see it
            tick = int(rng.integers(len(self.ego) - 1))
            ahead = self.ego[tick + 1] - self.ego[tick]
            direction = float(np.arctan2(ahead[1], ahead[0]))
            forward = np.array([np.cos(direction), np.sin(direction)])
            aside = rng.choice([-1, 1]) * (_CLEARANCE + margin + abs(rng.normal(0.1, 0.6)))
            place = self.ego[tick] + rng.uniform(3, 9) * forward + aside * np.array([-forward[1], forward[0]])
            return float(place[0]), float(place[1]), round(direction / (np.pi / 2)) * np.pi / 2
        aisle = int(rng.choice([hall.driven, hall.driven + 1]))
        side = rng.choice([-1, 1]) * (hall.aisle_widths[aisle] / 2 - margin - abs(rng.normal(0, 0.35)))
        return rng.uniform(hall.cross_xs[0], hall.cross_xs[1]), hall.aisle_ys[aisle] + side, 0.0

    def _fits(self, motion: Motion, radius: float, extra: float = 0.0) -> bool:
        """Claims the place, for ever or along a path, if nothing else does; `extra` is kept from the AGV as well."""
        if motion.reach == 0:
            track = np.array([[motion.x, motion.y]])
        else:
            track = np.array([motion.at(time)[:2] for time in self.times])
        if np.min(np.hypot(*(track - self.ego).T)) < radius + _CLEARANCE + extra:
            return False
        if (track < radius + 0.1).any() or (track > np.array([self.hall.length, self.hall.width]) - radius - 0.1).any():
            return False
        for x0, y0, x1, y1 in self.blockers:
            nearest = np.clip(track, [x0, y0], [x1, y1])
            if np.min(np.hypot(*(track - nearest).T)) < radius:
                return False
        for other, other_radius in self.tracks:
            if np.min(np.hypot(*(track - other).T)) < radius + other_radius + 0.05:
                return False
        self.tracks.append((track, radius))
        return True

    def _number(self, label: str) -> int:
        number = UNOWNED + 1 + len(self.things)
        self.things[number] = label
        return number

    def _shuttle(self, margin: float, reach: tuple[float, float], speed: tuple[float, float]) -> Motion:
        rng = self.rng
        x, y, heading = self._spot(margin)
        distance = rng.uniform(*reach)
        return Motion(
            x,
            y,
            heading + np.pi * rng.integers(2) + rng.normal(0, 0.03),
            reach=distance,
            rate=rng.uniform(*speed) / distance,
            phase=rng.uniform(0, 2 * np.pi),
        )

    def _add_forklift(self) -> bool:
        rng = self.rng
        if rng.random() < 0.45:
            motion = self._shuttle(0.85, (2.0, 5.0), (0.8, 1.6))
        else:
            x, y, heading = self._spot(0.9)
            motion = Motion(x, y, heading + rng.choice([0, np.pi / 2, np.pi, -np.pi / 2]) + rng.normal(0, 0.25))
        # the footprint reaches from -1.1 (counterweight) to 2.2 (fork tips): round about the middle of both
        if not self._fits(motion, 1.1, extra=0.35):
            return False
        loaded = rng.random() < 0.5
        lift = rng.uniform(0.1, 0.9) if loaded else rng.uniform(0.05, 0.5)
        parts = [vehicles.forklift(rng, lift).owned_by(self._number("forklift"))]
        if rng.random() < 0.6:
            driver = random_person(rng, "sitting").posed(0, 0)
            parts.append(driver.moved((-0.2, 0, 0.48)).owned_by(self._number("person")))
        if loaded:
            base = stock.pallet(rng)
            parts.append(base.moved((1.65, 0, lift + 0.05), turn_z(np.pi / 2)))
            if rng.random() < 0.75:
                size = (rng.uniform(0.5, 0.75), rng.uniform(0.6, 1.0), rng.uniform(0.4, 0.8))
                load = stock.carton(rng, size)
                parts.append(load.moved((1.6, 0, lift + 0.19)).owned_by(self._number("box")))
        shift = -0.4  # so that the footprint is centred on the motion
        self.actors.append(Actor(merged(parts).moved((shift, 0, 0)), motion, 1.05, 0.58))
        return True

    def _add_agv(self) -> bool:
        rng = self.rng
        if rng.random() < 0.5:
            motion = self._shuttle(0.6, (2.0, 6.0), (0.7, 1.5))
        else:
            x, y, heading = self._spot(0.6)
            motion = Motion(x, y, heading + rng.uniform(-np.pi, np.pi))
        if not self._fits(motion, 0.7):
            return False
        body, deck = vehicles.agv(rng)
        parts = [body.owned_by(self._number("agv"))]
        if rng.random() < 0.22:
            load = stock.carton(rng, (rng.uniform(0.3, 0.55), rng.uniform(0.3, 0.45), rng.uniform(0.2, 0.4)))
            parts.append(load.moved((0, 0, deck)).owned_by(self._number("box")))
        extent = np.abs(body.positions).reshape(-1, 3).max(axis=0)
        self.actors.append(Actor(merged(parts), motion, float(extent[0]), float(extent[1])))
        return True

    def _add_person(self) -> bool:
        rng = self.rng
        posture = str(rng.choice(["walking", "standing", "reaching", "crouching"], p=[0.6, 0.2, 0.1, 0.1]))
        if posture == "walking":
            motion = self._shuttle(0.6, (1.5, 6.0), (0.9, 1.5))
            motion = replace(motion, girth=0.25)
        else:
            x, y, heading = self._spot(0.5)
            motion = Motion(x, y, heading + rng.uniform(-np.pi, np.pi))
        if not self._fits(motion, 0.35):
            return False
        person = random_person(rng, posture)
        person = replace(person, mesh=person.mesh.owned_by(self._number("person")))
        self.actors.append(Actor(person, motion, 0.14, 0.2))
        return True

    def _add_cartons(self) -> bool:
        """One carton, a few side by side, or a stack of two."""
        rng = self.rng
        x, y, heading = self._spot(0.45)
        size = tuple(float(v) for v in rng.uniform((0.35, 0.3, 0.25), (0.85, 0.65, 0.75)))
        length, width, height = size
        kind = rng.random()
        radius = np.hypot(length, width) / 2 * (1.9 if kind < 0.25 else 1.0)
        if not self._fits(Motion(x, y, 0), radius):
            return False
        yaw = heading + (rng.normal(0, 0.12) if rng.random() < 0.6 else rng.uniform(-np.pi, np.pi))
        places: list[tuple[float, float, float, tuple[float, float, float]]] = [
            (0.0, 0.0, 0.0, (length, width, height))
        ]
        if kind < 0.25:
            second = float(rng.uniform(0.8, 1.1))
            places = [(0.0, -width * 0.55, 0.0, (length, width, height))]
            places += [(rng.normal(0, 0.06), width * 0.55, 0.0, (length, width, height * second))]
        elif kind < 0.5:
            smaller = float(rng.uniform(0.65, 1.0))
            places += [
                (rng.normal(0, 0.03), rng.normal(0, 0.03), height, (length * smaller, width * smaller, height * 0.8))
            ]
        for along, aside, up, extent in places:
            body = stock.carton(rng, extent).moved((0, 0, 0), turn_z(rng.normal(0, 0.06)))
            body = body.moved((along, aside, up)).moved((x, y, 0), turn_z(yaw))
            self.meshes.append(body.owned_by(self._number("box")))
            self._shade(body)
        return True

    def _add_clutter(self) -> bool:
        rng = self.rng
        kind = str(rng.choice(list(stock.CLUTTER)))
        x, y, heading = self._spot(0.4)
        if not self._fits(Motion(x, y, 0), stock.CLUTTER[kind]):
            return False
        body = stock.clutter(rng, kind).moved((x, y, 0), turn_z(heading + rng.uniform(-np.pi, np.pi)))
        self.meshes.append(body)
        self._shade(body)
        return True

    def _shade(self, body: Mesh) -> None:
        """Lets a body shade the floor with the hull of its outline."""
        points = body.positions.reshape(-1, 3)
        hull = cv2.convexHull(np.ascontiguousarray(points[:, :2]))[:, 0]
        self.shades.append((hull.astype(np.float64), float(points[:, 2].max()), 1.0))


_WALL_COLOURS: tuple[Colour, ...] = (
    (0.88, 0.88, 0.86),
    (0.75, 0.78, 0.8),
    (0.8, 0.74, 0.65),
    (0.6, 0.64, 0.68),
    (0.7, 0.42, 0.34),
)
_BAND_COLOURS: tuple[Colour, ...] = (
    (0.3, 0.35, 0.45),
    (0.5, 0.5, 0.5),
    (0.75, 0.65, 0.2),
    (0.25, 0.4, 0.35),
    (0.55, 0.28, 0.22),
)


def _one(rng: np.random.Generator, options: tuple[Option, ...]) -> Option:
    return options[int(rng.integers(len(options)))]


def _lamps(rng: np.random.Generator, hall: _Hall) -> Lamps:
    pitch = (rng.uniform(4.5, 7.0), rng.uniform(4.0, 6.0))
    columns, rows = int(hall.length / pitch[0]) + 1, int(hall.width / pitch[1]) + 1
    origin = ((hall.length - (columns - 1) * pitch[0]) / 2, (hall.width - (rows - 1) * pitch[1]) / 2, hall.height - 0.7)
    warmth = np.array(_one(rng, ((1.0, 0.97, 0.92), (1.0, 0.9, 0.75), (0.9, 0.96, 1.05), (0.95, 1.0, 0.97))))
    strength = rng.uniform(0.65, 1.25, (columns, rows, 1)) * (rng.random((columns, rows, 1)) > 0.08)
    colours = strength * warmth * rng.normal(1, 0.02, (columns, rows, 3))
    beacon = np.zeros(6)
    if rng.random() < 0.6:  # an open gate
        x = rng.choice([0.2, hall.length - 0.2])
        beacon[:3] = (x, rng.uniform(0.2, 0.8) * hall.width, 2.0)
        beacon[3:] = np.array([0.9, 0.97, 1.1]) * rng.uniform(0.4, 1.4)
    return Lamps(
        origin=origin,
        pitch=pitch,
        colours=colours.astype(np.float32),
        ambient=(warmth * rng.uniform(0.16, 0.34)).astype(np.float32),
        beacon=beacon.astype(np.float32),
    )


def _lamp_mesh(lamps: Lamps) -> Mesh:
    """The luminaires themselves."""
    parts = []
    columns, rows = lamps.colours.shape[:2]
    for i in range(columns):
        for j in range(rows):
            glow = float(np.clip(lamps.colours[i, j].max(), 0, 1))
            skin = Skin(Texture.PLAIN, glow=glow)
            place = (lamps.origin[0] + i * lamps.pitch[0], lamps.origin[1] + j * lamps.pitch[1], lamps.origin[2])
            parts.append(block((1.2, 0.3, 0.12), skin, place))
    return merged(parts)


def _openness(site: _Site, lamps: Lamps) -> NDArray[np.float32]:
    """How much of the lamps' light reaches each place on the floor, and how closed in it is by what stands there."""
    shape = (int(site.hall.width * _OPENNESS_SCALE) + 2, int(site.hall.length * _OPENNESS_SCALE) + 2)
    heights = np.zeros(shape, np.float32)
    opacity = np.zeros(shape, np.float32)
    for outline, height, opaque in site.shades:
        cells = np.round(outline * _OPENNESS_SCALE - 0.5).astype(np.int32)
        covered = cv2.fillConvexPoly(np.zeros(shape, np.uint8), cells, 1) > 0
        heights[covered] = np.maximum(heights[covered], height)
        opacity[covered] = np.maximum(opacity[covered], opaque)
    light = np.zeros(shape, np.float32)
    columns, rows = lamps.colours.shape[:2]
    _march(
        heights,
        opacity,
        _OPENNESS_SCALE,
        np.array(lamps.origin),
        np.array(lamps.pitch),
        np.array([columns, rows]),
        light,
    )
    soft = cv2.GaussianBlur(light, (0, 0), 0.08 * _OPENNESS_SCALE)
    closeness = cv2.GaussianBlur((heights > 0.1).astype(np.float32), (0, 0), 0.13 * _OPENNESS_SCALE)
    around = cv2.GaussianBlur((heights > 0.1).astype(np.float32), (0, 0), 0.4 * _OPENNESS_SCALE)
    return np.ascontiguousarray((0.2 + 0.8 * soft) * (1 - 0.75 * closeness) * (1 - 0.35 * around), np.float32)


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator, unused-ignore]
def _march(heights, opacity, scale, origin, pitch, grid, light):  # type: ignore[no-untyped-def]
    """Walks from each cell towards its four nearest lamps and dims what must pass through something."""
    rows, columns = heights.shape
    for row in range(rows):
        for column in range(columns):
            x, y = (column + 0.5) / scale, (row + 0.5) / scale
            gx, gy = (x - origin[0]) / pitch[0], (y - origin[1]) / pitch[1]
            ix, iy = int(np.floor(gx)), int(np.floor(gy))
            fx, fy = gx - ix, gy - iy
            fx, fy = fx * fx * (3 - 2 * fx), fy * fy * (3 - 2 * fy)
            total = 0.0
            for k in range(4):
                jx, jy = min(max(ix + (k & 1), 0), grid[0] - 1), min(max(iy + (k >> 1), 0), grid[1] - 1)
                dx, dy = origin[0] + jx * pitch[0] - x, origin[1] + jy * pitch[1] - y
                passed = 1.0
                for step in range(1, 25):
                    s = (step / 24) ** 1.5 * 0.4
                    z = s * origin[2]
                    c, r = int((x + s * dx) * scale), int((y + s * dy) * scale)
                    if c < 0 or r < 0 or c >= columns or r >= rows:
                        break
                    hidden = (heights[r, c] - z) / 0.12
                    if hidden > 0:
                        passed = min(passed, 1 - opacity[r, c] * min(hidden, 1.0))
                weight = (fx if k & 1 else 1 - fx) * (fy if k >> 1 else 1 - fy)
                total += weight * passed
            light[row, column] = total
