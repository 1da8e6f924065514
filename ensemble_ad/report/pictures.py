"""Anomaly maps as pictures: heat maps, overlays, outlines, thumbnails, contact sheets; RGB, uint8 [H, W, 3]."""

import base64
from collections.abc import Sequence

import cv2
import numpy as np

OUTLINE = (0, 229, 255)
"""Cyan: the one hue that the inferno colour map does not contain."""
OPACITY = 0.8
"""Of the heat map in an overlay, where a score reaches the top of its scale."""
GAP = 6
"""Pixels between the cells of a contact sheet."""
JPEG_QUALITY = 85


def normal_scale(normal_maps: np.ndarray) -> tuple[float, float]:
    """The scale on which maps of one detector are shown: median and 99.9 % quantile of its scores on normal pictures.

    Dark then means "as usual", the brightest colour "higher than nearly every normal pixel", in each picture alike.

    >>> normal_scale(np.arange(1001.0))
    (500.0, 999.0)
    """
    low, high = np.quantile(normal_maps, (0.5, 0.999))
    return float(low), float(high)


def heat_map(anomaly_map: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scores [h, w] in the perceptual colour map inferno -> [h, w, 3]; `low` and less is black, `high` and more yellow.

    Where `low` equals `high`, scores above it are yellow and all others black. Raises ValueError for another number of
    axes, scores that are not finite, or a scale that falls.

    >>> heat_map(np.array([[0.0, 1.0]]), low=0, high=1).tolist()
    [[[0, 0, 4], [252, 255, 164]]]
    """
    return _coloured(_unit(anomaly_map, low, high))


def overlay(image: np.ndarray, anomaly_map: np.ndarray, low: float, high: float) -> np.ndarray:
    """A picture [H, W, 3] under the heat map of scores [h, w], which is resized to it -> [H, W, 3].

    The higher the score, the more the colour covers; the picture shows unchanged where scores are at `low`.

    >>> overlay(np.full((4, 6, 3), 200, np.uint8), np.zeros((2, 3)), low=0, high=1)[0, 0].tolist()
    [200, 200, 200]
    """
    height, width = _checked(image).shape[:2]
    shown = _unit(anomaly_map, low, high)
    if shown.shape != (height, width):
        shown = cv2.resize(shown, (width, height), interpolation=cv2.INTER_LINEAR)
    cover = (OPACITY * shown)[..., None]
    return np.rint(image * (1 - cover) + _coloured(shown) * cover).astype(np.uint8)


def outlined(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """A picture [h, w, 3] with a mask [H, W] of any size outlined -> [h, w, 3]; a defect of one pixel stays visible.

    >>> truth = np.zeros((64, 64), bool)
    >>> truth[30, 30] = True
    >>> bool((outlined(np.zeros((16, 16, 3), np.uint8), truth) == OUTLINE).all(axis=-1).any())
    True
    """
    height, width = _checked(image).shape[:2]
    share = cv2.resize(truth.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    grown = cv2.dilate((share > 0).astype(np.uint8), np.ones((3, 3), np.uint8))
    edges, _ = cv2.findContours(grown, cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    thickness = max(1, round(height / 160))
    return cv2.drawContours(np.ascontiguousarray(image).copy(), edges, -1, OUTLINE, thickness)


def thumbnail(image: np.ndarray, height: int) -> np.ndarray:
    """A picture [H, W, 3] made smaller to `height` rows, its proportions kept; a smaller one stays as it is.

    >>> thumbnail(np.zeros((100, 300, 3), np.uint8), height=50).shape
    (50, 150, 3)
    """
    rows, columns = _checked(image).shape[:2]
    if rows <= height:
        return image
    width = max(1, round(columns * height / rows))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def contact_sheet(images: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Pictures [H_i, W_i, 3] side by side in rows of `columns`, each centred in a cell of the largest size, on white.

    >>> contact_sheet([np.zeros((10, 20, 3), np.uint8)] * 3, columns=2).shape == (2 * 10 + GAP, 2 * 20 + GAP, 3)
    True
    """
    if not images or columns < 1:
        raise ValueError(f"expected pictures and at least one column, got {len(images)} and {columns}")
    cell_height = max(_checked(image).shape[0] for image in images)
    cell_width = max(image.shape[1] for image in images)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    sheet = np.full((rows * (cell_height + GAP) - GAP, columns * (cell_width + GAP) - GAP, 3), 255, np.uint8)
    for place, image in enumerate(images):
        height, width = image.shape[:2]
        top = place // columns * (cell_height + GAP) + (cell_height - height) // 2
        left = place % columns * (cell_width + GAP) + (cell_width - width) // 2
        sheet[top : top + height, left : left + width] = image
    return sheet


def data_uri(image: np.ndarray) -> str:
    """A picture [H, W, 3] as the text of a JPEG that a page can hold within itself.

    >>> data_uri(np.zeros((8, 8, 3), np.uint8))[:27]
    'data:image/jpeg;base64,/9j/'
    """
    _, encoded = cv2.imencode(".jpg", _checked(image)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return "data:image/jpeg;base64," + base64.b64encode(encoded.tobytes()).decode("ascii")


def _unit(anomaly_map: np.ndarray, low: float, high: float) -> np.ndarray:
    """Scores [h, w] -> float32 [h, w] in [0, 1]."""
    if anomaly_map.ndim != 2:
        raise ValueError(f"expected an anomaly map [h, w], got {list(anomaly_map.shape)}")
    if not np.isfinite(anomaly_map).all():
        raise ValueError("expected finite scores, got an anomaly map with NaN or infinity")
    if not -np.inf < low <= high < np.inf:
        raise ValueError(f"expected a scale with low <= high, both finite, got {low} and {high}")
    if low == high:
        return (anomaly_map > low).astype(np.float32)
    return np.clip((anomaly_map.astype(np.float64) - low) / (high - low), 0, 1).astype(np.float32)


def _coloured(unit: np.ndarray) -> np.ndarray:
    levels = np.rint(unit * 255).astype(np.uint8)
    return cv2.applyColorMap(levels, cv2.COLORMAP_INFERNO)[..., ::-1]


def _checked(image: np.ndarray) -> np.ndarray:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"expected a picture uint8 [H, W, 3], got {image.dtype} {list(image.shape)}")
    return image
