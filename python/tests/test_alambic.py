"""What the package promises, on data made here."""

import signal
import threading
import time
import unittest
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

import alambic


def blobs(rows=900, seed=0):
    """Three clouds of four measurements, in units of their own."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 3, rows)
    centres = np.array([[0, 0, 5, 1], [4, 0, 0, 1], [0, 4, 0, 1]])
    X = (centres[y] + random.normal(size=(rows, 4))) * [1, 10, 100, 1] + [0, 5, 0, 3]
    return X, np.array(["red", "green", "blue"])[y]


class Distill(unittest.TestCase):
    def test_samples_teach_as_well_as_the_data(self):
        X, y = blobs()
        kept = alambic.distill(X[:600], y[:600], per_class=5, features="lifted", steps=200)
        self.assertEqual(kept.X.shape, (15, 4))
        self.assertEqual(kept.space, "input")
        self.assertEqual(list(kept.classes_), ["blue", "green", "red"])
        self.assertEqual(kept.y.shape, (15, 3))
        # Nearest sample, each value in its own unit.
        scale = X[:600].std(0)
        apart = ((X[600:, None] - kept.X[None]) / scale) ** 2
        said = kept.labels[apart.sum(2).argmin(1)]
        self.assertGreater((said == y[600:]).mean(), 0.9)

    def test_a_seed_gives_the_same_samples(self):
        X, y = blobs(300)
        one, other = (alambic.distill(X, y, 3, "kmeans", features="lifted") for _ in range(2))
        np.testing.assert_array_equal(one.X, other.X)

    def test_samples_are_saved(self):
        X, y = blobs(300)
        kept = alambic.distill(X, y, 2, "kmeans", features="lifted")
        with TemporaryDirectory() as folder:
            path = Path(folder) / "points.npz"
            kept.save(path)
            np.testing.assert_array_equal(np.load(path)["X"], kept.X)
            with self.assertRaisesRegex(ValueError, "neither .npz nor .csv"):
                kept.save(Path(folder) / "points.txt")

    def test_what_does_not_fit_is_refused(self):
        X, y = blobs(300)
        for arguments, message in [
            ((X[0], y), "shape"),
            ((X, y[:10]), "300 rows"),
            ((X, np.zeros(300)), "1 class"),
            ((np.where(X > 0, np.nan, X), y), "holds NaN"),
            ((X, y, 0), "per_class is 0"),
            ((X, y, 10, "magic"), "no method"),
            ((X, y, 200), "too few"),
        ]:
            with self.subTest(message), self.assertRaisesRegex(ValueError, message):
                alambic.distill(*arguments)
        with self.assertRaisesRegex(TypeError, "dtype"):
            alambic.distill(X.astype(str), y)

    def test_control_c_ends_it(self):
        X, y = blobs(3000)
        # Whoever starts this in the background may have it ignore the key.
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        self.addCleanup(signal.signal, signal.SIGINT, before)
        timer = threading.Timer(1.0, lambda: signal.raise_signal(signal.SIGINT))
        begun = time.monotonic()
        timer.start()
        with self.assertRaises(KeyboardInterrupt):
            alambic.distill(X, y, 50, steps=1_000_000, features="lifted", depth=2)
        self.assertLess(time.monotonic() - begun, 20)

    def test_other_threads_run_meanwhile(self):
        X, y = blobs(1500)
        ticks, done = [], threading.Event()

        def tick():
            while not done.wait(0.01):
                ticks.append(time.monotonic())

        thread = threading.Thread(target=tick)
        thread.start()
        begun = time.monotonic()
        alambic.distill(X, y, 20, steps=300, features="lifted", depth=2)
        took = time.monotonic() - begun
        done.set()
        thread.join()
        self.assertGreater(len(ticks), 10 * min(took, 1.0))


class Simulate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.X, cls.y = blobs(1500)
        cls.result = alambic.simulate(
            cls.X, cls.y, "dirichlet:1", devices=3, steps=300, uplink_bytes_max=30_000
        )

    def test_a_fleet_learns_without_sharing_rows(self):
        self.assertGreater(self.result.accuracy, 0.9)
        self.assertLessEqual(self.result.uplink_bytes, 30_000)
        self.assertEqual(len(self.result.outcome["rounds"]), 1)
        self.assertIsNone(self.result.baselines)
        self.assertEqual(self.result.points.space, "input")

    def test_the_student_survives_its_file_and_is_a_model(self):
        student = self.result.student
        said = student.predict_proba(self.X)
        np.testing.assert_allclose(said.sum(1), 1, atol=1e-5)
        self.assertGreater((student.predict(self.X) == self.y).mean(), 0.9)
        with TemporaryDirectory() as folder:
            for ending in ("npz", "safetensors"):
                path = Path(folder) / f"student.{ending}"
                student.save(path)
                again = alambic.load_student(path)
                np.testing.assert_array_equal(again.predict_proba(self.X), said)
                self.assertEqual(list(again.classes_), ["blue", "green", "red"])
            self.assertIn("RAM", student.save(Path(folder) / "student.c"))
            broken = Path(folder) / "broken.npz"
            broken.write_bytes(b"PK nothing")
            with self.assertRaisesRegex(ValueError, "not a student"):
                alambic.load_student(broken)
            with self.assertRaises(FileNotFoundError):
                alambic.load_student(Path(folder) / "none.npz")
        try:
            import onnxruntime
        except ImportError:
            self.skipTest("onnxruntime is not installed")
        session = onnxruntime.InferenceSession(student.to_onnx())
        other = session.run(["probabilities"], {"input": self.X.astype(np.float32)})[0]
        np.testing.assert_allclose(other, said, atol=1e-4)

    def test_rows_of_another_shape_are_refused(self):
        with self.assertRaisesRegex(ValueError, r"expected \(4,\)"):
            self.result.student.predict(self.X[:, :3])

    def test_options_that_mean_nothing_are_refused(self):
        for options, message in [
            ({"partition": "at random"}, "not one of natural"),
            ({"student": "rnn:3"}, "no student"),
            ({"partition": "natural"}, "user"),
            ({"X_test": self.X}, "both"),
            ({"X_test": self.X, "y_test": np.repeat("grey", 1500)}, "grey"),
            ({"devices": 0}, "devices is 0"),
        ]:
            with self.subTest(message), self.assertRaisesRegex(ValueError, message):
                alambic.simulate(self.X, self.y, **options)

    def test_a_fleet_that_cannot_speak_says_why(self):
        with self.assertRaisesRegex(alambic.AlambicError, "rows"):
            alambic.simulate(self.X[:60], self.y[:60], "iid", devices=20, steps=10, rows_min=50)


if __name__ == "__main__":
    unittest.main()
