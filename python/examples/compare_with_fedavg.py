"""Simulate a fleet and compare it with other federated methods, bytes included."""

from sklearn.datasets import load_digits

import alambic

X, y = load_digits(return_X_y=True)
result = alambic.simulate(
    X.reshape(-1, 8, 8), y, "dirichlet:0.1", devices=10, steps=1000, baselines=True
)
print(f"{'method':28} {'accuracy':>9} {'rounds':>6} {'KB up':>8} {'KB down':>8}")
print(
    f"{'distilled, one round':28} {result.accuracy:9.4f} {1:6} "
    f"{result.uplink_bytes / 1e3:8.1f} {result.downlink_bytes / 1e3:8.1f}"
)
for other in result.baselines.get("federated", []):
    print(
        f"{other['name']:28} {other['accuracy']:9.4f} {other['rounds']:6} "
        f"{other['uplink_bytes'] / 1e3:8.1f} {other['downlink_bytes'] / 1e3:8.1f}"
    )
print(f"{'all rows in one place':28} {result.baselines['pooled_student']:9.4f}")
