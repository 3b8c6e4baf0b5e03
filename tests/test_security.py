"""What no file may be able to do: run code, or say where it is unpacked to."""

import ast

from tests.helpers import ROOT

MODULES = {"pickle", "dill", "cloudpickle", "shelve", "marshal"}
CALLS = {"load_model", "read_pickle", "to_pickle", "extract", "extractall", "eval", "exec"}
CALLS |= {"joblib.load", "joblib.dump", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}


def dangers(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = {alias.name for alias in node.names} | {getattr(node, "module", "")}
            yield from MODULES & names
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            options = {k.arg: ast.unparse(k.value) for k in node.keywords}
            if called in ("np.load", "np.save") and options.get("allow_pickle") != "False":
                yield called
            yield from CALLS & {called, called.split(".")[-1]}
            yield from {"safe_mode"} & set(options)


def test_no_file_is_run_as_code_or_unpacked_to_a_path_of_its_own():
    folders = ("detector", "stages", "conf", "benchmarks", "data/sample", "docs")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    assert len(files) > 50
    assert {f"{f}: {danger}" for f in files for danger in dangers(f.read_text())} == set()


def test_that_this_would_be_seen():
    for code in (
        "import pickle", "from dill import load", "np.load(f)", "np.load(f, allow_pickle=True)",
        "keras.models.load_model(f)", "f.extractall()", "joblib.load(f)", "yaml.load(f)",
        "g(f, safe_mode=False)", "np.save(f, a)",
    ):  # fmt: skip
        assert list(dangers(code)), code
