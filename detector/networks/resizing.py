"""Images made smaller for a network, on the device, with antialias."""

from typing import Any

import keras
import numpy as np
from keras import ops
from PIL import Image

# By the name of the interpolation that enlarges. Reduced, `nearest` would leave most pixels out.
FILTERS = {
    "nearest": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}


# Not Keras' Resizing with antialias=True: its TensorFlow operation, ScaleAndTranslate, has no
# kernel for GPUs and none for XLA (TensorFlow 2.21), and ONNX has it from a later opset on.
@keras.saving.register_keras_serializable("detector")
class Reduction(keras.layers.Layer):
    """Reduce square images as Pillow's `resize` does: each pixel of the result is a weighted mean.

    float32 N,S,S,C to N,side,side,C, side at most S. The mean is of all pixels under the kernel of
    the interpolation, which is widened by S / side; so no pixel is left out.
    """

    def __init__(self, side: int, interpolation: str, **kwargs: Any) -> None:
        """side: in pixels. interpolation: a key of FILTERS; nearest is the mean of a rectangle."""
        super().__init__(**kwargs)
        self.side, self.interpolation = side, interpolation

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Make the matrix, float32 side,S, by which an axis is multiplied."""
        size = input_shape[1]
        one_each = Image.fromarray(np.eye(size, dtype=np.float32))
        self.matrix = np.asarray(
            one_each.resize((size, self.side), FILTERS[self.interpolation]), np.float32
        )

    def call(self, images: Any) -> Any:
        """Reduce both axes."""
        size, channels = images.shape[2:]
        # As one long axis: three times as fast on the CPU.
        rows = ops.matmul(self.matrix, ops.reshape(images, (-1, size, size * channels)))
        return ops.matmul(self.matrix, ops.reshape(rows, (-1, self.side, size, channels)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return N,side,side,C."""
        return (input_shape[0], self.side, self.side, input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return super().get_config() | {"side": self.side, "interpolation": self.interpolation}
