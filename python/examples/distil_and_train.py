"""Distil a data set and train a model of scikit-learn on what is left of it.

    python distil_and_train.py [FILE.npz]

FILE has X_train, y_train, X_test and y_test, as MNIST is often passed around; left out, the digits
that come with scikit-learn are used.
"""

import sys

import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import alambic

if len(sys.argv) > 1:
    file = np.load(sys.argv[1])
    X_train, y_train, X_test, y_test = (file[n] for n in ("X_train", "y_train", "X_test", "y_test"))
    some = np.random.default_rng(0).permutation(len(X_train))[:5000]
    X_train, y_train = X_train[some], y_train[some]
else:
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X.reshape(-1, 8, 8), y, test_size=0.2, random_state=0, stratify=y
    )

# Raw, so that the samples are images as well.
kept = alambic.distill(X_train, y_train, per_class=10, features="raw", depth=2, steps=300)
print(f"{len(X_train)} images became {len(kept)}: {kept}")


def accuracy(X, y, scale):
    # Rows of one length: what a sample's brightness is, distillation leaves open.
    unit = lambda rows: rows / np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-9) * scale
    model = LogisticRegression(max_iter=500).fit(unit(X.reshape(len(X), -1).astype(float)), y)
    return model.score(unit(X_test.reshape(len(X_test), -1).astype(float)), y_test)


print(f"logistic regression on all rows: {accuracy(X_train, y_train, 10):.3f}")
print(f"logistic regression on the distilled samples: {accuracy(kept.X, kept.labels, 10):.3f}")
rows = np.concatenate([np.flatnonzero(y_train == c)[:10] for c in np.unique(y_train)])
print(f"logistic regression on as many rows: {accuracy(X_train[rows], y_train[rows], 10):.3f}")
