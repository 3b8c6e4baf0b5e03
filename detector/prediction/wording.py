"""What the commands say in words: names, numbers, and what an answer means."""

import math
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # --help shall not wait for it
    from detector.deployment.model_archive import ModelDescription

UNREADABLE, REFUSED = 1, 2  # exit codes, besides 0 and 128 + the number of a signal
NO_MEMORY = "the memory of this machine is used up; end other programs or give smaller images"
GOALS = {
    "0.5": "for no images in particular",
    "balanced": "for the best mean of the shares of REAL and of FAKE that are called right",
}


def percent(probability: float) -> str:
    """Give a probability in percent, never as 0 or 100: a calibrated one is not quite either."""
    text = f"{100 * probability:.1f} %"
    return {"0.0 %": "<0.1 %", "100.0 %": ">99.9 %"}.get(text, text)


def count(number: int, one: str, many: str | None = None) -> str:
    """Give "1 image", "2 images"; many: the plural, where it is not `one` and an s."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def heading(model: "ModelDescription") -> str:
    """Say which network answers and what it was trained on."""
    images, side = model.data.training_images, model.image_size
    return (
        f"{model.name}, trained on the data set {model.data.name}: {images.REAL:,} REAL and "
        f"{images.FAKE:,} FAKE images of {side}x{side} pixels"
    )


def meaning(model: "ModelDescription") -> list[str]:
    """Say in sentences what the frozen threshold, UNSURE and the test set's figures mean."""
    rule, test = model.decision, model.test
    real, fake = (
        test.real_predicted_real + test.real_predicted_fake,
        test.fake_predicted_fake + test.fake_predicted_real,
    )
    return [
        f"REAL means that P(REAL) is at least {100 * rule.threshold:.4g} %, FAKE that it is below: "
        f"a threshold chosen on {rule.n:,} validation images {_goal(rule.goal)}, frozen before the "
        "test.",
        _unsure(model),
        f"On its {test.n:,} test images it called {test.real_predicted_fake:,} of {real:,} "
        f"REAL ones FAKE and {test.fake_predicted_real:,} of {fake:,} FAKE ones REAL.",
        "It knows images like those of its data set and the one generator behind its fakes. Of "
        "other photographs and other generators a verdict proves nothing, however sure it looks.",
    ]


def _goal(goal: str) -> str:
    if goal.startswith("fpr"):  # fpr_0.01; models of old have fpr=0.01
        share = 100 * float(goal[len("fpr_") :])
        return f"so that at most {share:.4g} % of the REAL ones are called FAKE"
    return GOALS.get(goal, f"for the goal {goal}")


def _unsure(model: "ModelDescription") -> str:
    rule = model.decision
    errors = f"{100 * rule.sure_error:.4g} %"
    if rule.abstain is None:
        return (
            f"UNSURE is said of all: no distance from it had at most {errors} errors on validation."
        )
    if rule.abstain == 0:
        return (
            f"UNSURE is said of no image: at that threshold at most {errors} of all validation "
            "images were called wrong."
        )
    low, high = unsure_range(rule.threshold, rule.abstain)
    return (
        f"UNSURE means that P(REAL) is within {percent(low)} to {percent(high)}: outside of that "
        f"at most {errors} of the validation images were called wrong."
    )


def unsure_range(threshold: float, band: float) -> tuple[float, float]:
    """Give the probabilities between which an image is UNSURE. band: in nats of the logit."""
    middle = _logit(threshold)
    return _sigmoid(middle - band), _sigmoid(middle + band)


def _logit(probability: float) -> float:
    clipped = min(max(probability, 1e-7), 1 - 1e-7)  # as detector.evaluation.calibration clips
    return math.log(clipped / (1 - clipped))


def _sigmoid(logit: float) -> float:
    return 1 / (1 + math.exp(-logit)) if logit > -700 else 0.0


def model_path(text: str) -> str:
    """Give the path of a model: a bare name such as cnn32 means models/cnn32.zip."""
    if os.path.basename(text) == text and not text.lower().endswith(".zip"):
        return os.path.join("models", f"{text}.zip")
    return text
