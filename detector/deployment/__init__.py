"""A trained network in one file, and what answers with it: command, page, ONNX."""
