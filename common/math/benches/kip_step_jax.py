"""The KIP step of benches/kernel.rs in JAX: forward, backward and Adam, jitted,
f32, on the CPU. For comparing on one machine in one run; see docs/results.md.

    pip install jax
    python common/math/benches/kip_step_jax.py [TARGETS]

Prints the least and the median of 50 steps after a warm-up, of wall time and of
the process's processor time, which alone compares on a machine that others use.
"""

import os
import sys
import time

THREADS = os.environ.setdefault("ALAMBIC_JAX_THREADS", "1")
if THREADS == "1":
    os.environ["XLA_FLAGS"] = (
        "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    )

import jax
import jax.numpy as jnp
import numpy as np

POINTS, FEATURES, CLASSES, RHO = 100, 784, 10, 1e-4
WEIGHT, BIAS = 2.0, 0.01


def ntk(a, b, same):
    """The tangent kernel of one hidden layer."""
    width = a.shape[1]
    dots = WEIGHT / width * a @ b.T + BIAS
    qa = WEIGHT / width * jnp.sum(a * a, 1) + BIAS
    qb = WEIGHT / width * jnp.sum(b * b, 1) + BIAS
    size = jnp.sqrt(qa[:, None] * qb[None])
    # On the diagonal the cosine is 1 and its gradient must not divide by 0.
    most = 1 - 1e-6
    cosine = jnp.clip(dots / size, -most, most)
    angle = jnp.arccos(cosine)
    kappa0 = (jnp.pi - angle) / jnp.pi
    kappa1 = (jnp.sqrt(1 - cosine * cosine) + (jnp.pi - angle) * cosine) / jnp.pi
    if same:
        diagonal = jnp.eye(a.shape[0], dtype=bool)
        kappa0 = jnp.where(diagonal, 1.0, kappa0)
        kappa1 = jnp.where(diagonal, 1.0, kappa1)
    nngp = size * kappa1 + BIAS
    return nngp + kappa0 * dots


def loss(parameters, x, t):
    points, labels = parameters
    kss = ntk(points, points, True)
    ridge = RHO * jnp.trace(kss) / POINTS
    alpha = jax.scipy.linalg.solve(
        kss + ridge * jnp.eye(POINTS), labels, assume_a="pos"
    )
    return 0.5 * jnp.mean((ntk(x, points, False) @ alpha - t) ** 2)


def adam(values, gradients, first, second, count, rate=1e-3):
    tree = jax.tree_util.tree_map
    first = tree(lambda m, g: 0.9 * m + 0.1 * g, first, gradients)
    second = tree(lambda v, g: 0.999 * v + 0.001 * g * g, second, gradients)
    def move(p, m, v):
        return p - rate * (m / (1 - 0.9**count)) / (
            jnp.sqrt(v / (1 - 0.999**count)) + 1e-8
        )
    return tree(move, values, first, second), first, second


@jax.jit
def step(values, first, second, count, x, t):
    value, gradients = jax.value_and_grad(loss)(values, x, t)
    return (value, *adam(values, gradients, first, second, count))


def main():
    targets = int(sys.argv[1]) if len(sys.argv) > 1 else 5000
    random = np.random.default_rng(1)
    uniform = lambda *shape: jnp.asarray(random.uniform(-1, 1, shape), jnp.float32)
    x, t = uniform(targets, FEATURES), uniform(targets, CLASSES)
    values = (uniform(POINTS, FEATURES), uniform(POINTS, CLASSES))
    zeros = jax.tree_util.tree_map(jnp.zeros_like, values)
    state = (values, zeros, zeros)
    walls, busy = [], []
    for count in range(1, 56):
        start = time.perf_counter(), time.process_time()
        value, *state = step(*state, jnp.float32(count), x, t)
        jax.block_until_ready(state)
        walls.append(time.perf_counter() - start[0])
        busy.append(time.process_time() - start[1])
    said = []
    for name, times in [("wall", sorted(walls[5:])), ("processor", sorted(busy[5:]))]:
        least, median = 1e3 * times[0], 1e3 * times[len(times) // 2]
        said.append(f"{name} {least:.2f} ms least, {median:.2f} ms median")
    print(
        f"jax {jax.__version__}, {THREADS} thread(s), {targets} targets: "
        f"{'; '.join(said)}; loss {float(value):.6f}"
    )


if __name__ == "__main__":
    main()
