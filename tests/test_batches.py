"""Every image comes once an epoch, in an order of seed and epoch alone, with its label."""

from collections import Counter

import numpy as np

from detector.networks.runtime import start_keras

start_keras(seed=1)


from detector.networks.batches import TrainingBatches  # noqa: E402
from tests.model_files import (  # noqa: E402
    split_of,
)

# Counts of the paper's network: keras.applications without top (23,587,712 and 21,802,784), plus
# Dense 2048 -> 1024 and 1024 -> 1 with biases.


def test_batches_go_through_every_image_and_depend_on_seed_and_place_only():
    data = split_of(10)
    batches = TrainingBatches(data, batch_size=4, steps=5, seed=3)
    first = [batches[i] for i in range(5)]
    seen = Counter(image.tobytes() for x, _ in first for image in x)
    assert len(seen) == 10 and set(seen.values()) == {2}  # 20 places are two whole passes
    assert all(y.dtype == np.float32 and y.shape == (4, 1) for _, y in first)
    again = TrainingBatches(data, batch_size=4, steps=5, seed=3)
    assert all(np.array_equal(again[i][0], first[i][0]) for i in (4, 0, 2))
    batches.start_at(1)
    assert not np.array_equal(batches[0][0], first[0][0])
    other = TrainingBatches(data, batch_size=4, steps=5, seed=4)
    assert not np.array_equal(other[0][0], first[0][0])


def test_labels_stay_with_their_images():
    data = split_of(64)
    known = {image.tobytes(): label for image, label in zip(data.images, data.labels, strict=True)}
    x, y = TrainingBatches(data, batch_size=32, steps=1, seed=0)[0]
    assert [known[image.tobytes()] for image in x] == list(y[:, 0])
