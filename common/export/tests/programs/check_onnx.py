"""Checks every model of a folder with onnx and compares onnxruntime's answers with a device's."""
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime

models = sorted(pathlib.Path(sys.argv[1]).glob("*.onnx"))
assert models, "there are no models"
for path in models:
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    rows = np.load(path.with_suffix(".rows.npz"))
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    said, *classes = session.run(None, {"input": rows["X"]})
    apart = np.abs(said - rows["P"]).max()
    if not classes:
        print(f"{path.stem}: {len(said)} rows of numbers, {apart:.1e} apart")
        assert [one.name for one in session.get_outputs()] == ["numbers"]
        assert said.std(0).min() > 1 and apart <= 1e-4 * np.abs(said).max()
        continue
    assert [one.name for one in session.get_outputs()] == ["probabilities", "class"]
    classes = classes[0]
    same = (classes == rows["P"].argmax(1)).mean()
    print(f"{path.stem}: {len(said)} rows, {same:.2%} same class, {apart:.1e} apart, "
          f"{path.stat().st_size} bytes, {len(set(classes))} classes said")
    assert said.shape == rows["P"].shape and len(said) >= 1000
    assert len(set(classes)) > 1, "one class for all rows tells nothing"
    assert same >= 0.9999 and apart <= 1e-4
    one = session.run(None, {"input": rows["X"][:1]})[0]
    assert np.abs(one - rows["P"][:1]).max() <= 1e-4
