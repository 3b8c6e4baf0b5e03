"""Tell photographs (REAL) from images made by a generative network (FAKE).

The modules hold pure functions on arrays, tables and settings. They know neither DVC nor where the
repository keeps its files; the scripts in `stages/` do that.
"""
