#!/usr/bin/env python3
"""Makes the tables and images of "Other data" in docs/results.md.

Usage: pip install scikit-learn; scripts/make-tables.py FOLDER
(measured with scikit-learn 1.9.1 and NumPy 2.4.6)
"""

import sys
from pathlib import Path

import numpy as np
from sklearn import datasets

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
random = np.random.default_rng(7)


def save(name, inputs, labels, train, **more):
    order = random.permutation(len(labels))
    inputs, labels = inputs[order], labels[order].astype(np.int64)
    np.savez(
        folder / f"{name}.npz",
        X_train=inputs[:train],
        y_train=labels[:train],
        X_test=inputs[train:],
        y_test=labels[train:],
        **more,
    )


def table(seed, rows, features, informative, redundant, classes, clusters, apart, flipped):
    return datasets.make_classification(
        rows,
        features,
        n_informative=informative,
        n_redundant=redundant,
        n_classes=classes,
        n_clusters_per_class=clusters,
        class_sep=apart,
        flip_y=flipped,
        random_state=seed,
    )


f32 = np.float32
for name, load, train in (
    ("iris", datasets.load_iris, 100),
    ("wine", datasets.load_wine, 120),
    ("cancer", datasets.load_breast_cancer, 400),
):
    known = load()
    save(name, known.data.astype(f32), known.target, train)

# 20 classes, and 2 in eight clusters each.
x, y = table(1, 8000, 30, 20, 4, 20, 1, 2.0, 0.02)
save("c20", x.astype(f32), y, 5000)
x, y = table(2, 7000, 30, 10, 5, 2, 8, 1.5, 0.02)
save("c2", x.astype(f32), y, 4000)

# Units from 1e-4 to 1e4, each column with an offset.
x, y = table(3, 7000, 24, 14, 3, 7, 2, 1.6, 0.01)
x = (x + 3 * random.normal(size=24)) * 10.0 ** random.uniform(-4, 4, 24)
save("wild", x.astype(f32), y, 4000)

# Log-normal, sinh and Cauchy-like columns, straight ones, and one-hot ones.
x, y = table(4, 8000, 16, 12, 2, 7, 2, 1.6, 0.01)
bent = x / x.std(0)
bent[:, 0::4] = np.exp(2.0 * bent[:, 0::4])
bent[:, 1::4] = np.sinh(2.5 * bent[:, 1::4])
bent[:, 2::4] = np.tan(np.arctan(bent[:, 2::4]) * 0.97) ** 3
kind = (x[:, 3] > 0) * 1 + (x[:, 7] > 0.5) * 2
save("heavy", np.hstack([bent * 100, np.eye(4)[kind]]).astype(f32), y, 5000)

# Cauchy noise on every value.
x, y = table(5, 7000, 20, 12, 0, 5, 2, 2.0, 0)
x = x + 0.15 * random.standard_t(1.0, size=x.shape)
save("cauchy", x.astype(f32), y, 4000)

x, y = datasets.make_moons(4000, noise=0.2, random_state=6)
save("moons", x.astype(f32), y, 2000)

# Skewed columns, counts, a binary and 30 one-hot ones; seven unbalanced classes.
rows = 8000
z = random.normal(size=(rows, 10))
scores = z @ (random.normal(size=(10, 7)) * 1.2) + np.sin(2 * z[:, :7]) * 2
y = (scores + np.array([2.5, 2, 0, -1, -2, -1, -1.5])).argmax(1)
soil = np.clip(np.floor((z[:, 9] * 4 + z[:, 0] * 2) + 15), 0, 29).astype(int)
columns = [
    np.exp(z[:, :3]) * 300,
    random.poisson(np.exp(z[:, 3:5] + 1)),
    z[:, 5:8] * [1, 50, 1000],
    z[:, 8:9] ** 3 * 40,
    z[:, 9:] > 0,
    np.eye(30)[soil],
]
save("cover", np.hstack(columns).astype(f32), y, 5000)

x, y = table(8, 9000, 64, 40, 8, 100, 1, 3.0, 0)
save("c100", x.astype(f32), y, 5000)

# Images of 5 x 7 in single precision: ten shapes, shifted by up to a pixel.
shapes = (random.random((10, 7, 5)) > 0.5) * 1.0
y = random.integers(0, 10, 5000)
shifts = random.integers(-1, 2, (5000, 2))
x = np.stack([np.roll(one, tuple(by), (0, 1)) for one, by in zip(shapes[y], shifts)])
x = x * random.uniform(0.5, 1.5, (5000, 1, 1)) + random.normal(size=(5000, 7, 5)) * 0.45
save("glyph", x.astype(f32), y, 3000)
