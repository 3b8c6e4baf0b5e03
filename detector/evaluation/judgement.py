"""All that is said of one network's predictions: metrics, intervals, calibration, abstention."""

from collections.abc import Collection
from typing import Any

import numpy as np
import pandas as pd

from detector.base.layout import CLASSES, small_classes
from detector.evaluation import metrics
from detector.evaluation.calibration import brier_score, expected_calibration_error
from detector.evaluation.decision import Decision
from detector.evaluation.metrics import REAL
from detector.evaluation.resampling import intervals
from detector.evaluation.selective import UNSURE, aurc, coverage_at_risk, risk_coverage


def in_one_line(name: str, test: dict[str, Any]) -> str:
    """Return the headline of one network in words. test: of `at_half`, of the test images."""
    accuracy, area = test["intervals"]["accuracy"], test["intervals"]["roc_auc"]
    value, low, high = (metrics.percent(accuracy[key]) for key in ("value", "low", "high"))
    return (
        f"{name}: accuracy {value} % (95 % interval {low} to {high}), AUC {area['value']:.4f}, "
        f"n = {accuracy['n']:,} test images"
    )


def at_half(table: pd.DataFrame, resamples: int, seed: int) -> dict[str, Any]:
    """Give the paper's metrics, at threshold 0.5 of the raw probability, with intervals.

    table: of predictions.read_predictions. `accuracy_by_cifar_class` only where names tell it.
    """
    labels, probabilities = table["label"].to_numpy(), table["probability"].to_numpy()
    result = metrics.classification_metrics(labels, probabilities)
    by_class = metrics.accuracy_by_cifar_class(
        labels, probabilities, table["cifar_class"].to_numpy()
    )
    result["intervals"] = metrics.rounded(intervals(labels, probabilities, 0.5, resamples, seed))
    return {**result, **({"accuracy_by_cifar_class": by_class} if by_class else {})}


def at_threshold(
    table: pd.DataFrame, decision: Decision, resamples: int, seed: int
) -> dict[str, Any]:
    """Give metrics and intervals of the calibrated probability at the frozen threshold."""
    labels, calibrated = table["label"].to_numpy(), calibrated_probabilities(table, decision)
    result = metrics.classification_metrics(labels, calibrated, decision.threshold)
    result["intervals"] = metrics.rounded(
        intervals(labels, calibrated, decision.threshold, resamples, seed)
    )
    return {"threshold": round(decision.threshold, 6), **result}


def calibrated_probabilities(table: pd.DataFrame, decision: Decision) -> np.ndarray:
    """Give the calibrated probabilities of a table of predictions, float64 N."""
    return decision.calibrate(table["probability"].to_numpy())


def calibration(table: pd.DataFrame, decision: Decision) -> dict[str, Any]:
    """Give ECE, Brier score and log loss before and after the temperature."""
    labels = table["label"].to_numpy()

    def of(probabilities: np.ndarray) -> dict[str, float]:
        return {
            "ece": expected_calibration_error(labels, probabilities),
            "brier": brier_score(labels, probabilities),
            "log_loss": metrics.log_loss(labels, probabilities),
        }

    return metrics.rounded(
        {
            "temperature": decision.temperature,
            "before": of(table["probability"].to_numpy()),
            "after": of(calibrated_probabilities(table, decision)),
        }
    )


def selective(table: pd.DataFrame, decision: Decision) -> dict[str, Any]:
    """Say how many images can be answered, and how well, when the least sure ones are not.

    coverage_at_*: the largest share of images, the surest first, with at most so many errors among
    them. unsure, error_of_the_sure, sure_n: what the band chosen on validation does here;
    error_of_the_sure is null when no image is sure.
    """
    labels, calibrated = table["label"].to_numpy(), calibrated_probabilities(table, decision)
    curve = risk_coverage(labels, calibrated, decision.threshold)
    said = decision.verdicts(calibrated)
    sure = said != UNSURE
    wrong = (said == "REAL") != (labels == REAL)
    return metrics.rounded(
        {
            "aurc": aurc(curve),
            "coverage_at_1%_error": coverage_at_risk(curve, 0.01),
            "coverage_at_2%_error": coverage_at_risk(curve, 0.02),
            "unsure": float((~sure).mean()),
            "sure_n": int(sure.sum()),
            "error_of_the_sure": float(wrong[sure].mean()) if sure.any() else None,
        }
    )


def evaluate(
    validation: pd.DataFrame,
    test: pd.DataFrame,
    decision: Decision,
    resamples: int,
    seed: int,
    leaked: Collection[str] = (),
) -> dict[str, Any]:
    """Give everything for one network, by the functions above; figures of test unless named val.

    leaked: names of test images that are in train or val; test_without_leaked is of the others,
    and missing where none is. warnings: of classes with few images, see layout.small_classes.
    """
    others = test[~test["name"].isin(leaked)]
    counts = {
        split: {name: int((table["label"] == label).sum()) for label, name in enumerate(CLASSES)}
        for split, table in (("val", validation), ("test", test))
    }
    return {
        "val": at_half(validation, resamples, seed),
        "test": at_half(test, resamples, seed),
        **({"test_without_leaked": at_half(others, resamples, seed)} if leaked else {}),
        "test_at_threshold": at_threshold(test, decision, resamples, seed),
        "calibration": calibration(test, decision),
        "selective": selective(test, decision),
        "warnings": small_classes(counts),
    }
