#!/usr/bin/env python3
"""Makes the small data sets of "Few rows" in docs/results.md.

Usage: pip install aeon==1.6.0 numpy
scripts/make-few-rows.py FOLDER [FILE.npz:ROWS ...]

The series are those that the package aeon carries, of the UCR and UEA archives,
with their own split. For every FILE.npz:ROWS so many training rows are drawn
from it, with one seed; the test set is its first 2,000 test rows.
"""

import importlib.util
import sys
from pathlib import Path

import numpy as np

SERIES = {
    "GunPoint": "GunPoint",
    "ItalyPowerDemand": "ItalyPowerDemand",
    "JapaneseVowels": "JapaneseVowels_eq",
    "OSULeaf": "OSULeaf",
}


def rows_of(path):
    """The series (rows x time x channels) and classes of a .ts file."""
    lines = path.read_text(encoding="latin-1").splitlines()
    first = next(at for at, line in enumerate(lines) if line.lower().startswith("@data")) + 1
    fields = [line.strip().split(":") for line in lines[first:] if line.strip()]
    series = [[[float(value) for value in one.split(",")] for one in row[:-1]] for row in fields]
    return np.array(series, np.float32).transpose(0, 2, 1), np.array([row[-1] for row in fields])


def save(folder, name, train, test, **more):
    (inputs, labels), (unseen, answers) = train, test
    np.savez(
        folder / f"{name}.npz",
        X_train=inputs,
        y_train=labels,
        X_test=unseen,
        y_test=answers,
        **more,
    )
    print(f"{name}: {inputs.shape} to learn from, {unseen.shape} unseen")


folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
carried = Path(importlib.util.find_spec("aeon").origin).parent / "datasets" / "data"
for name, stem in SERIES.items():
    parts = [rows_of(carried / name / f"{stem}_{part}.ts") for part in ("TRAIN", "TEST")]
    save(folder, name, *parts)
for asked in sys.argv[2:]:
    path, rows = asked.rsplit(":", 1)
    data = np.load(path)
    chosen = np.random.default_rng(1).permutation(len(data["X_train"]))[: int(rows)]
    save(
        folder,
        f"{Path(path).stem}{rows}",
        (data["X_train"][chosen], data["y_train"][chosen]),
        (data["X_test"][:2000], data["y_test"][:2000]),
        **({"scale": data["scale"]} if "scale" in data else {}),
    )
