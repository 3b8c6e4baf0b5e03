"""The dozen figures of a backbone that DVC tracks as metrics; all others stand in the report."""

from typing import Any

OF_TEST = ("accuracy", "precision", "recall", "specificity", "f1", "roc_auc")
SETS, DIGITS = 3, 5


def headline(
    test: dict[str, Any],
    val_accuracy: float,
    train_accuracy: float,
    corrupted_accuracy: float,
    external: dict[str, dict[str, Any]],
) -> dict[str, float]:
    """Return the headline of one backbone: at most twelve figures, rounded to 5 digits.

    test: metrics at 0.5 of the raw probability, as in the paper's table. val_accuracy: likewise.
    train_accuracy: of the last epoch, on augmented images. corrupted_accuracy: mean over all
    corruptions and levels, at the frozen threshold. external: metrics at the frozen threshold by
    the name of the set; of the first three that have both classes the accuracy is taken.
    """
    figures = {name: test[name] for name in OF_TEST}
    figures |= {
        "val_accuracy": val_accuracy,
        "train_accuracy": train_accuracy,
        "corrupted_accuracy": corrupted_accuracy,
    }
    both = {name: of["accuracy"]["value"] for name, of in external.items() if of["accuracy"]}
    figures |= {f"{name}_accuracy": both[name] for name in sorted(both)[:SETS]}
    return {name: round(value, DIGITS) for name, value in figures.items()}
