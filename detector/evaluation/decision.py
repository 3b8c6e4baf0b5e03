"""How a network's probabilities become a verdict: chosen on validation, then frozen."""

import json
import os
import sys
from dataclasses import asdict, dataclass

import numpy as np

from detector.base.errors import ExpectedError
from detector.base.files import write_json
from detector.evaluation.calibration import apply_temperature, fit_temperature
from detector.evaluation.selective import abstention_band, choose_threshold, verdicts

LARGEST = sys.float_info.max
RANGES = {
    "temperature": (sys.float_info.min, LARGEST),
    "threshold": (0, 1),
    "abstain": (0, LARGEST),
    "sure_error": (0, 1),
    "n": (1, LARGEST),
}


@dataclass(frozen=True)
class Decision:
    """What turns the raw probability of REAL into a probability to show and a verdict.

    temperature: of the calibration. goal: what the threshold was chosen for. threshold: on the
    calibrated probability, at or above which an image is predicted REAL. abstain: distance from
    the threshold, in nats of the calibrated logit, within which it is UNSURE; None, always.
    sure_error: share of errors on validation that the band allows. n: validation images.
    """

    temperature: float
    goal: str
    threshold: float
    abstain: float | None
    sure_error: float
    n: int

    def calibrate(self, probabilities: np.ndarray) -> np.ndarray:
        """Give calibrated probabilities, float64 N, of raw ones."""
        return apply_temperature(probabilities, self.temperature)

    def verdicts(self, calibrated: np.ndarray) -> np.ndarray:
        """Give "REAL", "FAKE" or "UNSURE" for each calibrated probability."""
        return verdicts(calibrated, self.threshold, self.abstain)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, at full precision: rounding could move the threshold past an image."""
        write_json(path, asdict(self))


def decide(labels: np.ndarray, probabilities: np.ndarray, goal: str, sure_error: float) -> Decision:
    """Choose temperature, threshold and band on validation images.

    labels: N, 0 = FAKE, 1 = REAL. probabilities: N, raw, of REAL. goal: see
    selective.choose_threshold. sure_error: 0 to 1. Nothing here may see the test images.
    """
    temperature = fit_temperature(labels, probabilities)
    calibrated = apply_temperature(probabilities, temperature)
    threshold = choose_threshold(labels, calibrated, goal)
    band = abstention_band(labels, calibrated, threshold, sure_error)
    return Decision(temperature, goal, threshold, band, sure_error, len(labels))


def read_decision(path: str | os.PathLike[str]) -> Decision:
    """Give the decision saved with a model. Raises ExpectedError for any other file."""
    try:
        with open(path, encoding="utf-8") as file:
            decision = Decision(**json.load(file))
        _check(decision)
        return decision
    except (OSError, ValueError, TypeError) as error:
        raise ExpectedError(
            f"{path}: not a decision of the evaluate stage ({error}); 'dvc repro' makes it anew"
        ) from error


def _check(decision: Decision) -> None:
    """Raise ValueError for values that `decide` never gives."""
    if not isinstance(decision.goal, str):
        raise ValueError(f"goal is {decision.goal}, no text")
    for name, (low, high) in RANGES.items():
        value = getattr(decision, name)
        if name == "abstain" and value is None:
            continue
        if not isinstance(value, int | float) or not low <= value <= high:
            raise ValueError(f"{name} is {value}, no number from {low} to {high}")
