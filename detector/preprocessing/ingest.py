"""From the members of an archive to arrays and a table of what was decoded."""

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from detector.base import layout
from detector.base.arrays import SPLITS, SplitWriter
from detector.images.decode import BadImage, Chunk


def sort_members(
    names: Iterable[str],
) -> tuple[dict[str, tuple[str, int]], list[BadImage], list[str]]:
    """Account for every file name of an archive.

    Returns split and label of each image by name, in sorted order; the names that cannot be used;
    and the file managers' own files, which are ignored.
    """
    members: dict[str, tuple[str, int]] = {}
    bad, ignored = [], []
    for name in sorted(names):
        try:
            if layout.is_system_file(name):
                ignored.append(name)
            elif name in members:
                bad.append(BadImage(name, "the archive has this name twice; the last one is used"))
            else:
                members[name] = layout.locate(name)
        except ValueError as reason:
            bad.append(BadImage(name, str(reason)))
    return members, bad, ignored


def plan_splits(
    members: dict[str, tuple[str, int]], class_in_name: bool, fraction: float, seed: int
) -> pd.DataFrame:
    """Divide train into train and val; the same share of each label (and CIFAR class, if named).

    members: of sort_members. Returns columns member (also the index), split (train, val, test),
    label and class (-1 where unknown). Raises ExpectedError when train cannot be divided.
    """
    # scikit-learn takes a second to import, in which the processes of decode_members are at work
    from detector.preprocessing.split import validation_mask

    classes = [layout.cifar_class(member) if class_in_name else None for member in members]
    plan = pd.DataFrame(
        {
            "member": list(members),
            "split": [split for split, _ in members.values()],
            "label": np.array([label for _, label in members.values()], np.uint8),
            "class": np.array([-1 if c is None else c for c in classes], np.int8),
        }
    ).set_index("member", drop=False)
    train = np.flatnonzero(plan["split"] == "train")
    groups = plan.iloc[train].groupby(["label", "class"])
    names = [
        f"train/{layout.CLASSES[label]}" + (f", CIFAR-10 class {number}" if number >= 0 else "")
        for label, number in groups.groups
    ]
    chosen = train[validation_mask(groups.ngroup().to_numpy(), names, fraction, seed)]
    plan.iloc[chosen, plan.columns.get_loc("split")] = "val"
    return plan


def write_arrays(
    chunks: Iterable[Chunk], plan: pd.DataFrame, folders: dict[str, Path], size: int
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, list[BadImage]]:
    """Write decoded members into the folder of each split.

    chunks: of decode_members, for the members of the plan in its order. plan: of plan_splits.
    folders: by split. size: side of the images in pixels. Returns the rows of the plan that were
    written (with their row in the split's arrays, file_bytes, codec, changes and digest, here a
    number that equal pixels share), their features (float32 N,K), their channel moments (float64
    N,2,3), and the members left out.
    """
    rows, features, moments, codecs, changes, bad = [], [], [], [], [], []
    sizes, digests = [], []  # as arrays: Python's objects take several times the memory
    splits, labels, classes = (plan[name].to_numpy() for name in ("split", "label", "class"))
    with ExitStack() as stack:
        writers = {s: stack.enter_context(SplitWriter(folders[s], size)) for s in SPLITS}
        bar = stack.enter_context(
            tqdm(total=len(plan), desc="decode", unit="img", mininterval=0.5, disable=None)
        )
        for chunk in chunks:
            of_plan = plan.index.get_indexer(chunk.members)
            for split, writer in writers.items():
                here = np.flatnonzero(splits[of_plan] == split)
                some = of_plan[here]
                names = [chunk.members[i] for i in here]
                writer.append(chunk.images[here], list(labels[some]), list(classes[some]), names)
            rows.append(of_plan)
            sizes.append(np.array(chunk.file_bytes, np.int64))
            codecs += chunk.codecs
            changes += chunk.changes
            digests.append(np.frombuffer(b"".join(chunk.digests), "V16"))
            features.append(chunk.features)
            moments.append(chunk.moments)
            bad += chunk.bad
            bar.update(len(chunk.members) + len(chunk.bad))
    _, digest = np.unique(np.concatenate(digests), return_inverse=True)
    table = plan.iloc[np.concatenate(rows)].reset_index(drop=True)
    table = table.assign(file_bytes=np.concatenate(sizes), codec=codecs, digest=digest)
    table["changes"] = changes
    table["row"] = table.groupby("split").cumcount()
    return table, np.concatenate(features), np.concatenate(moments), bad


def converted_by_class(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Count by class what was done to images. table: columns label and changes (of Chunk)."""
    counts = {}
    for label, name in enumerate(layout.CLASSES):
        of_class = table.loc[table["label"] == label, "changes"]
        counts[name] = dict(sorted(Counter(one for done in of_class for one in done).items()))
    return counts


def conversion_warnings(converted: dict[str, dict[str, int]]) -> list[str]:
    """Say what was done to images; converted: of converted_by_class."""
    warnings = []
    for change in sorted({change for counts in converted.values() for change in counts}):
        each = " and ".join(f"{of.get(change, 0):,} {name}" for name, of in converted.items())
        warnings.append(
            f"{change}: {each} images; where the shares differ, a network can tell the classes by "
            "the traces of it"
        )
    return warnings
