"""One script per stage of dvc.yaml: read params and deps, call `detector`, write outs."""
