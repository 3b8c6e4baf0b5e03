"""From the members of an archive to arrays and a table of what was decoded."""

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd
from tqdm import tqdm

from detector import decode, layout
from detector.arrays import SPLITS, SplitWriter
from detector.decode import BadImage
from detector.split import validation_mask


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
    strata = plan["label"].astype(int) * 100 + plan["class"]
    chosen = train[validation_mask(strata.to_numpy()[train], fraction, seed)]
    plan.iloc[chosen, plan.columns.get_loc("split")] = "val"
    return plan


def write_arrays(
    archive: str, plan: pd.DataFrame, folders: dict[str, Path], size: int
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray, list[BadImage]]:
    """Decode the planned members of the zip into the folder of each split.

    plan: of plan_splits. folders: by split. size: side every image must have, in pixels. Returns
    the rows of the plan that were written (with their row in the split's arrays, file_bytes, codec
    and digest), their features (float32 N,K), their channel moments (float64 N,2,3), and the
    members left out.
    """
    parts, features, moments, bad = [], [], [], []
    rows = dict.fromkeys(SPLITS, 0)
    with ExitStack() as stack:
        writers = {s: stack.enter_context(SplitWriter(folders[s], size)) for s in SPLITS}
        bar = stack.enter_context(tqdm(total=len(plan), desc="decode", unit="img", mininterval=0.5))
        for chunk in decode.decode_members(archive, list(plan.index), size):
            part = plan.loc[chunk.members].assign(
                file_bytes=chunk.file_bytes, codec=chunk.codecs, digest=chunk.digests, row=0
            )
            for split in part["split"].unique():
                here = (part["split"] == split).to_numpy()
                some = part[here]
                writers[split].append(
                    chunk.images[here], list(some["label"]), list(some["class"]), list(some.index)
                )
                part.loc[here, "row"] = np.arange(rows[split], rows[split] + len(some))
                rows[split] += len(some)
            parts.append(part)
            features.append(chunk.features)
            moments.append(chunk.moments)
            bad += chunk.bad
            bar.update(len(chunk.members) + len(chunk.bad))
    table = pd.concat(parts, ignore_index=True)
    return table, np.concatenate(features), np.concatenate(moments), bad
