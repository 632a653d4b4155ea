"""The log-mel spectrum of a test sound, from the published formulas alone.

Writes common/protocol/src/features/mel/reference.txt, which the tests of the mel
stage compare with: `python3 scripts/mel_reference.py` (NumPy).

Frames of 25 ms every 10 ms, a periodic Hann window, zero-padded to the next power of
two; the power spectrum; 32 triangles of height 1 between 34 frequencies at equal steps
of 2595*log10(1 + f/700) from 0 to half the rate; the natural logarithm of 1e-6 more.
"""
import pathlib

import numpy as np

RATE, SAMPLES, BANDS = 8000, 4000, 32

time = np.arange(SAMPLES) / RATE
sound = 0.4 * np.sin(2 * np.pi * (200 * time + 900 * time**2)) + 0.1 * np.cos(2 * np.pi * 2500 * time)
sound = sound.astype(np.float32).astype(float)

frame, hop = RATE // 40, RATE // 100
length = 1 << (frame - 1).bit_length()
window = np.hanning(frame + 1)[:-1]
starts = range(0, SAMPLES - frame + 1, hop)
power = np.array([np.abs(np.fft.rfft(window * sound[s : s + frame], length)) ** 2 for s in starts])

top = 2595 * np.log10(1 + RATE / 2 / 700)
edges = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
bins = np.arange(length // 2 + 1) * RATE / length
bank = np.array([np.interp(bins, edges[b : b + 3], [0, 1, 0]) for b in range(BANDS)])
logs = np.log(power @ bank.T + 1e-6)

path = pathlib.Path(__file__).parent.parent / "common/protocol/src/features/mel/reference.txt"
path.write_text("".join(" ".join(f"{value:.6f}" for value in logs[at]) + "\n" for at in (0, 10, 20, 47)))
