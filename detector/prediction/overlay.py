"""A picture of where the evidence for a verdict lies."""

import io

import numpy as np
from PIL import Image

HEAT = "inferno"  # colours, cold to hot, as in detector.figures.explanation
SHARE = 0.55  # of the colours; the rest is the grey image
SIDE = 256  # pixels, of each half of the picture, about
GAP = 8  # pixels between them


def overlay_png(pixels: np.ndarray, heat: np.ndarray) -> bytes:
    """Draw what the network saw, and beside it the same in grey under the colours of its heat.

    pixels: uint8 S,S,3. heat: float S,S, 0 to 1, of Detector.explain. Each pixel becomes a square.
    Returns a PNG, the same bytes for the same input.
    """
    import matplotlib  # takes a part of a second, for --explain only

    grey = pixels.astype(np.float64).mean(axis=-1, keepdims=True) / 255
    colours = matplotlib.colormaps[HEAT](heat)[..., :3]
    mixed = np.rint(255 * ((1 - SHARE) * grey + SHARE * colours)).astype(np.uint8)
    times = max(1, SIDE // len(pixels))
    left, right = (half.repeat(times, axis=0).repeat(times, axis=1) for half in (pixels, mixed))
    gap = np.full((len(left), GAP, 3), 255, np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.concatenate([left, gap, right], axis=1)).save(buffer, "PNG")
    return buffer.getvalue()
