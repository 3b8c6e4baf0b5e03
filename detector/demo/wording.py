"""What the page says of a model and of an answer. What it says of a model, its archive says."""

from typing import Any

from detector.deployment.model_archive import DecisionRule, ModelDescription
from detector.prediction.images import Opened
from detector.prediction.wording import meaning, percent, unsure_range

MEANING = {
    "REAL": "The model takes this image for a photograph.",
    "FAKE": "The model takes this image for one made by a generative network.",
    "UNSURE": "The model cannot tell: the score is too near to the threshold.",
}
FEW = 30  # test images; of fewer even a share of 0 may be one in ten (rule of three)
TERMS = ("REAL and FAKE", "UNSURE", "On its own test images", "On other images")


def summary(model: ModelDescription) -> str:
    """Say in two sentences what a model was trained on and how good it is."""
    images, test = model.data.training_images, model.test
    side = model.image_size
    right = test.fake_predicted_fake + test.real_predicted_real
    return (
        f"Trained on {images.REAL + images.FAKE:,} images of {side}x{side} pixels of the data "
        f"set “{model.data.name}”. Right on {right:,} of {test.n:,} test images of the same set."
    )


def limits(model: ModelDescription) -> list[tuple[str, str]]:
    """Say what an answer means and what it does not: pairs of a term and sentences."""
    side, known, scores = model.image_size, model.familiar, model.scores
    tested = sum(scores.fake) + sum(scores.real)
    limits_of_training = (
        f", or when it is outside of what {100 * (1 - known.share):g} % of the {known.n:,} "
        "training images keep to"
        if known.ranges
        else f"; {known.n:,} training images are too few to say what else is usual"
    )
    return [
        *zip(TERMS, map(_spelled_out, meaning(model)), strict=True),
        (
            "What the model sees",
            f"A square from the middle of the image, made {side}x{side} pixels. What was cut off "
            "or lost in that plays no part in the answer.",
        ),
        (
            "Of 100 test images with such a score",
            f"The {tested:,} test images are sorted by their probability into "
            f"{len(scores.fake)} intervals; those in the same one as yours are counted, and n is "
            f"their number. Of all test images {share(sum(scores.fake), tested)} were fake. Where "
            "fewer images are, a FAKE is wrong more often.",
        ),
        (
            "Warnings",
            "An image gets one when its size, shape or coder is another than the model's"
            f"{limits_of_training}. No warning does not mean that the model knows such images.",
        ),
        (
            "The heat map",
            "Grad-CAM: the brighter a place, the more it spoke for the answer. It explains the "
            "model and proves nothing about the image.",
        ),
    ]


def _spelled_out(sentence: str) -> str:
    return sentence.replace("P(REAL)", "the probability of REAL")


def facts(model: ModelDescription) -> list[tuple[str, str]]:
    """Give the particulars of a model: pairs of a name and a value."""
    rule, images, versions = model.decision, model.data.training_images, model.versions
    band = "none" if rule.abstain is None else f"{rule.abstain:.4g} nats"
    return [
        ("Network", f"{model.settings.builder}, input {model.settings.input_size} pixels"),
        ("Data set", model.data.name),
        ("SHA-256 of its archive", model.data.archive_sha256),
        ("Training images", f"{images.REAL:,} REAL, {images.FAKE:,} FAKE"),
        ("Their SHA-256", model.data.training_sha256),
        ("Temperature", f"{rule.temperature:.4g}"),
        ("Threshold", f"{rule.threshold:.4g} of the probability of REAL, goal {rule.goal}"),
        ("UNSURE within", band),
        ("Made with", f"Keras {versions.keras}, {versions.backend} {versions.backend_version}"),
    ]


def share(part: int, whole: int) -> str:
    """Give `part` of `whole` in percent."""
    return f"{100 * part / whole:.0f} %" if whole else "none"


def unsure_zone(rule: DecisionRule) -> tuple[float, float] | None:
    """Give the probabilities of REAL between which an image is UNSURE; None: there are none."""
    if rule.abstain is None:
        return 0.0, 1.0
    return unsure_range(rule.threshold, rule.abstain) if rule.abstain else None


def sentences(
    model: ModelDescription,
    verdict: str,
    probability: float,
    of_100: tuple[int, int],
    is_unlike: bool,
) -> dict[str, Any]:
    """Give what the page says of a score.

    of_100: of Detector.of_100. is_unlike: whether there are warnings.
    """
    zone = unsure_zone(model.decision)
    low, high = map(percent, zone or (0, 0))
    return {
        "meaning": MEANING[verdict],
        "probability_sentence": f"Probability of REAL: {percent(probability)}.",
        "threshold_sentence": f"REAL from {percent(model.decision.threshold)}",
        "unsure_sentence": f"UNSURE {low} to {high}" if zone else "",
        "of_100_sentence": _of_100(*of_100, is_unlike),
    }


def _of_100(fake: int, n: int, is_unlike: bool) -> str:
    if n == 0:
        return "No test image had such a score, so nothing is known of it."
    number = f"n = {n:,}".replace(" ", "\N{NO-BREAK SPACE}")
    few = ", too few to rely on" if n < FEW else ""
    said = f"Of 100 test images with such a score, {fake} were fake ({number}{few})."
    return f"{said} This image is unlike them, so it may be otherwise." if is_unlike else said


def captions(opened: Opened, name: str, predicted: str, cold: bool) -> dict[str, str]:
    """Give what stands below the pictures and the answer.

    name: of the model. predicted: the class that the heat explains. cold: no place spoke for it.
    """
    side = len(opened.pixels)
    done = [f"Model {name}", f"file of {opened.width}x{opened.height} pixels", *opened.changes]
    return {
        "seen_caption": f"What the model sees: {side}x{side} pixels",
        "heat_caption": f"{'No place' if cold else 'Bright: what'} spoke for {predicted}",
        "done": f"{', '.join(done)}.",
    }


def warnings(opened: Opened, unfamiliar: tuple[str, ...]) -> list[str]:
    """Join the warnings of the file and of its pixels, as sentences of a list."""
    return [f"{text[0].upper()}{text[1:]}." for text in (*opened.warnings, *unfamiliar)]
