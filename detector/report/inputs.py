"""What the report is made from: the schema of each file, checked before a word is written.

Keys that the report does not use are let pass, so that a stage may write more than is shown.
"""

from dataclasses import dataclass
from typing import Any

import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from detector.base.errors import ExpectedError
from detector.evaluation.decision import Decision

ROBUSTNESS_COLUMNS = (
    "corruption", "level", "accuracy", "accuracy_low", "accuracy_high", "n",
    "roc_auc", "fake_recall", "real_recall",
)  # fmt: skip
HISTORY_COLUMNS = ("epoch", "accuracy", "loss", "val_accuracy", "val_loss")


class _File(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Interval(_File):
    """A figure with the ends of its 95 % interval and the number of images it is of.

    n_fake and n_real where it is of both classes.
    """

    value: float
    low: float
    high: float
    n: int | None = None
    n_fake: int | None = None
    n_real: int | None = None


class Confusion(_File):
    """Counts of test images by actual class and verdict."""

    FAKE_predicted_FAKE: int
    FAKE_predicted_REAL: int
    REAL_predicted_FAKE: int
    REAL_predicted_REAL: int


class Intervals(_File):
    """The metrics of detector.evaluation.intervals; precision, recall and F1 are those of REAL."""

    accuracy: Interval
    balanced_accuracy: Interval
    roc_auc: Interval
    average_precision: Interval
    f1: Interval
    precision: Interval
    recall: Interval
    specificity: Interval
    log_loss: Interval


class Metrics(_File):
    """One network on one split at one threshold."""

    n: int
    confusion: Confusion
    intervals: Intervals
    accuracy_by_cifar_class: dict[str, float] = {}


class Scores(_File):
    """How far the probabilities are to be believed."""

    ece: float
    brier: float
    log_loss: float


class Calibration(_File):
    """Scores before and after temperature scaling."""

    temperature: float
    before: Scores
    after: Scores


class Selective(_File):
    """What happens when the least sure images are not answered."""

    aurc: float
    unsure: float
    sure_n: int
    error_of_the_sure: float | None
    coverage_at_1: float = Field(alias="coverage_at_1%_error")
    coverage_at_2: float = Field(alias="coverage_at_2%_error")


class Size(_File):
    """What a network takes up; the same on every machine."""

    input_pixels: int
    parameters: int
    trainable_parameters: int
    flops_per_image: int
    uncounted_layers: list[str] = []


class Accuracies(_File):
    """On the same validation images, by moving and by batch statistics."""

    moving: float
    batch: float


class Normalization(_File):
    """Whether BatchNormalization judges as it has learnt."""

    accuracy: Accuracies
    layers: int
    layers_that_learn: int
    mean_apart: float | None
    variance_apart: float | None


class Evaluation(_File):
    """evaluation.json of the stage evaluate."""

    val: Metrics
    test: Metrics
    test_without_leaked: Metrics | None = None
    test_at_threshold: Metrics
    calibration: Calibration
    selective: Selective
    size: Size
    normalization: Normalization
    warnings: list[str] = []


class Means(_File):
    """Means over the levels of one change."""

    accuracy: float
    roc_auc: float


class RobustnessIntervals(_File):
    """Intervals of the mean over all changes and levels, and of the unchanged images."""

    accuracy: Interval
    clean_accuracy: Interval


class RobustnessSummary(_File):
    """summary.json of the robustness stage, see detector.evaluation.levels.summary."""

    roc_auc: float
    clean_roc_auc: float
    by_corruption: dict[str, Means]
    intervals: RobustnessIntervals


class ExternalResult(_File):
    """One network on one external set; what needs a class that the set lacks is null."""

    n_real: int
    n_fake: int
    accuracy: Interval | None
    fake_recall: Interval | None
    real_recall: Interval | None
    roc_auc: Interval | None
    unsure: float


class Counts(_File):
    """Four counts of McNemar's test, and its p."""

    both_right: int
    only_a: int
    only_b: int
    both_wrong: int
    p_value: float


class Difference(_File):
    """Metrics of a minus those of b."""

    accuracy: Interval
    roc_auc: Interval


class RobustnessGap(_File):
    """Accuracy of a minus that of b, the mean over all changes and levels."""

    corrupted: Interval


class Pair(_File):
    """An entry "a minus b" of plots/compare/compare.json."""

    mcnemar: Counts
    difference: Difference
    robustness: RobustnessGap | None = None


class Archive(_File):
    """The file that all images came from."""

    name: str
    sha256: str  # of the content
    bytes: int
    cifake: bool


class NearDuplicates(_File):
    """Images that are almost another one, of so many for which others were looked at."""

    rms_at_most: float
    test_and_train: int
    test_and_train_asked: int
    test_and_train_examples: list[tuple[str, str]]
    fake_and_real: int
    fake_and_real_asked: int
    fake_and_real_examples: list[tuple[str, str]]


class BadFiles(_File):
    """Files that could not be used, with the reason; the first of them."""

    count: int
    first: list[tuple[str, str]]


class IgnoredFiles(_File):
    """Files that are no images of the layout; the first of them."""

    count: int
    first: list[str]


class DataAudit(_File):
    """data/audit.json."""

    archive: Archive
    images: dict[str, dict[str, int]]
    warnings: list[str]
    exact_duplicates: dict[str, int]
    near_duplicates: NearDuplicates
    codecs: dict[str, dict[str, int]]
    file_bytes: dict[str, dict[str, float] | float]
    pixels: dict[str, dict[str, list[float]]]
    dropped_duplicates: int
    bad_files: BadFiles
    ignored_files: IgnoredFiles


class ExternalSet(_File):
    """What the audit says of one external set. left_out: images over the number wanted."""

    warnings: list[str] = []
    bad_files: BadFiles | None = None
    ignored_files: IgnoredFiles | None = None
    left_out: dict[str, int] = {}


class ExternalAudit(_File):
    """data/sets/audit.json."""

    sets: dict[str, ExternalSet]


@dataclass(frozen=True)
class BackboneInputs:
    """All that is known of one backbone. history, robustness: tables with the columns above."""

    evaluation: Evaluation
    decision: Decision
    history: pd.DataFrame
    robustness: pd.DataFrame
    robustness_summary: RobustnessSummary
    external: dict[str, ExternalResult]


@dataclass(frozen=True)
class Inputs:
    """All that the report says.

    tree: params.yaml, which stages have checked, each its part; params: the same with dots for
    keys, `model` by name. pairs: by "a minus b".
    figures: content of PNG files by their path from the root of the
    repository, with / between folders. versions: of Python and packages, by name.
    """

    params: Any
    tree: dict[str, Any]
    data: DataAudit
    external: ExternalAudit
    pairs: dict[str, Pair]
    backbones: dict[str, BackboneInputs]
    figures: dict[str, bytes]
    versions: dict[str, str]


def parse(schema: Any, content: Any, path: Any) -> Any:
    """Check `content`, made of JSON, against a schema of this module (or a dict of one).

    Raises ExpectedError with one sentence that names `path`, the key and what is wrong with it.
    """
    try:
        return TypeAdapter(schema).validate_python(content)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise ExpectedError(
            f"{path}: {key}: {problem['msg'][0].lower()}{problem['msg'][1:]}; "
            "run 'dvc repro' to make it anew"
        ) from error
