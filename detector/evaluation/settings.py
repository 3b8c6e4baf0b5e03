"""Section `evaluate` of params.yaml."""

import re
import reprlib
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from detector.base.section import Section

_GOAL = re.compile(r"0\.5|balanced|fpr_(0(?:\.\d{1,9})?)", re.ASCII)


def parse_goal(text: Any) -> tuple[str, float | None]:
    """Return `("fixed", 0.5)`, `("balanced", None)` or `("fpr", X)`, with 0 <= X < 1.

    What evaluate.threshold may say: 0.5, balanced or fpr_X, with X written as 0 or 0.01, at most
    nine digits. Raises ValueError for anything else.
    """
    goal = str(text) if isinstance(text, str | float) else ""  # an unquoted 0.5 is a number in YAML
    match = _GOAL.fullmatch(goal)
    if not match:
        old = "fpr=X is written fpr_X now; " if goal.startswith("fpr=") else ""
        raise ValueError(
            f"{old}must be 0.5, balanced or fpr_X, with X from 0 up to 1 as in fpr_0.01, not "
            f"{reprlib.repr(text)}"
        )
    if match[1]:
        return "fpr", float(match[1])
    return ("fixed", 0.5) if goal == "0.5" else ("balanced", None)


def _is_goal(value: Any) -> str:
    parse_goal(value)
    return str(value)


class EvaluateParams(Section):
    """How predictions are made and judged."""

    batch_size: int = Field(ge=1)
    threshold: Annotated[str, BeforeValidator(_is_goal)]  # see parse_goal
    sure_error: float = Field(ge=0, le=1)
    resamples: int = Field(ge=100, le=100_000)
