"""Dataset distillation and federated distillation: arrays in, arrays out.

``distill`` replaces a data set by a few synthetic samples, ``simulate`` runs a fleet of devices
that teach one student without sharing their rows, and ``load_student`` runs a student that a
fleet or a simulation left behind.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _alambic
from ._alambic import AlambicError, __version__

__all__ = [
    "AlambicError", "DistilledSet", "Result", "Student", "distill", "load_student", "simulate",
    "__version__",
]


class DistilledSet:
    """Synthetic samples that stand for a data set.

    ``X`` (samples, in the inputs' own space where ``space`` is ``"input"``, else features of the
    stage that ``space`` names), ``y`` (soft labels, samples × classes), ``labels`` (the most
    likely class of each), ``weights`` (rows that each stands for), ``spread`` (how far those rows
    are apart), ``names`` (what each value of a sample is) and ``classes_``.
    """

    def __init__(self, points: _alambic.Points, classes: np.ndarray) -> None:
        self._points = points
        self.X = points.inputs().reshape(-1, *points.sides)
        self.y = points.labels()
        self.weights = points.weights()
        self.spread = points.spreads()
        self.names = points.names
        self.space = points.space
        self.classes_ = classes
        self.labels = classes[self.y.argmax(1)]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a file that ends in .npz or .csv."""
        self._points.write(os.fspath(path))

    def __len__(self) -> int:
        return len(self.X)

    def __repr__(self) -> str:
        return f"DistilledSet({len(self)} samples, {len(self.classes_)} classes, space={self.space!r})"


class Student:
    """A trained classifier: feature stage, normaliser, network and softmax."""

    def __init__(self, inner: _alambic.Student, classes: np.ndarray | None = None) -> None:
        self._inner = inner
        self.input_shape = tuple(inner.sides)
        self.features = inner.stage
        self.network = inner.network
        self.classes_ = np.array(inner.classes) if classes is None else classes

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of each row's classes, in the order of ``classes_``."""
        return self._inner.probabilities(_flat(X, self.input_shape))

    def predict(self, X: Any) -> np.ndarray:
        """The most likely class of each row."""
        return self.classes_[self.predict_proba(X).argmax(1)]

    def transform(self, X: Any) -> np.ndarray:
        """What the feature stage makes of each row, before it is scaled."""
        return self._inner.features(_flat(X, self.input_shape))

    def to_onnx(self, path: str | os.PathLike[str] | None = None) -> bytes:
        """The student as an ONNX model (opset 13), from a raw input to probabilities."""
        model = self._inner.encode("onnx")
        if path is not None:
            with open(path, "wb") as file:
                file.write(model)
        return model

    def save(self, path: str | os.PathLike[str]) -> str | None:
        """Write it to a file that ends in .npz, .safetensors, .onnx or .c; what to know of it."""
        return self._inner.write(os.fspath(path))

    def __repr__(self) -> str:
        return f"Student({self.network}, {self.features} features of {self.input_shape})"


@dataclass
class Result:
    """What a simulated fleet came to.

    ``accuracy`` is the student's on the rows held out for testing, ``uplink_bytes`` what the
    device that sent most has sent in all. ``outcome`` has every figure, as ``alambic-lab simulate
    --json`` writes them.
    """

    outcome: dict[str, Any]
    student: Student
    points: DistilledSet

    @property
    def accuracy(self) -> float:
        return self.outcome["rounds"][-1]["student_accuracy"]

    @property
    def teacher_accuracy(self) -> float:
        return self.outcome["rounds"][-1]["teacher_accuracy"]

    @property
    def uplink_bytes(self) -> int:
        return self.outcome["rounds"][-1]["uplink_bytes_max"]

    @property
    def downlink_bytes(self) -> float:
        return self.outcome["rounds"][-1]["downlink_bytes_mean"]

    @property
    def baselines(self) -> dict[str, Any] | None:
        return self.outcome["baselines"]

    def plot(self, ax: Any = None) -> Any:
        """Accuracy by bytes sent, for each round; needs matplotlib."""
        try:
            from matplotlib import pyplot
        except ImportError as error:
            raise ImportError("Result.plot needs matplotlib: pip install matplotlib") from error
        ax = pyplot.gca() if ax is None else ax
        rounds = self.outcome["rounds"]
        sent = [one["uplink_bytes_max"] / 1e3 for one in rounds]
        ax.plot(sent, [100 * one["student_accuracy"] for one in rounds], "o-", label="student")
        ax.plot(sent, [100 * one["teacher_accuracy"] for one in rounds], "s--", label="teacher")
        ax.set_xlabel("KB sent by a device, at most")
        ax.set_ylabel("accuracy in %")
        ax.legend()
        return ax

    def __repr__(self) -> str:
        return f"Result(accuracy={self.accuracy:.4f}, uplink_bytes={self.uplink_bytes})"


def distill(
    X: Any, y: Any, per_class: int = 10, method: str = "kip", *, features: str | None = None,
    depth: int | None = None, steps: int | None = None, seed: int = 0,
) -> DistilledSet:
    """Replace a data set by ``per_class`` synthetic samples of each class.

    ``method`` is ``"kip"`` (kernel inducing points with learnt labels), ``"kmeans"`` or
    ``"label-solve"``. ``features`` is a feature stage (``"raw"``, ``"lifted"``, ``"window"``,
    ``"patches"``, ``"series"``); left out, held-out rows choose one, and the samples may be in its
    features instead of the inputs' own space: with ``"raw"`` or ``"lifted"`` they are inputs.
    """
    X, y = _rows(X, "X"), np.asarray(y)
    classes, numbers = _numbered(y, len(X))
    points = _alambic.distil(
        _flat(X, X.shape[1:]), numbers, sides=list(X.shape[1:]), classes=_names(classes),
        per_class=_count(per_class, "per_class"), method=method, features=features, depth=depth,
        steps=steps, seed=seed,
    )
    return DistilledSet(points, classes)


def simulate(
    X: Any, y: Any, partition: str | None = None, devices: int = 10, *, X_test: Any = None,
    y_test: Any = None, users: Any = None, rounds: int = 1, uplink_bytes_max: int = 100_000,
    features: str | None = None, student: str | None = None, steps: int = 6_000,
    rows_min: int | None = None, baselines: bool = False, seed: int = 0, progress: bool = False,
) -> Result:
    """Run a fleet of ``devices`` that share no rows and teach one student.

    ``partition`` spreads the rows: ``"iid"``, ``"dirichlet:0.1"``, ``"shards:2"`` or ``"natural"``
    (one device for each of ``users``). A fifth of the rows is held out for testing unless
    ``X_test`` and ``y_test`` are given. ``student`` is such as ``"mlp:200"`` or
    ``"cnn:16,32/64"``. ``baselines`` adds the same student trained without federation and by
    other federated methods. ``progress`` tells on standard error what goes on.
    """
    X, y = _rows(X, "X"), np.asarray(y)
    classes, numbers = _numbered(y, len(X))
    if (X_test is None) != (y_test is None):
        raise ValueError("give both X_test and y_test, or neither")
    if users is not None:
        users = np.unique(np.asarray(users), return_inverse=True)[1].astype(np.uint32)
        if len(users) != len(X):
            raise ValueError(f"users names {len(users)} rows, X has {len(X)}")
    if X_test is None:
        order = np.random.default_rng(seed).permutation(len(X))
        test, train = order[: len(X) // 5], np.sort(order[len(X) // 5 :])
        X, X_test, numbers, test_numbers = X[train], X[test], numbers[train], numbers[test]
        users = None if users is None else users[train]
    else:
        X_test, y_test = _rows(X_test, "X_test"), np.asarray(y_test)
        if X_test.shape[1:] != X.shape[1:]:
            raise ValueError(f"X_test has rows of {X_test.shape[1:]}, X of {X.shape[1:]}")
        unknown = np.setdiff1d(y_test, classes)
        if len(unknown):
            raise ValueError(f"y_test has labels that y has not: {unknown[:5]}")
        if len(y_test) != len(X_test):
            raise ValueError(f"y_test has {len(y_test)} labels, X_test {len(X_test)} rows")
        test_numbers = np.searchsorted(classes, y_test).astype(np.uint16)
    text, inner, points = _alambic.simulate(
        _flat(X, X.shape[1:]), numbers, users, _flat(X_test, X.shape[1:]), test_numbers,
        sides=list(X.shape[1:]), classes=_names(classes), partition=partition,
        devices=_count(devices, "devices"), rounds=_count(rounds, "rounds"),
        uplink_bytes_max=_count(uplink_bytes_max, "uplink_bytes_max"), features=features,
        student=student, steps=_count(steps, "steps"), rows_min=rows_min, baselines=baselines,
        seed=seed, progress=progress,
    )
    return Result(json.loads(text), Student(inner, classes), DistilledSet(points, classes))


def load_student(path: str | os.PathLike[str]) -> Student:
    """Read a student from an .npz or .safetensors file that alambic has written."""
    with open(path, "rb") as file:
        return Student(_alambic.read_student(file.read()))


def _rows(X: Any, name: str) -> np.ndarray:
    X = np.asarray(X)
    if X.ndim < 2 or X.ndim > 4:
        raise ValueError(
            f"{name} has shape {X.shape}; expected rows × features, rows × time × channels, or "
            "rows × height × width (× channels)"
        )
    if not (np.issubdtype(X.dtype, np.number) or X.dtype == bool):
        raise TypeError(f"{name} has dtype {X.dtype}; expected numbers")
    return X


def _flat(X: Any, sides: tuple[int, ...]) -> np.ndarray:
    X = np.asarray(X, dtype=np.float32)
    width = int(np.prod(sides))
    if X.shape[1:] != tuple(sides) and X.shape[1:] != (width,):
        raise ValueError(f"rows have shape {X.shape[1:]}, expected {tuple(sides)} or {(width,)}")
    return np.ascontiguousarray(X.reshape(len(X), width))


def _numbered(y: np.ndarray, rows: int) -> tuple[np.ndarray, np.ndarray]:
    if y.ndim != 1 or len(y) != rows:
        raise ValueError(f"y has shape {y.shape}; expected one label for each of {rows} rows")
    if np.issubdtype(y.dtype, np.floating) and not np.isfinite(y).all():
        raise ValueError("y has labels that are no number; leave out rows without a label")
    classes, numbers = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y has {len(classes)} class, at least 2 are needed")
    if len(classes) > 1000:
        raise ValueError(f"y has {len(classes)} classes, at most 1000 are learnt")
    return classes, numbers.astype(np.uint16)


def _names(classes: np.ndarray) -> list[str]:
    return [str(name) for name in classes.tolist()]


def _count(value: int, name: str) -> int:
    if not isinstance(value, (int, np.integer)) or value < 1 or value > 2**31:
        raise ValueError(f"{name} is {value!r}, expected a positive whole number")
    return int(value)
