#!/usr/bin/env python3
"""Makes the sets of "Which stage" in docs/results.md, whose best feature stages differ.

Usage: pip install numpy; scripts/make-stages.py FOLDER [SEED]

Each function makes inputs and what they are labelled with: 2,000 rows for training and
1,000 for the test.
"""

import sys
from pathlib import Path

import numpy as np

TURN = 2 * np.pi


def bump(r, n):
    """The class is where a bump is."""
    y = r.integers(0, 5, n)
    t = np.arange(80)
    at = 8 + 16 * y + r.normal(0, 2, n)
    x = np.exp(-(((t - at[:, None]) / 4) ** 2))[:, :, None]
    return x + r.normal(0, 0.3, (n, 80, 1)), y


def frequency(r, n):
    """The class is a frequency, of any phase."""
    y = r.integers(0, 5, n)
    t = np.arange(128)
    f = (4 + 2 * y) / 128
    x = np.sin(TURN * (f[:, None] * t + r.random((n, 1))))[:, :, None]
    return x + r.normal(0, 0.7, (n, 128, 1)), y


def phase(r, n):
    """The class is the phase of one frequency."""
    y = r.integers(0, 4, n)
    t = np.arange(64)
    x = np.sin(TURN * (3 / 64 * t + y[:, None] / 4 + r.normal(0, 0.04, (n, 1))))[:, :, None]
    return x + r.normal(0, 0.7, (n, 64, 1)), y


def correlation(r, n):
    """The class is which two of four channels go together."""
    y = r.integers(0, 4, n)
    x = r.normal(0, 1, (n, 100, 4))
    pair = np.array([(0, 1), (1, 2), (2, 3), (0, 3)])[y]
    i = np.arange(n)
    x[i, :, pair[:, 0]] = 0.6 * x[i, :, pair[:, 1]] + 0.8 * x[i, :, pair[:, 0]]
    return x, y


def short_series(r, n):
    """The class is a frequency in 30 samples of three channels."""
    y = r.integers(0, 4, n)
    t = np.arange(30)
    f = (2 + 1.5 * y) / 30
    x = np.sin(TURN * (f[:, None, None] * t[None, :, None] + r.random((n, 1, 3))))
    return x + r.normal(0, 0.6, (n, 30, 3)), y


def texture(r, n):
    """The class is the direction of a grating, of any phase."""
    y = r.integers(0, 4, n)
    a = y * np.pi / 4 + r.normal(0, 0.1, n)
    u, v = np.mgrid[:20, :20]
    p = r.random(n) * TURN
    along = np.cos(a)[:, None, None] * u + np.sin(a)[:, None, None] * v
    x = np.sin(0.9 * along + p[:, None, None])
    return x + r.normal(0, 1, x.shape), y


def colour_gratings(r, n):
    """The class is the colour and the frequency of a grating in place."""
    y = r.integers(0, 6, n)
    v = np.mgrid[:12, :30][1]
    f = 0.4 + 0.15 * (y // 2)
    p = r.normal(0, 0.3, n)
    colour = np.array([[1, 0.5, 0], [0, 0.5, 1]])[y % 2]
    x = np.sin(f[:, None, None] * v + p[:, None, None])[..., None] * colour[:, None, None, :]
    return x + r.normal(0, 0.8, x.shape), y


def shape_fixed(r, n):
    """The class is a shape in the middle."""
    y = r.integers(0, 4, n)
    x = r.normal(0, 1, (n, 18, 18))
    u, v = np.mgrid[:18, :18] - 8.5
    square = (abs(u) < 4) & (abs(v) < 4)
    disc, diamond = u * u + v * v < 25, abs(u) + abs(v) < 6
    cross = (abs(u) < 2) | (abs(v) < 2)
    return x + 1.0 * np.array([square, disc, diamond, cross])[y], y


def shape_anywhere(r, n):
    """The class is an outline, an upright or a slanted cross, anywhere."""
    y = r.integers(0, 3, n)
    x = r.normal(0, 0.3, (n, 20, 20))
    u, v = np.mgrid[:20, :20]
    for i in range(n):
        a, b = r.integers(4, 16, 2)
        near = (abs(u - a) < 4) & (abs(v - b) < 4)
        outline = near & ~((abs(u - a) < 3) & (abs(v - b) < 3))
        upright, slanted = ((u == a) | (v == b)) & near, (abs(u - a) == abs(v - b)) & near
        x[i] += [outline, upright, slanted][y[i]]
    return x, y


def place_image(r, n):
    """The class is which rows and columns of an image are lit."""
    y = r.integers(0, 8, n)
    x = r.normal(0, 1, (n, 16, 16))
    for i in range(n):
        a, b = 2 * y[i], 15 - 2 * y[i]
        x[i, a : a + 2, :] += 0.7
        x[i, :, b - 1 : b + 1] += 0.7
    return x, y


def one_hot(r, n):
    """Eight one-hot columns of ten values; the class is the largest of three sums."""
    w = np.random.default_rng(5).normal(0, 1, (8, 10, 3))
    c = r.integers(0, 10, (n, 8))
    s = sum(w[k][c[:, k]] for k in range(8)) + r.gumbel(0, 0.5, (n, 3))
    return np.eye(10)[c].reshape(n, 80), s.argmax(1)


def one_hot_numbers(r, n):
    """Four one-hot columns of eight values beside five numbers."""
    g = np.random.default_rng(6)
    w, v = g.normal(0, 1, (4, 8, 3)), g.normal(0, 1, (5, 3))
    c, z = r.integers(0, 8, (n, 4)), r.normal(0, 1, (n, 5))
    s = sum(w[k][c[:, k]] for k in range(4)) + z @ v + r.gumbel(0, 0.5, (n, 3))
    return np.hstack([np.eye(8)[c].reshape(n, 32), z * [1, 10, 100, 0.1, 5]]), s.argmax(1)


def linear(r, n):
    """Log-normal columns; the class is the largest of four sums of their logarithms."""
    w = np.random.default_rng(7).normal(0, 1, (12, 4))
    z = r.normal(0, 1, (n, 12))
    return np.exp(z * 0.5), (z @ w + r.gumbel(0, 0.5, (n, 4))).argmax(1)


def products(r, n):
    """The class is the signs of two products of two of ten columns."""
    z = r.normal(0, 1, (n, 10))
    return z, 2 * (z[:, 0] * z[:, 1] > 0) + (z[:, 2] * z[:, 3] > 0)


def rings(r, n):
    """The class is how far three of eight columns are from zero together."""
    z = r.normal(0, 1, (n, 8))
    return z, np.digitize((z[:, :3] ** 2).sum(1), [1.4, 2.4, 3.7])


def number_bump(r, n):
    """The number is where a bump is."""
    t = np.arange(60)
    at = r.uniform(5, 55, n)
    x = np.exp(-(((t - at[:, None]) / 4) ** 2))[:, :, None]
    return x + r.normal(0, 0.3, (n, 60, 1)), at


def number_frequency(r, n):
    """The number is a frequency, of any phase."""
    t = np.arange(100)
    f = r.uniform(2, 12, n)
    x = np.sin(TURN * (f[:, None] / 100 * t + r.random((n, 1))))[:, :, None]
    return x + r.normal(0, 0.5, (n, 100, 1)), f


SETS = [
    bump, frequency, phase, correlation, short_series, texture, colour_gratings, shape_fixed,
    shape_anywhere, place_image, one_hot, one_hot_numbers, linear, products, rings, number_bump,
    number_frequency,
]

if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    for at, make in enumerate(SETS):
        x, y = make(np.random.default_rng([seed, at]), 3000)
        x, y = x.astype(np.float32), y.astype(np.float32 if y.dtype.kind == "f" else np.int64)
        np.savez_compressed(
            folder / f"{make.__name__}.npz",
            X_train=x[:2000], y_train=y[:2000], X_test=x[2000:], y_test=y[2000:],
        )
