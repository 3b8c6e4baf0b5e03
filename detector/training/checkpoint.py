"""Go on with a training that was killed, from its last finished epoch, to the same bytes.

A checkpoint is one .npz of arrays, never a pickle: every variable of the network and of its
optimizer, which holds the states of the random layers and the number of steps too, and the history
so far. The order of the images needs no state: it follows from the seed and the number of the
batch. What a checkpoint belongs to is in its name, see `fingerprint`.
"""

import hashlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import keras
import numpy as np

from detector.base.files import parse_json, replacing
from detector.base.finite import why_not_finite
from detector.training.clock import EpochClock, EpochTime

History = dict[str, list[float]]
# What reading a damaged file raises.
UNUSABLE = (OSError, ValueError, LookupError, TypeError, EOFError, BadZipFile)


class Fingerprint(NamedTuple):
    """Hashes, hexadecimal, of all that the weights change with.

    code: with the versions of Keras, its backend and NumPy.
    """

    params: str
    data: str
    code: str

    @property
    def digits(self) -> str:
        """16 hexadecimal digits of all of them."""
        return hashlib.sha256("".join(self).encode()).hexdigest()[:16]


def fingerprint(
    params: Any,
    data: Iterable[str | os.PathLike[str]],
    sources: Iterable[str | os.PathLike[str]],
) -> Fingerprint:
    """Give the fingerprint of a training.

    params: anything that JSON or str can write. data: files, and folders with all files in them.
    sources: modules, and folders of them.
    """
    backend = keras.backend.backend()
    version = getattr(sys.modules.get(backend), "__version__", "")
    written = json.dumps(params, sort_keys=True, default=str, allow_nan=False)
    versions = f"{keras.__version__} {backend} {version} {np.__version__}"
    return Fingerprint(
        hashlib.sha256(written.encode()).hexdigest(),
        _of_files(data, ""),
        _of_files(sources, versions),
    )


def _of_files(given: Iterable[str | os.PathLike[str]], start: str) -> str:
    digest = hashlib.sha256(start.encode())
    for each in map(Path, given):
        inside = each.rglob("*") if each.is_dir() else [each]
        for path in sorted(path for path in inside if path.is_file() and path.suffix != ".pyc"):
            with path.open("rb") as file:
                digest.update(path.name.encode() + hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


class Checkpoint(keras.callbacks.Callback):
    """Keep what is needed to go on, after every epoch. Give it as the last callback of a `fit`."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        clock: EpochClock | None = None,
        told: Iterable[keras.callbacks.Callback] = (),
    ) -> None:
        """path: of the .npz. clock: whose times of the epochs are kept as well.

        told: callbacks that must hear of the epochs done before, such as loggers.
        """
        super().__init__()
        self.path, self.clock, self.told = Path(path), clock, list(told)
        self.history: History = {}

    def epochs_done(self) -> int:
        """Tell how many epochs the file says are done; 0 without one that can be read."""
        try:
            with np.load(self.path, allow_pickle=False) as file:
                return len(parse_json(file["state"].tobytes())["history"]["loss"])
        except UNUSABLE:
            return 0

    def restore(self, model: keras.Model) -> int:
        """Bring a compiled network, its optimizer and the history to where the file left them.

        The network must be compiled for the phase of the training in which the file was written.
        Returns how many epochs are done. 0 without a file, or with one that cannot be used, such as
        one with numbers that are not finite: then nothing is changed. Says on stderr what it found.
        """
        if not self.path.exists():
            return 0
        model.optimizer.build(model.trainable_variables)
        variables = _variables(model)
        try:
            arrays, state = _read(self.path, variables)
            history = {str(key): list(map(float, of)) for key, of in state["history"].items()}
            (done,) = {len(values) for values in history.values()}
            times = [EpochTime(*each) for each in state["times"]]
        except UNUSABLE as error:
            words = " ".join(str(error).split()) or type(error).__name__
            _say(f"{self.path}: damaged ({words}); left out, training starts anew")
            return 0
        for variable, array in zip(variables, arrays, strict=True):
            variable.assign(array)
        self.history = history
        if self.clock:
            self.clock.earlier = times
        for epoch in range(done):
            for callback in self.told:
                callback.on_epoch_end(epoch, {key: of[epoch] for key, of in history.items()})
        _say(f"{self.path}: training goes on after epoch {done}")
        return done

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras: write the file, complete or not at all.

        `callbacks.StopDiverged` comes before it, so that all numbers are finite.
        """
        for key, value in (logs or {}).items():
            self.history.setdefault(key, []).append(float(value))
        times = self.clock.epochs if self.clock else []
        state = {
            "history": self.history,
            "times": [[time.training, time.ended, time.steps] for time in times],
        }
        arrays = {
            f"{i:05}": keras.ops.convert_to_numpy(variable)
            for i, variable in enumerate(_variables(self.model))
        }
        arrays["state"] = np.frombuffer(json.dumps(state, allow_nan=False).encode(), np.uint8)
        with replacing(self.path) as path:
            np.savez(path, **arrays)


def tell_of_others(path: str | os.PathLike[str]) -> None:
    """Say which checkpoints beside `path` cannot be gone on with."""
    path = Path(path)
    for other in sorted(path.parent.glob("[!.]*.npz")):
        if other != path:
            _say(f"{other}: left out, it is of other params, data, code or versions")


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]


def _read(path: Path, variables: list[Any]) -> tuple[list[np.ndarray], dict[str, Any]]:
    """Give an array for each variable, of its shape and dtype, and the rest. NumPy checks CRCs."""
    with np.load(path, allow_pickle=False) as file:
        arrays = [file[f"{i:05}"] for i in range(len(variables))]
        state = parse_json(file["state"].tobytes())
    wanted = [(tuple(v.shape), keras.backend.standardize_dtype(v.dtype)) for v in variables]
    if [(array.shape, str(array.dtype)) for array in arrays] != wanted:
        raise ValueError("its arrays are of another network")
    if why := why_not_finite((v.path, array) for v, array in zip(variables, arrays, strict=True)):
        raise ValueError(why)
    return arrays, state


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)
