"""Outlines of a region: one polygon for each connected part, to which bridges join its holes."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from typing import NamedTuple

import numpy as np

EAST, SOUTH, WEST, NORTH = range(4)
STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))  # x, y; y points down
INWARD = ((0, 1), (-1, 0), (0, -1), (1, 0))  # the region lies to the right of an edge


class Outline(NamedTuple):
    """The outline of one connected part.

    Attributes:
        corners: float64 [N, 2], x and y; the pixel in row r and column c covers c..c+1, r..r+1.
        inward: int64 [N, 2], -1, 0 or 1: the way from a corner into the region. Half of it leads
            to the centre of the pixel there.
    """

    corners: np.ndarray
    inward: np.ndarray


def outlines(region: np.ndarray) -> list[Outline]:
    """Outlines of the connected parts of a region, exact to the pixel.

    Pixels that touch at a corner only belong to different parts. From a hole, a bridge of no width
    leads left through a row of pixels to the next outline.

    Args:
        region: bool [H, W].

    Returns:
        A list of :class:`Outline`, clockwise on the screen, from top to bottom.

    Example:

    >>> outlines(np.array([[False, True]]))[0].corners.tolist()
    [[1.0, 0.0], [2.0, 0.0], [2.0, 1.0], [1.0, 1.0]]
    """
    loops = _loops(_edges(region))
    starts = defaultdict(list)  # row -> columns in which a run of pixels begins
    for x, y, heading in sorted(edge for loop in loops for edge in loop):
        if heading == NORTH:
            starts[y - 1].append(x)
    outer: list[list[_Edge]] = []
    holes: list[list[_Edge]] = []
    for loop in loops:
        area = sum(x if h == SOUTH else -x for x, _, h in loop if h in (SOUTH, NORTH))
        (outer if area > 0 else holes).append(loop)

    bridged: dict[tuple[int, int], list[_Point]] = {}  # begin of a run -> outline of the hole
    # From right to left: a hole has all that hangs on it before it hangs on another outline.
    for x, y, hole in sorted(((*_left_side(hole), hole) for hole in holes), reverse=True):
        start = starts[y][bisect_left(starts[y], x) - 1]
        at = hole.index((x, y, SOUTH))
        bridge = (x, y + 0.5, INWARD[SOUTH])
        around = _points(hole[at + 1 :] + hole[: at + 1], bridged)
        bridged[start, y] = [bridge, *around, bridge]
    return [_outline(_points(loop, bridged)) for loop in outer]


_Edge = tuple[int, int, int]  # x and y of its start, heading
_Point = tuple[float, float, tuple[int, int]]  # x, y, way inward


def _edges(region: np.ndarray) -> list[_Edge]:
    """Edges of length 1 around a region, from top to bottom."""
    padded = np.pad(np.asarray(region, np.int8), 1)
    down, right = np.diff(padded, axis=0)[:, 1:-1], np.diff(padded, axis=1)[1:-1]
    edges: list[_Edge] = []
    for change, sign, heading, (dx, dy) in (
        (down, 1, EAST, (0, 0)),
        (right, -1, SOUTH, (0, 0)),
        (down, -1, WEST, (1, 0)),
        (right, 1, NORTH, (0, 1)),
    ):
        rows, columns = np.nonzero(change == sign)
        found = zip((columns + dx).tolist(), (rows + dy).tolist(), strict=True)
        edges += [(x, y, heading) for x, y in found]
    return sorted(edges, key=lambda edge: (edge[1], edge[0], edge[2]))


def _loops(edges: list[_Edge]) -> list[list[_Edge]]:
    """Closed chains of edges."""
    left = dict.fromkeys(edges)  # a set that keeps the order
    loops = []
    while left:
        edge: _Edge | None = next(iter(left))
        loop = []
        while edge is not None:
            del left[edge]
            loop.append(edge)
            edge = _next(edge, left)
        loops.append(loop)
    return loops


def _next(edge: _Edge, left: dict[_Edge, None]) -> _Edge | None:
    """The edge that follows; where two pixels touch at a corner, that of the same pixel."""
    x, y, heading = edge
    x, y = x + STEPS[heading][0], y + STEPS[heading][1]
    for turn in (1, 0, -1):
        following = (x, y, (heading + turn) % 4)
        if following in left:
            return following
    return None


def _left_side(hole: list[_Edge]) -> tuple[int, int]:
    """Column and row of a hole's leftmost pixel."""
    return min((x, y) for x, y, heading in hole if heading == SOUTH)


def _points(loop: list[_Edge], bridged: dict[tuple[int, int], list[_Point]]) -> list[_Point]:
    """Corners of a loop, from the start of its first edge, with the holes that hang on it."""
    points: list[_Point] = []
    before = loop[-1][2]
    for x, y, heading in loop:
        if heading != before:
            (a, b), (c, d) = INWARD[before], INWARD[heading]
            points.append((x, y, (a + c, b + d)))
        if heading == NORTH and (x, y - 1) in bridged:
            bridge = (x, y - 0.5, INWARD[NORTH])
            points += [bridge, *bridged[x, y - 1], bridge]
        before = heading
    return points


def _outline(points: list[_Point]) -> Outline:
    corners = np.array([(x, y) for x, y, _ in points], np.float64)
    return Outline(corners, np.array([inward for *_, inward in points], np.int64))
