"""Which images have the very pixels of another one, across the splits."""

import numpy as np
import pandas as pd

COLUMNS = ["test", "same_as", "split"]


def leaked(table: pd.DataFrame) -> pd.DataFrame:
    """Return a row for each test image whose pixels are those of an image of train or val.

    table: a row an image, columns member, split (train, val, test) and digest (of the pixels).
    Columns: test and same_as, names of members, and split, train or val, of the latter; of several
    such images the first of train, or else of val. In the order of the table.
    """
    learned = table[table["split"] != "test"].sort_values("split", kind="stable")  # train, val
    first = learned.drop_duplicates("digest").set_index("digest")
    test = table[(table["split"] == "test") & table["digest"].isin(first.index)]
    twins = first.loc[test["digest"]]
    columns = test["member"].to_numpy(), twins["member"].to_numpy(), twins["split"].to_numpy()
    return pd.DataFrame(dict(zip(COLUMNS, columns, strict=True)), dtype=object)


def to_drop(table: pd.DataFrame) -> np.ndarray:
    """Return which images of train and val repeat what is judged later, bool N.

    table: of `leaked`. Those of train and val that are in test, and those of val that are in train.
    """
    split = table["split"].to_numpy()
    digests = {name: table.loc[split == name, "digest"] for name in ("train", "test")}
    in_test = table["digest"].isin(digests["test"]).to_numpy()
    in_train = table["digest"].isin(digests["train"]).to_numpy()
    return ((split != "test") & in_test) | ((split == "val") & in_train)
