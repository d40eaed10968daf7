"""Draw the demo clip: a sunny street, then a flight along a valley, out of arithmetic.

Every pixel is computed here with numpy, letters and sound included, so the clip is
ours to give away (CC0). The scenes are ray-cast at twice the size of the ground
truth (720 x 576), averaged down, then reduced four times with an antialiased bicubic
kernel to the 180 x 144 that ``assets/demo/clip.mp4`` holds.

    python scripts/make_demo_clip.py                      # rewrites the asset
    python scripts/make_demo_clip.py --truth runs/truth   # also the sharp frames
"""

from __future__ import annotations

import argparse
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

ROOT = Path(__file__).parents[1]
WIDTH, HEIGHT = 720, 576
SCALE = 4
RATE = 24
STREET_FRAMES, VALLEY_FRAMES = 28, 20
SUPER = 2  # samples per pixel of the ground truth, along each axis

Colour = tuple[float, float, float]


# ------------------------------------------------------------------------------ noise


def perlin(
    shape: tuple[int, int], cells: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """Gradient noise in about [-0.7, 0.7] that repeats at the borders."""
    angles = rng.uniform(0, 2 * np.pi, cells)
    gy, gx = np.sin(angles).astype(np.float32), np.cos(angles).astype(np.float32)
    y = np.arange(shape[0], dtype=np.float32) / shape[0] * cells[0]
    x = np.arange(shape[1], dtype=np.float32) / shape[1] * cells[1]
    iy, ix = y.astype(int), x.astype(int)
    fy, fx = (y - iy)[:, None], (x - ix)[None]
    wy, wx = _smooth(fy), _smooth(fx)

    def corner(dy: int, dx: int) -> np.ndarray:
        at = np.ix_((iy + dy) % cells[0], (ix + dx) % cells[1])
        return gy[at] * (fy - dy) + gx[at] * (fx - dx)

    top = corner(0, 0) * (1 - wx) + corner(0, 1) * wx
    bottom = corner(1, 0) * (1 - wx) + corner(1, 1) * wx
    return top * (1 - wy) + bottom * wy


def fractal(
    shape: tuple[int, int],
    cells: tuple[int, int],
    octaves: int,
    rng: np.random.Generator,
    *,
    gain: float = 0.5,
    ridged: bool = False,
) -> np.ndarray:
    """Sum of octaves of :func:`perlin`; ``ridged`` gives sharp crests in [0, 1]."""
    total = np.zeros(shape, np.float32)
    weight, size = 1.0, 0.0
    for octave in range(octaves):
        layer = perlin(shape, (cells[0] << octave, cells[1] << octave), rng)
        total += weight * ((1 - 1.6 * np.abs(layer)) if ridged else layer)
        size += weight
        weight *= gain
    return total / size


def _smooth(t: np.ndarray) -> np.ndarray:
    return t * t * t * (t * (t * 6 - 15) + 10)


def step(low: float, high: float, t: np.ndarray) -> np.ndarray:
    """Smooth step from 0 at ``low`` to 1 at ``high`` (either order)."""
    u = np.clip((t - low) / (high - low), 0, 1)
    return u * u * (3 - 2 * u)


# ---------------------------------------------------------------------------- drawing

# Strokes on a grid 4 wide and 6 high; "o" arcs are (centre x, y, rx, ry, from, to) in
# degrees, counter-clockwise from the right.
_BOWL = ("o", 2, 4.5, 2, 1.5, -90, 90)
GLYPHS: dict[str, list[tuple[object, ...]]] = {
    "A": [(0, 0, 2, 6), (2, 6, 4, 0), (0.8, 2.2, 3.2, 2.2)],
    "B": [
        (0, 0, 0, 6),
        (0, 6, 2, 6),
        (0, 3, 2, 3),
        (0, 0, 2, 0),
        _BOWL,
        ("o", 2, 1.5, 2, 1.5, -90, 90),
    ],
    "C": [("o", 2.2, 3, 2.2, 3, 45, 315)],
    "D": [(0, 0, 0, 6), (0, 6, 1.5, 6), (0, 0, 1.5, 0), ("o", 1.5, 3, 2.5, 3, -90, 90)],
    "E": [(0, 0, 0, 6), (0, 6, 3.6, 6), (0, 3, 3, 3), (0, 0, 3.6, 0)],
    "F": [(0, 0, 0, 6), (0, 6, 3.6, 6), (0, 3, 3, 3)],
    "G": [("o", 2.2, 3, 2.2, 3, 45, 340), (2.4, 2.6, 4.3, 2.6), (4.3, 2.6, 4.3, 0.6)],
    "H": [(0, 0, 0, 6), (4, 0, 4, 6), (0, 3, 4, 3)],
    "I": [(2, 0, 2, 6), (1, 6, 3, 6), (1, 0, 3, 0)],
    "K": [(0, 0, 0, 6), (0, 2.4, 3.8, 6), (1.2, 3.4, 4, 0)],
    "L": [(0, 6, 0, 0), (0, 0, 3.6, 0)],
    "M": [(0, 0, 0.3, 6), (0.3, 6, 2, 2), (2, 2, 3.7, 6), (3.7, 6, 4, 0)],
    "N": [(0, 0, 0, 6), (0, 6, 4, 0), (4, 0, 4, 6)],
    "O": [("o", 2, 3, 2.1, 3, 0, 360)],
    "P": [(0, 0, 0, 6), (0, 6, 2, 6), (0, 3, 2, 3), _BOWL],
    "R": [(0, 0, 0, 6), (0, 6, 2, 6), (0, 3, 2, 3), _BOWL, (1.8, 3, 4, 0)],
    "S": [("o", 2, 4.5, 1.9, 1.5, 30, 270), ("o", 2, 1.5, 1.9, 1.5, -150, 90)],
    "T": [(2, 0, 2, 6), (0, 6, 4, 6)],
    "U": [(0, 6, 0, 2), (4, 6, 4, 2), ("o", 2, 2, 2, 2, 180, 360)],
    "V": [(0, 6, 2, 0), (2, 0, 4, 6)],
    "X": [(0, 0, 4, 6), (0, 6, 4, 0)],
    "Y": [(0, 6, 2, 3), (4, 6, 2, 3), (2, 3, 2, 0)],
    "2": [("o", 2, 4.3, 1.9, 1.7, -20, 170), (3.7, 3.6, 0, 0), (0, 0, 4, 0)],
    "4": [(3, 0, 3, 6), (3, 6, 0, 2), (0, 2, 4, 2)],
    "0": [("o", 2, 3, 1.8, 3, 0, 360)],
    "6": [("o", 2, 1.9, 1.9, 1.9, 0, 360), ("o", 3.6, 2, 3.5, 4, 100, 185)],
    "&": [
        ("o", 1.8, 4.7, 1.2, 1.3, -60, 240),
        (0.9, 4, 4.2, 0),
        ("o", 1.7, 1.6, 1.7, 1.6, 110, 330),
        (3.2, 0.8, 4.2, 2.4),
    ],
    "'": [(2, 6, 1.8, 5)],
    ".": [(1.6, 0, 1.6, 0.05)],
    "-": [(1, 3, 3, 3)],
}


def _segments(glyph: list[tuple[object, ...]]) -> Iterator[tuple[float, ...]]:
    for stroke in glyph:
        if stroke[0] != "o":
            yield stroke  # type: ignore[misc]
            continue
        cx, cy, rx, ry, first, last = (float(v) for v in stroke[1:])  # type: ignore
        turn = np.radians(np.linspace(first, last, 15))
        xs, ys = cx + rx * np.cos(turn), cy + ry * np.sin(turn)
        yield from zip(xs, ys, xs[1:], ys[1:], strict=False)


class Canvas:
    """A texture in metres, y upwards, drawn on with antialiased shapes."""

    def __init__(self, width: float, height: float, density: int) -> None:
        self.density = density
        self.width, self.height = width, height
        shape = (round(height * density), round(width * density))
        self.rgb = np.zeros((*shape, 3), np.float32)
        self.alpha = np.zeros(shape, np.float32)

    def box(
        self, x0: float, y0: float, x1: float, y1: float, margin: float = 0.02
    ) -> tuple[slice, slice, np.ndarray, np.ndarray]:
        """Slices of a rectangle, and the coordinates of its pixels."""
        d, rows, columns = self.density, *self.alpha.shape
        left = int(np.clip((x0 - margin) * d, 0, columns))
        right = int(np.clip((x1 + margin) * d + 1, left, columns))
        top = int(np.clip(rows - (y1 + margin) * d, 0, rows))
        bottom = int(np.clip(rows - (y0 - margin) * d + 1, top, rows))
        x = (np.arange(left, right, dtype=np.float32) + 0.5) / d
        y = (rows - np.arange(top, bottom, dtype=np.float32) - 0.5) / d
        return slice(top, bottom), slice(left, right), x[None], y[:, None]

    def cover(self, distance: np.ndarray, soft: float = 0.0) -> np.ndarray:
        """Coverage of a shape from the signed distance to it in metres."""
        width = max(soft, 1 / self.density)
        return np.clip(0.5 - distance / width, 0, 1)

    def paint(
        self,
        at: tuple[slice, slice],
        mask: np.ndarray,
        colour: Colour | np.ndarray,
        opacity: float = 1.0,
    ) -> None:
        """Lay a colour over what is there."""
        mask = (mask * opacity)[..., None]
        self.rgb[at] += (np.asarray(colour, np.float32) - self.rgb[at]) * mask
        self.alpha[at] += (1 - self.alpha[at]) * mask[..., 0]

    def shade(self, at: tuple[slice, slice], factor: np.ndarray) -> None:
        """Darken or lighten."""
        self.rgb[at] *= factor[..., None]

    def rectangle(
        self,
        x0: float,
        y0: float,
        x1: float,
        y1: float,
        colour: Colour | np.ndarray,
        *,
        bevel: float = 0.0,
        shadow: float = 0.0,
        opacity: float = 1.0,
    ) -> None:
        """A rectangle, with a lit edge of ``bevel`` and a cast shadow of ``shadow``."""
        if shadow:
            self.shadow(x0, y0, x1, y1, shadow)
        r, c, x, y = self.box(x0, y0, x1, y1)
        dx = np.abs(x - (x0 + x1) / 2) - (x1 - x0) / 2
        dy = np.abs(y - (y0 + y1) / 2) - (y1 - y0) / 2
        mask = self.cover(np.maximum(dx, dy))
        shape = (*mask.shape, 3)
        fill = np.broadcast_to(np.asarray(colour, np.float32), shape).copy()
        if bevel:
            light = step(bevel, 0, x - x0) + step(bevel, 0, y1 - y)
            dark = step(bevel, 0, x1 - x) + step(bevel, 0, y - y0)
            fill *= (1 + 0.28 * light - 0.35 * dark)[..., None]
        self.paint((r, c), mask, fill, opacity)

    def shadow(self, x0: float, y0: float, x1: float, y1: float, depth: float) -> None:
        """Shadow of a box that stands ``depth`` off the wall; the sun is upper left."""
        r, c, x, y = self.box(x0, y0, x1, y1, margin=2 * depth)
        cx, cy = (x0 + x1) / 2 + depth * 0.55, (y0 + y1) / 2 - depth * 0.8
        dx = np.abs(x - cx) - (x1 - x0) / 2
        dy = np.abs(y - cy) - (y1 - y0) / 2
        mask = self.cover(np.maximum(dx, dy), soft=0.02 + depth * 0.08)
        self.shade((r, c), 1 - 0.55 * mask)

    def text(
        self,
        words: str,
        x: float,
        y: float,
        size: float,
        colour: Colour,
        *,
        weight: float = 0.13,
        shadow: float = 0.0,
        centred: bool = True,
    ) -> None:
        """Letters ``size`` metres high, standing on ``y``, drawn as round strokes."""
        unit = size / 6
        advance = 5.6 * unit
        if centred:
            x -= (len(words) * advance - 1.6 * unit) / 2
        for letter in words:
            strokes = list(_segments(GLYPHS.get(letter, [])))
            if strokes:
                r, c, px, py = self.box(x, y, x + 4.4 * unit, y + size, size * 0.2)
                for offset, paint in ((shadow, (0.05, 0.04, 0.03)), (0.0, colour)):
                    if offset == 0.0 and paint != colour:
                        continue
                    near = np.full((py.size, px.size), 9.0, np.float32)
                    u, v = (px - x - offset) / unit, (py - y + offset) / unit
                    for ax, ay, bx, by in strokes:
                        ex, ey = bx - ax, by - ay
                        t = ((u - ax) * ex + (v - ay) * ey) / (ex * ex + ey * ey + 1e-9)
                        t = np.clip(t, 0, 1)
                        near = np.minimum(
                            near, np.hypot(u - ax - t * ex, v - ay - t * ey)
                        )
                    mask = self.cover((near - weight * 6) * unit)
                    self.paint((r, c), mask, paint)
            x += advance

    def leaf(
        self, x: float, y: float, length: float, angle: float, colour: np.ndarray
    ) -> None:
        """A pointed leaf with a midrib, one half in the light."""
        reach = length * 0.6
        r, c, px, py = self.box(x - reach, y - reach, x + reach, y + reach, 0)
        if px.size == 0 or py.size == 0:
            return
        ca, sa = np.cos(angle), np.sin(angle)
        along = ((px - x) * ca + (py - y) * sa) / (length / 2)
        across = (-(px - x) * sa + (py - y) * ca) / (length / 2)
        half = 0.48 * (1 - along**2) * (1 + 0.25 * along)
        distance = (np.abs(across) - half) * length / 2
        mask = self.cover(distance) * (np.abs(along) < 1)
        side = np.where(across > 0, 1.12, 0.86)
        rib = 1 + 0.35 * (np.abs(across) < 0.05)
        fill = colour * (side * rib * (0.92 + 0.12 * along))[..., None]
        self.paint((r, c), mask, fill.astype(np.float32))


def foliage(
    canvas: Canvas,
    spots: np.ndarray,
    rng: np.random.Generator,
    *,
    length: tuple[float, float],
    hue: Colour = (0.25, 0.42, 0.12),
) -> None:
    """Leaves at the places given, the later ones over the earlier and brighter."""
    for index, (x, y) in enumerate(spots):
        lift = 0.45 + 0.75 * index / len(spots)
        tint = np.array(hue) * lift * rng.uniform(0.8, 1.25, 3)
        angle = rng.uniform(-2.6, -0.5)
        canvas.leaf(x, y, rng.uniform(*length), angle, tint)


# ------------------------------------------------------------------------- the street

WALL_W, WALL_H, DENSITY = 9.0, 5.4, 300


def build_wall(rng: np.random.Generator) -> Canvas:
    """A house front: bricks below, plaster above, a shop, windows, ivy, lettering."""
    wall = Canvas(WALL_W, WALL_H, DENSITY)
    shape = wall.alpha.shape
    everything = (slice(None), slice(None))
    x = (np.arange(shape[1], dtype=np.float32) + 0.5)[None] / DENSITY
    y = (shape[0] - np.arange(shape[0], dtype=np.float32) - 0.5)[:, None] / DENSITY
    grain = rng.normal(0, 1, shape).astype(np.float32)
    stains = fractal(shape, (4, 6), 6, rng)

    # plaster, ochre, weathered
    rough = fractal(shape, (27, 45), 5, rng, gain=0.7)
    slope = np.roll(rough, (1, 1), (0, 1)) - rough
    tone = 1 + 0.30 * stains + 4.0 * slope + 0.018 * grain
    wall.paint(everything, np.ones(shape), np.array((0.86, 0.68, 0.40)))
    wall.shade(everything, tone)

    # bricks up to 2.55 m and where the plaster has come off
    gap = 2.55 - y + np.zeros_like(x)
    chipped = step(0.02, 0.05, stains - 0.36 + 0.12 * rough)
    bare = np.maximum(step(-0.004, 0.004, gap), chipped)
    course, along = y / 0.075, x / 0.225
    row = np.floor(course).astype(int)
    along = along + 0.5 * (row % 2)
    column = np.floor(along).astype(int)
    seed = ((row * 7919 + column * 104729) % 65536) / 65536
    seed2 = ((row * 31337 + column * 7867) % 65536) / 65536
    edge_y = (0.5 - np.abs(course - row - 0.5)) * 0.075
    edge_x = (0.5 - np.abs(along - column - 0.5)) * 0.225
    wobble = 0.0035 * rough
    brick = step(0.004, 0.0075, np.minimum(edge_x, edge_y) + wobble)
    hue = np.stack(
        [0.46 + 0.22 * seed, 0.21 + 0.12 * seed * seed2, 0.15 + 0.08 * seed2], -1
    )
    hue *= (1 + 0.35 * rough + 0.05 * grain + 2.5 * slope)[..., None]
    dark = step(0.93, 0.95, seed2)[..., None]
    hue = hue * (1 - 0.55 * dark)
    mortar = np.array((0.66, 0.61, 0.53)) * (1 + 0.3 * rough + 0.06 * grain)[..., None]
    lit = np.roll(brick, (1, 1), (0, 1)) - np.roll(brick, (-1, -1), (0, 1))
    pattern = mortar + (hue - mortar) * brick[..., None]
    pattern *= (1 - 0.22 * lit)[..., None]
    wall.paint(everything, bare, pattern.astype(np.float32))
    ledge = np.roll(bare, (3, 3), (0, 1)) - bare
    wall.shade(everything, 1 - 0.35 * np.clip(ledge, 0, 1))

    # cornice between the floors, stone base, gutter
    wall.rectangle(0, 2.52, WALL_W, 2.66, (0.80, 0.76, 0.68), bevel=0.03, shadow=0.09)
    wall.rectangle(0, 2.60, WALL_W, 2.635, (0.88, 0.85, 0.78), bevel=0.012)
    for start in np.arange(0, WALL_W, 0.62):
        wall.rectangle(
            start + 0.006, 0, start + 0.614, 0.34, (0.56, 0.54, 0.52), bevel=0.016
        )
    base = wall.box(0, 0, WALL_W, 0.34)[:2]
    wall.shade(base, 1 + 0.5 * rough[base] + 0.05 * grain[base])
    wall.rectangle(0.42, 0, 0.52, WALL_H, (0.42, 0.47, 0.46), bevel=0.04, shadow=0.10)
    for height in (0.9, 2.1, 3.3, 4.5):
        wall.rectangle(
            0.40, height, 0.54, height + 0.05, (0.32, 0.36, 0.36), bevel=0.02
        )

    for left in (1.15, 3.15, 5.15, 7.15):
        _window(wall, left, 3.15, rng)
    _shop(wall, 3.05, rng)
    _door(wall, 1.55)
    _small_signs(wall)

    # ivy climbing on the right, geraniums below the windows
    spots = []
    for _ in range(26):
        px, py = 7.55 + rng.normal(0, 0.20), 0.2
        while py < rng.uniform(2.2, 5.4):
            px += rng.normal(0, 0.05)
            py += 0.035
            spots.append((px + rng.normal(0, 0.06), py + rng.normal(0, 0.04)))
    order = rng.permutation(len(spots))
    foliage(wall, np.array(spots)[order], rng, length=(0.07, 0.13))
    for left in (1.15, 3.15, 5.15, 7.15):
        _flower_box(wall, left - 0.06, 3.05, rng)

    # dappled shade of a tree that is not in the frame
    leaves = fractal(shape, (22, 36), 3, rng)
    region = step(3.0, 1.2, x + 0.35 * (y - 2.5) + 0.8 * stains)
    shade = step(-0.12, 0.14, leaves + 0.05) * region
    wall.shade(everything, 1 - 0.36 * shade)
    np.clip(wall.rgb, 0, 1, out=wall.rgb)
    return wall


def _window(wall: Canvas, x: float, y: float, rng: np.random.Generator) -> None:
    w, h = 0.95, 1.55
    wall.rectangle(
        x - 0.09,
        y - 0.06,
        x + w + 0.09,
        y + h + 0.10,
        (0.84, 0.80, 0.72),
        bevel=0.025,
        shadow=0.05,
    )
    wall.rectangle(x, y, x + w, y + h, (0.10, 0.12, 0.15))
    r, c, px, py = wall.box(x, y, x + w, y + h, 0)
    sky = fractal(wall.alpha[r, c].shape, (3, 2), 4, rng)
    sheen = step(-0.1, 0.25, sky + 0.45 * (py - y) / h - 0.2)
    glass = np.stack(
        [0.14 + 0.42 * sheen, 0.19 + 0.47 * sheen, 0.26 + 0.52 * sheen], -1
    )
    wall.paint((r, c), np.ones(sheen.shape), glass)
    # lace curtain in the lower half
    lace = 0.5 + 0.5 * np.sin(px * 260) * np.sin(py * 260)
    wave = 0.5 + 0.5 * np.sin(px * 70 + 2 * np.sin(py * 6))
    hem = y + 0.62 + 0.03 * np.abs(np.sin((px - x) * 33))
    curtain = wall.cover(py - hem) * (0.35 + 0.45 * lace)
    white = np.repeat((0.62 + 0.3 * wave)[..., None], 3, -1)
    wall.paint((r, c), curtain, white)
    frame = (0.93, 0.92, 0.88)
    for dx in (0.0, w / 2 - 0.025, w - 0.05):
        wall.rectangle(x + dx, y, x + dx + 0.05, y + h, frame, bevel=0.012)
    for dy in (0.0, 0.51, 1.02, h - 0.05):
        wall.rectangle(x, y + dy, x + w, y + dy + 0.035, frame, bevel=0.01)
    wall.rectangle(
        x - 0.14,
        y - 0.10,
        x + w + 0.14,
        y - 0.02,
        (0.78, 0.75, 0.70),
        bevel=0.02,
        shadow=0.08,
    )
    for left in (x - 0.62, x + w + 0.10):  # shutters, with louvres
        green = (0.13, 0.36, 0.33)
        wall.rectangle(
            left, y - 0.02, left + 0.52, y + h + 0.02, green, bevel=0.015, shadow=0.06
        )
        for low, high in ((0.06, 0.72), (0.82, 1.49)):
            wall.rectangle(
                left + 0.06, y + low, left + 0.46, y + high, (0.07, 0.21, 0.19)
            )
            for slat in np.arange(y + low + 0.004, y + high - 0.02, 0.034):
                wall.rectangle(
                    left + 0.065,
                    slat,
                    left + 0.455,
                    slat + 0.026,
                    (0.16, 0.43, 0.39),
                    bevel=0.012,
                )


def _flower_box(wall: Canvas, x: float, y: float, rng: np.random.Generator) -> None:
    wall.rectangle(
        x, y - 0.24, x + 1.07, y, (0.62, 0.30, 0.18), bevel=0.03, shadow=0.16
    )
    spots = np.stack(
        [rng.uniform(x - 0.05, x + 1.12, 230), y + rng.normal(0.04, 0.075, 230)], -1
    )
    foliage(wall, spots, rng, length=(0.06, 0.10), hue=(0.22, 0.45, 0.14))
    petals = [(0.86, 0.10, 0.14), (0.95, 0.35, 0.45), (0.98, 0.88, 0.86)]
    for _ in range(34):
        cx, cy = rng.uniform(x, x + 1.07), y + rng.normal(0.08, 0.06)
        tint = np.array(petals[rng.integers(3)])
        for turn in range(5):
            angle = turn * 2 * np.pi / 5
            wall.leaf(
                cx + 0.016 * np.cos(angle),
                cy + 0.016 * np.sin(angle),
                0.036,
                angle,
                tint * rng.uniform(0.85, 1.1),
            )
        wall.leaf(cx, cy, 0.018, 0, np.array((0.98, 0.84, 0.25)))


def _shop(wall: Canvas, x: float, rng: np.random.Generator) -> None:
    w = 3.3
    wood = (0.10, 0.22, 0.30)
    wall.rectangle(x, 0.0, x + w, 2.44, wood, bevel=0.03, shadow=0.08)
    r, c, px, py = wall.box(x, 0, x + w, 2.44, 0)
    wall.shade((r, c), 1 + 0.05 * np.sin(px * 400 + 8 * np.sin(py * 3)))
    # the sign
    wall.rectangle(x + 0.08, 1.98, x + w - 0.08, 2.40, (0.06, 0.13, 0.19), bevel=0.02)
    wall.rectangle(x + 0.11, 2.005, x + w - 0.11, 2.375, (0.72, 0.56, 0.22))
    wall.rectangle(x + 0.125, 2.02, x + w - 0.125, 2.36, (0.07, 0.16, 0.23))
    wall.text(
        "UPFRAME",
        x + w / 2,
        2.10,
        0.185,
        (0.93, 0.77, 0.36),
        weight=0.085,
        shadow=0.012,
    )
    for side in (-1.0, 1.0):
        wall.text(
            "CAFE" if side < 0 else "PAIN",
            x + w / 2 + side * 1.15,
            2.15,
            0.085,
            (0.90, 0.86, 0.74),
            weight=0.10,
        )
    # two panes, with cakes on shelves behind and letters upon them
    for left, right in ((x + 0.14, x + 1.58), (x + 1.72, x + w - 0.14)):
        wall.rectangle(left, 0.46, right, 1.62, (0.05, 0.05, 0.06))
        r, c, px, py = wall.box(left, 0.46, right, 1.62, 0)
        depth = fractal(wall.alpha[r, c].shape, (3, 4), 4, rng)
        warm = 0.26 + 0.22 * (py - 0.46) + 0.14 * depth
        inside = np.stack([warm * 1.25, warm * 0.95, warm * 0.62], -1)
        wall.paint((r, c), np.ones(warm.shape), inside)
        for shelf in (0.52, 0.86, 1.18):
            wall.rectangle(
                left, shelf - 0.03, right, shelf, (0.66, 0.50, 0.32), bevel=0.008
            )
            at = left + 0.10
            while at < right - 0.08:
                _pastry(wall, at, shelf, rng)
                at += rng.uniform(0.13, 0.19)
        streak = step(0.10, 0.0, np.abs((px - left) - 0.45 - 0.5 * (py - 0.46)) - 0.06)
        wall.paint((r, c), streak, (0.85, 0.92, 1.0), 0.16)
        wall.rectangle(
            left - 0.03, 0.40, right + 0.03, 0.46, (0.13, 0.28, 0.37), bevel=0.015
        )
    wall.text("BREAD & COFFEE", x + 0.86, 1.42, 0.075, (0.97, 0.95, 0.88), weight=0.09)
    wall.text("SINCE 2026", x + 2.44, 1.42, 0.075, (0.97, 0.95, 0.88), weight=0.09)
    for left in np.arange(x + 0.16, x + w - 0.3, 0.50):
        wall.rectangle(left, 0.08, left + 0.44, 0.34, (0.12, 0.26, 0.35), bevel=0.02)
    # awning with stripes and scallops
    low, high = 1.55, 1.97
    wall.shadow(x - 0.08, low, x + w + 0.08, high, 0.30)
    r, c, px, py = wall.box(x - 0.1, low - 0.1, x + w + 0.1, high, 0)
    u = (px - x + 0.08) / 0.21
    scallop = (
        low
        + 0.045
        - 0.05 * np.sqrt(np.clip(1 - (2 * (u - np.floor(u)) - 1) ** 2, 0, 1))
    )
    mask = wall.cover(scallop - py) * wall.cover(np.abs(px - x - w / 2) - w / 2 - 0.08)
    red = (np.floor(u).astype(int) % 2)[..., None]
    cloth = np.where(red, (0.78, 0.13, 0.13), (0.95, 0.92, 0.84))
    weave = 1 + 0.04 * np.sin(px * 900) * np.sin(py * 900)
    fold = 0.80 + 0.34 * (py - low) / (high - low) + 0.05 * np.cos(u * 2 * np.pi)
    wall.paint((r, c), mask, cloth * (weave * fold)[..., None])
    wall.shade((r, c), 1 - 0.4 * wall.cover(np.abs(py - low - 0.05) - 0.006) * mask)


def _pastry(wall: Canvas, x: float, y: float, rng: np.random.Generator) -> None:
    crust = np.array((0.74, 0.47, 0.19)) * rng.uniform(0.75, 1.25)
    w, h = rng.uniform(0.045, 0.07), rng.uniform(0.05, 0.10)
    r, c, px, py = wall.box(x - w, y, x + w, y + h, 0.01)
    u, v = (px - x) / w, (py - y) / h
    mask = wall.cover((np.sqrt(u**2 + np.clip(v, 0, 2) ** 2) - 1) * min(w, h))
    mask = mask * (py > y)
    score = 1 - 0.4 * step(0.25, 0.05, np.abs(np.sin(3.5 * u + 1.2 * v + 5 * x)))
    light = 0.65 + 0.5 * np.clip(v, 0, 1) - 0.25 * u
    wall.paint((r, c), mask, crust * (score * light)[..., None])


def _door(wall: Canvas, x: float) -> None:
    w, h = 1.02, 2.22
    wall.rectangle(
        x - 0.12, 0, x + w + 0.12, h + 0.14, (0.82, 0.78, 0.70), bevel=0.03, shadow=0.05
    )
    wall.rectangle(x, 0.04, x + w, h, (0.46, 0.13, 0.10), bevel=0.02)
    r, c, px, py = wall.box(x, 0.04, x + w, h, 0)
    wall.shade((r, c), 1 + 0.07 * np.sin(px * 330 + 6 * np.sin(py * 4 + px * 9)))
    for left in (x + 0.09, x + w / 2 + 0.04):
        for low, high in ((0.14, 0.66), (0.76, 1.38), (1.48, 2.10)):
            wall.rectangle(left, low, left + 0.38, high, (0.36, 0.09, 0.07), bevel=0.02)
            wall.rectangle(
                left + 0.035,
                low + 0.035,
                left + 0.345,
                high - 0.035,
                (0.52, 0.16, 0.12),
                bevel=0.03,
            )
    wall.rectangle(x + w / 2 - 0.01, 0.04, x + w / 2 + 0.01, h, (0.22, 0.05, 0.04))
    wall.rectangle(
        x + w / 2 + 0.05,
        1.40,
        x + w / 2 + 0.17,
        1.455,
        (0.85, 0.68, 0.30),
        bevel=0.012,
        shadow=0.03,
    )


def _small_signs(wall: Canvas) -> None:
    blue, white = (0.10, 0.20, 0.50), (0.95, 0.95, 0.92)
    # street plate
    wall.rectangle(0.72, 2.02, 1.38, 2.32, white, shadow=0.03)
    wall.rectangle(0.735, 2.035, 1.365, 2.305, blue, bevel=0.008)
    wall.text("RUE DES", 1.05, 2.20, 0.06, white, weight=0.11)
    wall.text("TEXELS", 1.05, 2.075, 0.075, white, weight=0.11)
    # house number
    wall.rectangle(2.75, 1.72, 2.98, 1.90, white, shadow=0.02)
    wall.rectangle(2.762, 1.732, 2.968, 1.888, blue, bevel=0.006)
    wall.text("24", 2.865, 1.76, 0.10, white, weight=0.11)
    # poster with small print
    wall.rectangle(6.52, 0.85, 7.06, 1.66, (0.93, 0.89, 0.78), shadow=0.02)
    r, c, px, py = wall.box(6.56, 1.22, 7.02, 1.62, 0)
    rings = np.hypot(px - 6.79, py - 1.42)
    disc = wall.cover(rings - 0.17)
    target = np.where(
        (np.floor(rings / 0.028).astype(int) % 2)[..., None],
        (0.90, 0.42, 0.13),
        (0.13, 0.30, 0.42),
    )
    wall.paint((r, c), disc, target)
    wall.text("FOUR", 6.79, 1.125, 0.075, (0.15, 0.12, 0.10), weight=0.12)
    wall.text("TIMES", 6.79, 1.02, 0.06, (0.70, 0.15, 0.10), weight=0.12)
    words = ("SHARP IN EACH", "FRAME AND TRUE", "TO THE SOURCE")
    for line, word in enumerate(words):
        wall.text(
            word, 6.79, 0.965 - 0.04 * line, 0.022, (0.2, 0.18, 0.16), weight=0.10
        )


def build_ground(rng: np.random.Generator) -> np.ndarray:
    """Cobblestones, a texture that repeats every 3 m, 200 pixels per metre."""
    size, count = 600, 26
    jitter = rng.uniform(-0.28, 0.28, (count, count, 2))
    tone = rng.uniform(0.7, 1.15, (count, count))
    warm = rng.uniform(-0.05, 0.05, (count, count))
    p = (np.arange(size) + 0.5) / size * count
    yy, xx = np.meshgrid(p, p, indexing="ij")
    first = np.full((size, size), 9.0)
    second = np.full((size, size), 9.0)
    owner = np.zeros((size, size, 2))
    iy, ix = np.floor(yy).astype(int), np.floor(xx).astype(int)
    for dy in (-1, 0, 1):
        for dx in (-1, 0, 1):
            cy, cx = iy + dy, ix + dx
            at = (cy % count, cx % count)
            stone = jitter[at]
            distance = np.maximum(
                np.abs(xx - cx - 0.5 - stone[..., 0]),
                np.abs(yy - cy - 0.5 - stone[..., 1]),
            ) * 0.6 + 0.4 * np.hypot(
                xx - cx - 0.5 - stone[..., 0], yy - cy - 0.5 - stone[..., 1]
            )
            closer = distance < first
            second = np.where(closer, first, np.minimum(second, distance))
            mine = np.stack([tone[at], warm[at]], -1)
            owner = np.where(closer[..., None], mine, owner)
            first = np.minimum(first, distance)
    rough = fractal((size, size), (24, 24), 4, rng, gain=0.7)
    dome = np.clip((second - first) * 2.4, 0, 1)
    slope = np.roll(dome, (2, 2), (0, 1)) - dome
    stone = owner[..., 0] * (0.42 + 0.2 * rough) - 0.32 * slope
    seam = step(0.05, 0.22, second - first)
    grey = 0.17 + (stone - 0.17) * seam
    tint = np.stack([1.05 + owner[..., 1], 1.0 + 0 * grey, 0.94 - owner[..., 1]], -1)
    return np.clip(grey[..., None] * tint, 0, 1).astype(np.float32)


def build_branch(rng: np.random.Generator) -> Canvas:
    """Leaves close to the camera, on nothing."""
    branch = Canvas(3.0, 1.6, 420)
    spots = []
    for _ in range(15):
        x, y = rng.uniform(-0.1, 1.5), 1.62
        heading = rng.uniform(-1.2, -0.4)
        for _ in range(round(rng.uniform(14, 30) * (1.2 - 0.55 * x))):
            heading += rng.normal(0, 0.10)
            x += 0.024 * np.cos(heading)
            y += 0.024 * np.sin(heading)
            for _ in range(2):
                spots.append((x + rng.normal(0, 0.03), y + rng.normal(0, 0.03)))
    order = rng.permutation(len(spots))
    foliage(
        branch,
        np.array(spots)[order],
        rng,
        length=(0.055, 0.095),
        hue=(0.27, 0.40, 0.10),
    )
    return branch


def mipmaps(texture: np.ndarray, levels: int) -> list[np.ndarray]:
    """The texture and its successive halves."""
    chain = [texture]
    for _ in range(levels):
        t = chain[-1]
        t = t[: t.shape[0] // 2 * 2, : t.shape[1] // 2 * 2]
        chain.append((t[::2, ::2] + t[1::2, ::2] + t[::2, 1::2] + t[1::2, 1::2]) / 4)
    return chain


def sample(
    texture: np.ndarray, row: np.ndarray, column: np.ndarray, *, repeat: bool = False
) -> np.ndarray:
    """Bilinear lookup at fractional pixel positions (1-D arrays)."""
    rows, columns = texture.shape[:2]
    row, column = row - 0.5, column - 0.5
    r0, c0 = np.floor(row), np.floor(column)
    fr = (row - r0).astype(np.float32)[:, None]
    fc = (column - c0).astype(np.float32)[:, None]
    r0, c0 = r0.astype(np.int32), c0.astype(np.int32)
    if repeat:
        r1, c1 = (r0 + 1) % rows, (c0 + 1) % columns
        r0, c0 = r0 % rows, c0 % columns
    else:
        r1, c1 = np.clip(r0 + 1, 0, rows - 1), np.clip(c0 + 1, 0, columns - 1)
        r0, c0 = np.clip(r0, 0, rows - 1), np.clip(c0, 0, columns - 1)
    flat = texture.reshape(rows * columns, -1)
    top = flat[r0 * columns + c0]
    top += (flat[r0 * columns + c1] - top) * fc
    bottom = flat[r1 * columns + c0]
    bottom += (flat[r1 * columns + c1] - bottom) * fc
    top += (bottom - top) * fr
    return top


def street(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """The camera glides along the house front and nods a little."""
    wall = build_wall(rng)
    ground = mipmaps(build_ground(rng), 4)
    branch = build_branch(rng)
    leaves = np.dstack([branch.rgb * branch.alpha[..., None], branch.alpha])
    width, height = WIDTH * SUPER, HEIGHT * SUPER
    focal = 1.10
    u = ((np.arange(width, dtype=np.float32) + 0.5) / width - 0.5)[None] / focal
    v = (0.5 - (np.arange(height, dtype=np.float32) + 0.5) / height)[:, None]
    v = v * (HEIGHT / WIDTH * 16 / 15) / focal  # the frame is shown as 4:3
    for index in range(STREET_FRAMES):
        t = index / (STREET_FRAMES - 1)
        eye = np.array([3.30 + 0.85 * t, 1.72 + 0.05 * t, -5.9 + 0.45 * t])
        yaw, pitch = 0.11 - 0.10 * t, 0.050 + 0.012 * np.sin(3 * t)
        roll = np.radians(0.7 - 1.3 * t)
        x = u * np.cos(roll) - v * np.sin(roll)
        y = u * np.sin(roll) + v * np.cos(roll)
        y, z = y * np.cos(pitch) + np.sin(pitch), np.cos(pitch) - y * np.sin(pitch)
        x, z = x * np.cos(yaw) + z * np.sin(yaw), z * np.cos(yaw) - x * np.sin(yaw)
        reach = -eye[2] / z
        wx, wy = (eye[0] + reach * x).ravel(), (eye[1] + reach * y).ravel()
        image = np.empty((width * height, 3), np.float32)
        front = wy >= 0
        image[front] = sample(
            wall.rgb, (WALL_H - wy[front]) * DENSITY, wx[front] * DENSITY
        )
        below = ~front
        down = (-eye[1] / y).ravel()[below]
        gx = eye[0] + down * x.ravel()[below]
        gz = eye[2] + down * z.ravel()[below]
        floor = np.empty((gx.size, 3), np.float32)
        level = np.clip(np.log2(np.maximum(down * 0.55, 1)) + 0.6, 0, 4).astype(int)
        for depth in range(5):
            here = level == depth
            per_metre = 200 / (1 << depth)
            floor[here] = sample(
                ground[depth], gz[here] * per_metre, gx[here] * per_metre, repeat=True
            )
        kerb = step(-0.50, -0.49, gz)[:, None]
        slab = np.abs((gx / 0.9) % 1 - 0.5) > 0.49
        paving = (0.62 + 0.1 * (floor - 0.35)) * np.where(slab, 0.7, 1.0)[:, None]
        edge = step(0.10, 0.0, np.abs(gz + 0.55) - 0.02)[:, None]
        floor += (paving * (1.0, 0.97, 0.92) - floor) * kerb
        floor += ((0.70, 0.68, 0.64) - floor) * edge
        floor *= (1 - 0.45 * step(-0.35, 0.0, gz))[:, None]
        image[below] = floor
        # leaves at z = -3.1, swaying
        near = (-3.1 - eye[2]) / z
        lx = (eye[0] + near * x).ravel() - 2.15
        ly = (eye[1] + near * y).ravel() - 1.33
        sway = 0.010 * np.sin(5 * t + 2 * ly)
        inside = np.flatnonzero((lx > 0) & (lx < 3.0) & (ly > 0) & (ly < 1.6))
        leaf = sample(
            leaves, (1.6 - ly[inside]) * 420, (lx[inside] + sway[inside]) * 420
        )
        image[inside] = image[inside] * (1 - leaf[:, 3:]) + leaf[:, :3]
        yield image.reshape(height, width, 3)


# ------------------------------------------------------------------------- the valley

MAP = 2048


def build_valley(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Heights in map pixels, and colours with sun, shade and snow."""
    shape = (MAP, MAP)
    ridges = fractal(shape, (5, 5), 8, rng, gain=0.5, ridged=True)
    hills = fractal(shape, (4, 4), 5, rng)
    x = np.arange(MAP, dtype=np.float32) / MAP
    path = 0.5 + 0.05 * np.sin(x * 2 * np.pi * 2)
    away = np.abs(x[None] - path[:, None])
    away = np.minimum(away, 1 - away)
    flank = step(0.01, 0.24, away)
    height = 330 * flank * np.clip(ridges * 1.5 - 0.55, 0, 1.4) + 50 * hills * flank
    height += 40 * step(0.02, 0.10, away)
    water_level = 11.0
    wet = step(water_level + 0.6, water_level - 0.4, height)
    height = np.maximum(height, water_level)
    dy, dx = np.gradient(height)
    steep = np.hypot(dx, dy)
    sun = np.array((-0.62, -0.30, 0.55))
    sun = sun / np.linalg.norm(sun)
    light = (-dx * sun[0] - dy * sun[1] + sun[2]) / np.sqrt(1 + dx**2 + dy**2)
    # cast shadows: along +x the sun sinks by a fixed slope per pixel
    ramp = np.arange(MAP, dtype=np.float32) * 0.55
    horizon = np.maximum.accumulate(height + ramp, axis=1) - ramp
    shadow = step(1.0, 7.0, horizon - height)
    speckle = rng.normal(0, 1, shape).astype(np.float32)
    patches = fractal(shape, (40, 40), 4, rng)
    trees = step(0.0, 0.12, patches + 0.25 * perlin(shape, (512, 512), rng))
    trees *= step(170, 110, height) * step(1.7, 1.0, steep) * (1 - wet)
    grass = np.array((0.27, 0.34, 0.15)) + 0.12 * patches[..., None]
    meadow = np.array((0.42, 0.41, 0.20))
    grass = grass + (meadow - grass) * step(0.0, 0.3, hills)[..., None]
    strata = np.sin(height * 0.55 + 5 * patches)
    rock = (
        np.array((0.47, 0.42, 0.38)) * (1 + 0.14 * strata + 0.10 * speckle)[..., None]
    )
    colour = grass * (1 + 0.10 * speckle)[..., None]
    bare = step(0.65, 1.15, steep + 0.3 * patches)[..., None]
    bare = np.maximum(bare, step(150, 205, height + 40 * patches)[..., None])
    colour = colour + (rock - colour) * bare
    snow = step(200, 240, height + 40 * patches - 30 * (steep - 1))[..., None]
    colour = colour + (np.array((0.96, 0.97, 1.0)) - colour) * snow
    crowns = perlin(shape, (640, 640), rng)
    forest = (
        np.array((0.10, 0.175, 0.07)) * (1 + 0.9 * crowns + 0.2 * speckle)[..., None]
    )
    colour = colour + (forest - colour) * trees[..., None]
    bright = np.clip(light, 0, 1) * (1 - 0.8 * shadow)
    lit = bright[..., None] * np.array((1.55, 1.42, 1.18))
    lit = lit + np.array((0.26, 0.32, 0.42))
    colour = colour * lit
    ripples = perlin(shape, (300, 700), rng) + 0.5 * perlin(shape, (900, 1024), rng)
    lake = np.array((0.16, 0.36, 0.46)) + 0.16 * ripples[..., None]
    lake = lake * (1 - 0.45 * shadow[..., None])
    shore = step(water_level + 2.2, water_level + 0.4, height)[..., None]
    colour = colour + (np.array((0.62, 0.56, 0.42)) - colour) * shore * 0.7
    colour = colour + (lake - colour) * wet[..., None]
    height += 5.0 * trees * (0.6 + crowns)
    return height.astype(np.float32), np.clip(colour, 0, 1.2).astype(np.float32)


def valley(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """A low flight up the valley; each column of pixels marches over the height map."""
    height, colour = build_valley(rng)
    chain = mipmaps(colour, 4)
    tall = mipmaps(height[..., None], 3)
    width, rows = WIDTH * SUPER, HEIGHT * SUPER
    u = ((np.arange(width) + 0.5) / width - 0.5) / 0.95
    depths = np.geomspace(90, 1300, 1000)
    clouds = fractal((512, 2048), (4, 8), 6, rng)
    detail = fractal((512, 512), (16, 16), 5, rng, gain=0.8)[..., None]
    horizon, unit = rows * 0.36, width * 0.95
    line = np.arange(rows)
    for index in range(VALLEY_FRAMES):
        t = index / (VALLEY_FRAMES - 1)
        ey, ex = 300.0 + 34 * t, MAP * 0.5 + 60 + 16 * t
        eye = 128.0 + 6 * t
        yaw = -0.10 + 0.10 * t
        fx = u * np.cos(yaw) + np.sin(yaw)
        fy = np.cos(yaw) - u * np.sin(yaw)
        px, py = ex + depths[:, None] * fx, ey + depths[:, None] * fy
        level = np.clip(np.log2(np.maximum(depths / 700, 1)), 0, 3).astype(int)
        z = np.empty(px.shape, np.float32)
        for depth in range(4):
            here = level == depth
            if here.any():
                k = 1 << depth
                z[here] = sample(
                    tall[depth], py[here].ravel() / k, px[here].ravel() / k, repeat=True
                ).reshape(px[here].shape)
        screen = horizon + (eye - z) / depths[:, None] * unit
        sight = np.minimum.accumulate(screen, axis=0)
        # which depth does each pixel see: the first whose sight line reaches it
        image = np.empty((rows, width, 3), np.float32)
        hit = np.empty((rows, width), np.float32)
        for column in range(width):
            at = np.searchsorted(-sight[:, column], -line.astype(float))
            low = np.clip(at - 1, 0, depths.size - 1)
            high = np.clip(at, 0, depths.size - 1)
            a, b = sight[low, column], sight[high, column]
            part = np.where(a - b > 1e-6, (a - line) / np.maximum(a - b, 1e-6), 0)
            far = depths[low] + (depths[high] - depths[low]) * np.clip(part, 0, 1)
            hit[:, column] = np.where(at >= depths.size, np.inf, far)
        land = np.isfinite(hit)
        d = hit[land]
        where = np.nonzero(land)[1]
        mx, my = ex + d * fx[where], ey + d * fy[where]
        level = np.clip(np.log2(np.maximum(d / 800, 1)), 0, 4).astype(int)
        ground = np.empty((d.size, 3), np.float32)
        for depth in range(5):
            here = level == depth
            k = 1 << depth
            ground[here] = sample(chain[depth], my[here] / k, mx[here] / k, repeat=True)
        fine = sample(detail, my * 13, mx * 13, repeat=True)
        coarse = sample(detail, my * 4.7, mx * 4.7, repeat=True)
        ground *= 1 + (
            fine * (1.0 * np.exp(-d / 300))[:, None]
            + coarse * (0.9 * np.exp(-d / 700))[:, None]
        )
        fog = (1 - np.exp(-((d / 900) ** 1.6)))[:, None]
        ground += (np.array((0.72, 0.79, 0.88)) - ground) * fog
        # sky
        climb = np.clip((horizon - line) / horizon, 0, 1)[:, None, None]
        sky = np.array((0.80, 0.85, 0.90)) * (1 - climb) + climb * (0.22, 0.44, 0.74)
        image[:] = sky
        angle = (np.arctan(u) + yaw) * 620 + 400 + 3 * t
        up = np.clip((horizon - line) / rows * 900 + 20, 0, 500)
        veil = sample(
            clouds[..., None],
            np.repeat(up, width),
            np.tile(angle, rows),
            repeat=True,
        ).reshape(rows, width)
        white = step(0.02, 0.30, veil)[..., None] * np.clip(climb * 2.5, 0, 1)
        image += (np.array((1.0, 0.98, 0.95)) - image) * white * 0.85
        image[land] = ground
        yield image


# -------------------------------------------------------------------------- finishing


def cubic_matrix(size: int, scale: int) -> np.ndarray:
    """Rows that reduce ``size`` samples ``scale`` times, bicubic with antialiasing."""
    out = size // scale
    centre = (np.arange(out) + 0.5) * scale - 0.5
    at = np.floor(centre[:, None] - 2 * scale).astype(int) + np.arange(4 * scale + 2)
    t = np.abs(at - centre[:, None]) / scale
    weight = np.where(
        t <= 1,
        1.5 * t**3 - 2.5 * t**2 + 1,
        np.where(t <= 2, -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2, 0),
    )
    weight /= weight.sum(1, keepdims=True)
    matrix = np.zeros((out, size))
    mirrored = np.where(at < 0, -1 - at, np.where(at >= size, 2 * size - 1 - at, at))
    np.add.at(matrix, (np.arange(out)[:, None], mirrored), weight)
    return matrix


def develop(image: np.ndarray) -> np.ndarray:
    """Average the samples and apply a gentle film curve; float RGB in [0, 1]."""
    image = image.reshape(HEIGHT, SUPER, WIDTH, SUPER, 3).mean(axis=(1, 3))
    image = np.clip(image, 0, 1.4)
    curve = image / (1 + 0.22 * image**3)
    grey = curve.mean(-1, keepdims=True)
    return np.clip(grey + (curve - grey) * 1.12, 0, 1)


def melody(seconds: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Plucked strings (Karplus and Strong), two channels in [-1, 1]."""
    out = np.zeros((2, int(seconds * rate)))
    notes = [
        (0.00, 392.0),
        (0.25, 493.9),
        (0.50, 587.3),
        (0.75, 784.0),
        (1.00, 659.3),
        (1.17, 440.0),
        (1.42, 523.3),
        (1.67, 659.3),
    ]
    for index, (start, pitch) in enumerate(notes):
        period = round(rate / pitch)
        string = rng.uniform(-1, 1, period)
        begin = int(start * rate)
        wave = np.empty(out.shape[1] - begin)
        for at in range(0, wave.size, period):
            piece = wave[at : at + period]
            piece[:] = string[: piece.size]
            string = 0.498 * (string + np.roll(string, 1))
        pan = 0.5 + 0.35 * np.sin(index * 1.7)
        out[0, begin:] += wave * (1 - pan)
        out[1, begin:] += wave * pan
    fade = np.clip((out.shape[1] - np.arange(out.shape[1])) / (0.15 * rate), 0, 1)
    return np.clip(0.35 * out * fade, -1, 1)


def write(path: Path, frames: list[np.ndarray], sound: np.ndarray, rate: int) -> None:
    """Encode the small frames with sound, subtitles and chapters into MP4."""
    tag = {"colorspace": 1, "color_range": 1, "color_primaries": 1, "color_trc": 1}
    cut = STREET_FRAMES / RATE
    end = len(frames) / RATE
    cues = [
        (0.1, cut - 0.1, "A street made of arithmetic."),
        (cut + 0.05, end - 0.05, "A valley made of noise."),
    ]
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as out:
        out.metadata["title"] = "upframe demo"
        out.metadata["copyright"] = "CC0 1.0"
        out.set_chapters(
            [
                {
                    "id": 1,
                    "start": 0,
                    "end": int(cut * 1000),
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": "Street"},
                },
                {
                    "id": 2,
                    "start": int(cut * 1000),
                    "end": int(end * 1000),
                    "time_base": Fraction(1, 1000),
                    "metadata": {"title": "Valley"},
                },
            ]
        )
        # x264's macroblock tree does not give the same bytes twice on AVX-512 machines
        video = out.add_stream(
            "libx264",
            rate=RATE,
            options={
                "crf": "16",
                "preset": "veryslow",
                "flags": "+bitexact",
                "x264-params": "mbtree=0",
            },
        )
        height, width = frames[0].shape[:2]
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.thread_count = 1
        video.codec_context.sample_aspect_ratio = Fraction(16, 15)
        for name, value in tag.items():
            setattr(video.codec_context, name, value)
        audio = out.add_stream("aac", rate=rate, layout="stereo")
        audio.codec_context.bit_rate = 96_000
        audio.metadata["language"] = "zxx"
        text = out.add_mux_stream("mov_text")
        text.time_base = Fraction(1, 1000)
        text.metadata["language"] = "eng"
        packets = []
        for index, image in enumerate(frames):
            data = np.rint(image * 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(data, "rgb24").reformat(
                format="yuv420p",
                dst_colorspace=1,
                dst_color_range=1,
                interpolation="BICUBIC",
            )
            frame.pts, frame.time_base = index, Fraction(1, RATE)
            for name, value in tag.items():
                setattr(frame, name, value)
            packets += video.encode(frame)
        packets += video.encode(None)
        for begin in range(0, sound.shape[1], 1024):
            piece = np.ascontiguousarray(sound[:, begin : begin + 1024], np.float32)
            block = av.AudioFrame.from_ndarray(piece, "fltp", "stereo")
            block.rate, block.pts, block.time_base = rate, begin, Fraction(1, rate)
            packets += audio.encode(block)
        packets += audio.encode(None)
        for start, stop, words in cues:
            packet = av.Packet(struct.pack(">H", len(words)) + words.encode())
            packet.stream = text
            packet.time_base = Fraction(1, 1000)
            packet.pts = packet.dts = round(start * 1000)
            packet.duration = round((stop - start) * 1000)
            packets.append(packet)
        for packet in sorted(packets, key=lambda p: p.dts * p.time_base):
            out.mux(packet)


def save_png(path: Path, image: np.ndarray) -> None:
    """Write float RGB as PNG."""
    data = np.rint(image * 255).astype(np.uint8)
    context = av.CodecContext.create("png", "w")
    context.width, context.height = data.shape[1], data.shape[0]
    context.pix_fmt, context.time_base = "rgb24", Fraction(1, RATE)
    frame = av.VideoFrame.from_ndarray(data, "rgb24")
    frame.pts = 0
    path.write_bytes(
        b"".join(bytes(p) for p in (*context.encode(frame), *context.encode(None)))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "-o", "--output", type=Path, default=ROOT / "assets" / "demo" / "clip.mp4"
    )
    parser.add_argument("--truth", type=Path, help="folder for the sharp frames (PNG)")
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    args.output.parent.mkdir(parents=True, exist_ok=True)
    if args.truth:
        args.truth.mkdir(parents=True, exist_ok=True)
    down = cubic_matrix(HEIGHT, SCALE), cubic_matrix(WIDTH, SCALE)
    small = []
    for scene in (street, valley):
        for image in scene(np.random.default_rng(args.seed)):
            sharp = develop(image)
            if args.truth:
                save_png(args.truth / f"{len(small):04d}.png", sharp)
            rows = np.einsum("oh,hwc->owc", down[0], sharp, optimize=True)
            tiny = np.einsum("ow,hwc->hoc", down[1], rows, optimize=True)
            small.append(np.clip(tiny, 0, 1))
    rate = 48_000
    sound = melody(len(small) / RATE, rate, np.random.default_rng(args.seed))
    write(args.output, small, sound, rate)
    print(f"{args.output}: {len(small)} frames, {args.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
