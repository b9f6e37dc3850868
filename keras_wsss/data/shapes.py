"""Generated images of tagged toy animals, for demonstrations and tests; nothing is downloaded.

An animal has a body, legs, a tail and a neck, drawn alike for all classes, and a head whose outline
alone tells its class. So a classifier looks at heads, and its class activation map covers a part of
the object only: the problem that weakly supervised segmentation has to solve. All parts of an
animal share a colour family, the background is textured and littered with distractors.

An image is a pure function of (seed, part, index).
"""

from __future__ import annotations

import colorsys
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFilter

from keras_wsss.data.classes import chosen_classes
from keras_wsss.data.split import Split
from keras_wsss.errors import DataError

if TYPE_CHECKING:
    from keras_wsss.config.data import ShapesDataConfig

Floats = npt.NDArray[np.floating[Any]]

CLASSES = ("star", "heart", "moon", "ring", "cross", "bolt", "clover", "arrow")
OVERSAMPLING = 3
SIDES = {1: (0.5, 0.65), 2: (0.48, 0.62), 3: (0.45, 0.58)}
"""Animals in an image -> range of their side, in image sides."""

BODY, HEAD = np.array([-0.14, 0.26]), np.array([0.38, -0.40])
"""Centres in an animal's own coordinates, x to the right and y down, -1..1."""


def read_shapes(
    data: ShapesDataConfig,
    part: Literal["train", "val"],
    masks: bool | None = None,
    saliency: bool | None = False,
) -> Split:
    """The reader ``data.kind: shapes``; masks and saliency maps are only drawn when read."""
    return load_shapes(data, part)


def load_shapes(data: ShapesDataConfig, part: Literal["train", "val"]) -> Split:
    """The generated data set as a split; images are drawn when first read, then kept in memory.

    Args:
        data: configuration; ``shapes`` says how many images, how large, how many classes and which
            seed, ``classes`` names other heads than the first ones.
        part: ``"train"`` or ``"val"``; the two never share an image.

    Returns:
        :class:`~keras_wsss.data.Split` with masks, and with saliency maps that are made from them
        (:func:`spoiled_saliency`): a training that reads saliency knows the masks in part.

    Raises:
        DataError: more classes, or other ones, than there are.

    Example:

    >>> load_shapes(wsss.load_config("shapes_tscd").data, "val").class_names
    ('star', 'heart', 'moon', 'ring', 'cross', 'bolt')
    """
    settings = data.shapes
    if settings.classes > len(CLASSES):
        raise DataError(
            f"data.shapes.classes: {settings.classes} is more than the {len(CLASSES)} there are"
        )
    known = CLASSES if data.classes else CLASSES[: settings.classes]
    names = chosen_classes(known, data.classes, "the generated data set")
    count = settings.train_images if part == "train" else settings.val_images
    size, seed = settings.image_size, settings.seed

    @functools.cache
    def draw(position: int) -> tuple[np.ndarray, np.ndarray]:
        return draw_scene(seed, part, position, size, names)

    labels = np.zeros((count, len(names)), np.float32)
    for position in range(count):
        labels[position, _animals(_generator(seed, part, position), len(names))] = 1.0
    ids = tuple(f"{part}_{position:05d}" for position in range(count))
    files = tuple(f"shapes:{name}" for name in ids)
    return Split(
        name=f"shapes {part}",
        ids=ids,
        class_names=names,
        labels=labels,
        image_paths=files,
        mask_paths=files,
        saliency_paths=files,
        read_image=lambda position: draw(int(position))[0],
        read_mask=lambda position: draw(int(position))[1],
        read_saliency=lambda position: spoiled_saliency(
            draw(int(position))[1], _generator(seed, part, int(position))
        ),
    )


def draw_scene(
    seed: int, part: str, index: int, size: int = 128, names: Sequence[str] = CLASSES[:6]
) -> tuple[np.ndarray, np.ndarray]:
    """Draws an image and its exact mask.

    Args:
        seed, part, index: which image.
        size: side of the image in pixels.
        names: classes to draw from; ``names[c]`` has the mask id c + 1.

    Returns:
        uint8 [size, size, 3] and uint8 [size, size].

    Example:

    >>> image, mask = draw_scene(0, "train", 17)
    >>> image.shape, image.dtype, mask.shape
    ((128, 128, 3), dtype('uint8'), (128, 128))
    """
    rng = _generator(seed, part, index)
    animals = _animals(rng, len(names))
    hues = rng.uniform(size=len(animals))
    image = _background(rng, hues, size)
    mask = np.zeros((size, size), np.uint8)
    places = _places(rng, len(animals))
    for number, hue, (y, x, side) in zip(animals, hues, places, strict=True):
        animal = _animal(rng, names[number], hue, max(8, round(side * size)))
        top, left = round((y - side / 2) * size), round((x - side / 2) * size)
        box = np.s_[top : top + len(animal), left : left + len(animal)]
        image[box] = 255.0 * animal[..., :3] + (1.0 - animal[..., 3:]) * image[box]
        mask[box][animal[..., 3] >= 0.5] = number + 1
    grain = 4.0 * rng.standard_normal(image.shape, np.float32)
    return np.clip(np.rint(image + grain), 0, 255).astype(np.uint8), mask


def spoiled_saliency(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A saliency map as a detector might give it: the mask, blurred, with smooth noise.

    Args:
        mask: uint8 [H, H], 0 = background.

    Returns:
        uint8 [H, H], 255 = salient.
    """
    size = len(mask)
    blurred = Image.fromarray(np.where(mask > 0, 255, 0).astype(np.uint8))
    blurred = blurred.filter(ImageFilter.GaussianBlur(size / 40))
    noise = 150.0 * (_clouds(rng, size) - 0.5)
    return np.asarray(np.clip(np.asarray(blurred) + noise, 0, 255), np.uint8)


def _generator(seed: int, part: str, index: int) -> np.random.Generator:
    return np.random.default_rng([seed, int(part == "val"), index])


def _animals(rng: np.random.Generator, classes: int) -> npt.NDArray[np.int64]:
    """Class numbers of one to three animals."""
    return np.asarray(rng.integers(0, classes, rng.choice([1, 2, 3], p=[0.3, 0.4, 0.3])))


def _places(rng: np.random.Generator, count: int) -> list[tuple[float, float, float]]:
    """(y, x, side) of animals that hardly touch, in image sides; smaller where room is short."""
    sides = rng.uniform(*SIDES[count], count)
    while True:
        for _ in range(20):
            centres = rng.uniform(sides / 2, 1 - sides / 2, (2, count)).T
            distances = np.abs(centres[:, None] - centres[None]).max(-1)
            needed = 0.85 * (sides[:, None] + sides[None]) / 2  # corners of a square are empty
            if np.all((distances >= needed)[np.triu_indices(count, 1)]):
                return [(y, x, s) for (y, x), s in zip(centres, sides, strict=True)]
        sides = sides * 0.97


# --- background -------------------------------------------------------------------------------


def _background(rng: np.random.Generator, hues: Floats, size: int) -> Floats:
    """float [size, size, 3]: two mixed colours, light from one side, and distractors."""
    first, second = (_other_colour(rng, hues) for _ in range(2))
    mix = np.clip(0.5 + 1.4 * (_clouds(rng, size) - 0.5), 0.0, 1.0)[..., None]
    image = mix * first + (1.0 - mix) * second
    image *= 0.8 + 0.4 * _clouds(rng, size, octaves=(0.5,))[..., None]
    image *= 0.92 + 0.16 * rng.random((size, size, 1), np.float32)
    scale = 2
    canvas = Image.fromarray(np.clip(image, 0, 255).astype(np.uint8))
    canvas = canvas.resize((scale * size, scale * size), Image.Resampling.BILINEAR)
    pen = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(10, 22)):
        outline = _distractor(rng) * rng.uniform(0.02, 0.08)
        points = (_turned(outline, rng.uniform(0, 2 * np.pi)) + rng.uniform(0, 1, 2)) * canvas.width
        pen.polygon(_flat(points), fill=_integers(_other_colour(rng, hues)))
    canvas = canvas.reduce(scale)
    return np.array(canvas, np.float32)


def _other_colour(rng: np.random.Generator, hues: Floats) -> Floats:
    """A colour whose hue is none of the animals'."""
    while True:
        hue = rng.random()
        distance = np.abs((hues - hue + 0.5) % 1.0 - 0.5)
        if distance.min() > 0.11:
            return _rgb(hue, rng.uniform(0.15, 0.55), rng.uniform(0.35, 0.85)).astype(np.float32)


def _clouds(
    rng: np.random.Generator, size: int, octaves: Sequence[float] = (0.25, 0.1, 0.04)
) -> Floats:
    """float [size, size] in 0..1: smooth noise; an octave is the size of a blob."""
    total = np.zeros((size, size), np.float32)
    for octave in octaves:
        cells = max(2, round(1 / octave))
        coarse = Image.fromarray(rng.random((cells, cells)).astype(np.float32))
        fine = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC))
        total += np.float32(octave**0.5) * fine
    return np.asarray(np.clip(total / sum(octave**0.5 for octave in octaves), 0.0, 1.0))


def _distractor(rng: np.random.Generator) -> Floats:
    """Pebbles, sticks, chips and leaves."""
    kind = rng.integers(4)
    if kind == 0:
        return _ellipse(1.0, rng.uniform(0.6, 1.0))
    if kind == 1:
        return _ellipse(2.2, 0.22, power=6)
    if kind == 2:
        return _regular(int(rng.integers(3, 5)), 1.1)
    return _ellipse(1.3, 0.6, power=1.2)


# --- animals ----------------------------------------------------------------------------------


def _animal(rng: np.random.Generator, name: str, hue: float, side: int) -> Floats:
    """float [side, side, 4]: colour times opacity, opacity, both 0..1."""
    width = side * OVERSAMPLING
    saturation, value = rng.uniform(0.6, 0.9), rng.uniform(0.6, 0.95)
    mirror, angle = rng.choice([-1.0, 1.0]), rng.uniform(-0.25, 0.25)
    canvas = Image.new("RGB", (width, width))
    opacity, trunk = (Image.new("L", (width, width)) for _ in range(2))

    def paint(image: Image.Image, points: Floats, colour: int | tuple[int, int, int]) -> None:
        # Unit coordinates, x to the right and y down, -1..1, to pixels.
        pixels = (_turned(points * [mirror, 1.0], angle) * 0.5 + 0.5) * width
        ImageDraw.Draw(image).polygon(_flat(pixels), fill=colour)

    def part(points: Floats, shade: float) -> None:
        tone = _rgb(hue + rng.uniform(-0.02, 0.02), saturation, min(1.0, value * shade))
        paint(canvas, points, _integers(tone))
        paint(opacity, points, 255)

    a, b = rng.uniform(0.48, 0.56), rng.uniform(0.30, 0.36)
    body = _ellipse(a, b, power=2.8) + BODY
    part(_arc((BODY[0] - a, BODY[1] - 0.16), 0.22, 1.6, 4.4, 0.2), 0.9)  # tail
    for x in np.array([-0.36, -0.06, 0.26]) * (a / 0.54) + rng.uniform(-0.03, 0.03, 3):
        length = rng.uniform(0.26, 0.30)
        part(_ellipse(0.11, length, power=5) + BODY + [x, b * 0.6 + length * 0.5], 0.85)
    part(_ellipse(0.16, 0.34, power=4) @ _rotation(-0.6) + BODY + [a - 0.16, -b], 0.95)  # neck
    part(body, 1.0)
    paint(trunk, body, 255)
    outline, hole = HEADS[name]
    turn = _rotation(rng.uniform(-0.3, 0.3)) * rng.uniform(0.43, 0.47)
    part(outline() @ turn + HEAD, 0.8)  # a rim, so that the outline shows against any background
    part(outline() @ turn * 0.82 + HEAD, 1.12)
    if hole is not None:
        paint(canvas, hole() @ turn + HEAD, 0)
        paint(opacity, hole() @ turn + HEAD, 0)

    colour, alpha, coated = (
        np.asarray(image.reduce(OVERSAMPLING), np.float32) / 255.0
        for image in (canvas, opacity, trunk)
    )
    light = np.linspace(1.12, 0.82, side, dtype=np.float32)[:, None]
    shade = light * (1.0 - coated * _coat(rng, side))
    colour = np.minimum(colour * shade[..., None], alpha[..., None])
    return np.concatenate([colour, alpha[..., None]], -1)


def _coat(rng: np.random.Generator, side: int) -> Floats:
    """float [side, side]: darkening by stripes, spots or nothing; any class may wear any."""
    y, x = np.mgrid[:side, :side].astype(np.float32) / side
    angle, period = rng.uniform(0, np.pi), rng.uniform(30, 50)
    along = np.sin(period * (np.cos(angle) * x + np.sin(angle) * y))
    across = np.sin(period * (np.cos(angle) * y - np.sin(angle) * x))
    pattern = [along > 0.3, along * across > 0.35, np.zeros_like(along, bool)][rng.integers(3)]
    return np.asarray(np.float32(rng.uniform(0.06, 0.15)) * pattern)


# --- outlines, float [P, 2] in unit coordinates -----------------------------------------------


def _ellipse(a: float, b: float, power: float = 2.0) -> Floats:
    """Superellipse; a large ``power`` gives a rounded box, one near 1 a leaf."""
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    x, y = np.cos(t), np.sin(t)
    return np.stack(
        [a * np.sign(x) * np.abs(x) ** (2 / power), b * np.sign(y) * np.abs(y) ** (2 / power)], -1
    )


def _regular(corners: int, radius: float) -> Floats:
    t = np.arange(corners) * 2 * np.pi / corners - np.pi / 2
    return radius * np.stack([np.cos(t), np.sin(t)], -1)


def _arc(
    centre: tuple[float, float], radius: float, start: float, stop: float, width: float
) -> Floats:
    """A bent band."""
    t = np.linspace(start, stop, 16)
    ray = np.stack([np.cos(t), np.sin(t)], -1)
    thickness = np.linspace(1.0, 0.4, 16)[:, None] * width / 2
    inner, outer = ray * (radius - thickness), ray * (radius + thickness)
    return np.concatenate([outer, inner[::-1]]) + centre


def _star() -> Floats:
    radius = np.where(np.arange(10) % 2, 0.5, 1.15)[:, None]
    return radius * _regular(10, 1.0)


def _heart() -> Floats:
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return np.stack([16 * np.sin(t) ** 3, -y - 2.5], -1) / 15.5


def _moon() -> Floats:
    t = np.linspace(0.65, 2 * np.pi - 0.65, 32)
    outer = np.stack([np.cos(t), np.sin(t)], -1)
    inner = np.stack([np.cos(t) * 0.72 + 0.3, np.sin(t) * 0.72], -1)
    return 1.05 * np.concatenate([outer, inner[::-1]])


def _cross() -> Floats:
    a, b = 0.3, 1.15
    quarter = np.array([[a, -b], [a, -a], [b, -a]])
    return np.concatenate([quarter @ _rotation(k * np.pi / 2) for k in range(4)])


def _bolt() -> Floats:
    points = [(0.25, -1.15), (-0.75, 0.2), (-0.1, 0.2), (-0.3, 1.15), (0.75, -0.25), (0.1, -0.25)]
    return np.array(points)


def _clover() -> Floats:
    t = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    radius = (0.66 + 0.42 * np.cos(3 * t + np.pi / 2))[:, None]
    return np.asarray(radius * np.stack([np.cos(t), np.sin(t)], -1))


def _arrow() -> Floats:
    points = [(0, -1.15), (1.0, 0.0), (0.4, 0.0), (0.4, 1.0), (-0.4, 1.0), (-0.4, 0.0), (-1.0, 0.0)]
    return np.array(points)


HEADS = {
    "star": (_star, None),
    "heart": (_heart, None),
    "moon": (_moon, None),
    "ring": (lambda: _ellipse(1.0, 1.0), lambda: _ellipse(0.5, 0.5)),
    "cross": (_cross, None),
    "bolt": (_bolt, None),
    "clover": (_clover, None),
    "arrow": (_arrow, None),
}


def _rotation(angle: float) -> Floats:
    return np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _turned(points: Floats, angle: float) -> Floats:
    return np.asarray(points @ _rotation(angle))


def _flat(points: Floats) -> list[tuple[float, float]]:
    return [(float(x), float(y)) for x, y in points]


def _rgb(hue: float, saturation: float, value: float) -> Floats:
    return 255.0 * np.array(colorsys.hsv_to_rgb(hue % 1.0, saturation, value))


def _integers(colour: Floats) -> tuple[int, int, int]:
    red, green, blue = (int(round(channel)) for channel in colour)
    return red, green, blue
