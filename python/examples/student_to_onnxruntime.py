"""Take a student from a fleet to onnxruntime.

    python student_to_onnxruntime.py [STUDENT.npz]

STUDENT.npz is what `alambic-agent student export` or `alambic-lab simulate --student-out` wrote;
left out, a small fleet is simulated.
"""

import sys

import numpy as np
import onnxruntime
from sklearn.datasets import load_digits

import alambic

X, y = load_digits(return_X_y=True)
X = X.reshape(-1, 8, 8).astype(np.float32)
if len(sys.argv) > 1:
    student = alambic.load_student(sys.argv[1])
    X = np.random.default_rng(0).normal(size=(1000, *student.input_shape)).astype(np.float32)
else:
    student = alambic.simulate(X, y, "iid", devices=5, steps=500).student
print(student)

model = student.to_onnx("student.onnx")
session = onnxruntime.InferenceSession("student.onnx")
probabilities, classes = session.run(None, {"input": X})
apart = np.abs(probabilities - student.predict_proba(X)).max()
print(f"{len(model)} bytes; {len(X)} rows no further apart than {apart:.1e}")
assert apart <= 1e-4
