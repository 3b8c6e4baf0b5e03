"""Tell photographs (REAL) from images made by a generative network (FAKE).

The modules hold pure functions on arrays, tables and settings. They know neither DVC nor where the
repository keeps its files; the scripts in `stages/` do that.

`from detector import load` gives a trained network: detector/prediction/detector.py.
"""


def __getattr__(name: str):
    # Not imported before it is asked for: most of the package needs no network.
    if name == "load":
        from detector.prediction.detector import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
