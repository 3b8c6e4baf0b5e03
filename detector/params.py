"""params.yaml as a whole: the sections of every stage together, and the names of backbones."""

from typing import Any

from detector.archives.settings import DataParams
from detector.base.section import Section, Seed, Threads, check
from detector.corruption.settings import CorruptionParams
from detector.evaluation.settings import EvaluateParams
from detector.external.settings import ExternalParams
from detector.networks.settings import Models
from detector.preprocessing.settings import PreprocessParams
from detector.training.settings import TrainParams


class Transfer(Section):
    """What each file of conf/model takes up unless it says otherwise; no stage reads it."""

    weights: Any
    input_size: Any
    preprocessing: Any
    trainable_layers: Any
    batchnorm: Any
    bn_momentum: Any
    learning_rate: Any


class Params(Section):
    """All of params.yaml."""

    seed: Seed
    threads: Threads
    data: DataParams
    preprocess: PreprocessParams
    model: Models
    transfer: Transfer
    train: TrainParams
    evaluate: EvaluateParams
    corruption: CorruptionParams
    external: ExternalParams


def validate(tree: Any) -> Params:
    """Return the content of params.yaml, checked.

    tree: what a YAML parser made of the file. Raises ExpectedError with one sentence that names
    every wrong key, what is wrong with its value, and where values are set.
    """
    return check(Params, tree)
