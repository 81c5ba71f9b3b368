"""Where labels go beside points that may lie close together."""

from __future__ import annotations

import numpy as np

MARKER = 4.0  # half the side of the square around a point that labels leave free, in points of 1/72 inch
APART = 3.0  # between labels side by side
BESIDE = 2 * MARKER  # a label that is farther away from its point needs a leader
STEP = 3.0  # between places that are tried


def free_places(
    points: np.ndarray, sizes: np.ndarray, area: np.ndarray, lines: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes [n, 4] for labels of `sizes` [n, 2], each as near to its point [n, 2] as there is room; the leaders [l, 4].

    Labels are placed in their order, inside `area`. One covers no point, no line [m, 4], and no label or leader before
    it. It is nearer to its own point than to any other, or needs a leader, which crosses no other point and no label if
    that can be. Where there is no room at all, a label goes beside its point. A box is left, bottom, right, top, a line
    from x, y to x, y, all in points of 1/72 inch.
    """
    markers = np.hstack([points - MARKER, points + MARKER])
    labels, drawn = np.empty((0, 4)), len(lines)
    for number, (point, size) in enumerate(zip(points, sizes, strict=True)):
        others = np.arange(len(points)) != number
        boxes = _nearest_first(point, size, area)
        leaders, own = _leaders(boxes, point), _distance(point, boxes)
        far = own > BESIDE
        free, straight = np.ones((2, len(boxes)), dtype=bool)
        for box in (*markers, *(labels + np.array([-APART, 0, APART, 0]))):
            free &= ~_meet(boxes, box)
        for line in lines:
            free &= ~_cross(boxes, line)
        for other, box in zip(points[others], markers[others], strict=True):
            free &= _distance(other, boxes) > np.minimum(own, BESIDE)
            straight &= ~(far & _cross(box, leaders))
        for box in labels:
            straight &= ~(far & _cross(box, leaders))
        best = np.argmax(free & straight) if (free & straight).any() else np.argmax(free)
        labels = np.vstack([labels, boxes[best]])
        if far[best]:
            lines = np.vstack([lines, leaders[best]])
    return labels, lines[drawn:]


def _leaders(boxes: np.ndarray, point: np.ndarray) -> np.ndarray:
    """The shortest lines [k, 4] from around a point to boxes [k, 4]."""
    ends = np.clip(point, boxes[:, :2], boxes[:, 2:])
    away = np.maximum(_distance(point, boxes), MARKER)[:, None]
    return np.hstack([point + (ends - point) * (MARKER / away), ends])


def _nearest_first(point: np.ndarray, size: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Boxes [k, 4] in the area by distance from the point; on a tie, to the right and centered first."""
    reach = int((area[2:] - area[:2]).max() / STEP)
    steps = STEP * np.arange(-reach, reach + 1)
    low = np.stack(np.meshgrid(MARKER + 1 + steps, steps - size[1] / 2), axis=-1).reshape(-1, 2)
    low = low[((point + low >= area[:2]) & (point + low + size <= area[2:])).all(axis=1)]
    distance = _distance(np.zeros(2), np.hstack([low, low + size])).round()
    across, up = np.abs(low + size / 2).T
    corners = point + low[np.lexsort((across, up, low[:, 0] < 0, distance))]
    return np.hstack([corners, corners + size])


def _distance(point: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Of a point from each of the boxes [k, 4]; 0 inside."""
    return np.hypot(*np.maximum(np.maximum(boxes[:, :2] - point, point - boxes[:, 2:]), 0).T)


def _meet(boxes: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Whether each of the boxes [k, 4] has a point in common with another."""
    return np.all((boxes[:, :2] <= box[2:]) & (boxes[:, 2:] >= box[:2]), axis=1)


def _cross(boxes: np.ndarray, lines: np.ndarray) -> np.ndarray:
    """Whether boxes [..., 4] and lines [..., 4] have a point in common: no axis of either tells them apart."""
    half, way = (boxes[..., 2:] - boxes[..., :2]) / 2, (lines[..., 2:] - lines[..., :2]) / 2
    apart = (boxes[..., 2:] + boxes[..., :2] - lines[..., 2:] - lines[..., :2]) / 2
    beside = (np.abs(apart) > half + np.abs(way)).any(axis=-1)
    across = np.abs(way[..., 0] * apart[..., 1] - way[..., 1] * apart[..., 0])
    return ~beside & (across <= half[..., 0] * np.abs(way[..., 1]) + half[..., 1] * np.abs(way[..., 0]))
