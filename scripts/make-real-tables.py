#!/usr/bin/env python3
"""Makes the real tables of "Other data" in docs/results.md from R's mlbench.

Usage (Debian): apt-get install r-cran-mlbench python3-numpy
scripts/make-real-tables.py FOLDER

Their sources are named in mlbench's help pages; most come from the UCI
repository. Three fifths of the rows, drawn with one seed, are for training.
"""

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

# Name of the file: name in mlbench, and the column of the classes.
TABLES = {
    "dna": ("DNA", "Class"),
    "letter": ("LetterRecognition", "lettr"),
    "satellite": ("Satellite", "classes"),
    "shuttle": ("Shuttle", "Class"),
    "vehicle": ("Vehicle", "Class"),
    "vowel": ("Vowel", "Class"),
}

# Ordered factors and yes-or-no ones as numbers; the classes last.
TO_CSV = """
arguments <- commandArgs(TRUE)
data(list = arguments[1], package = "mlbench")
table <- get(arguments[1])
number <- function(column) {
  if (!is.factor(column)) return(as.numeric(column))
  told <- suppressWarnings(as.numeric(as.character(column)))
  if (anyNA(told)) as.numeric(column) else told
}
inputs <- data.frame(lapply(table[setdiff(names(table), arguments[2])], number))
inputs$label <- as.character(table[[arguments[2]]])
write.csv(inputs, arguments[3], row.names = FALSE)
"""

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
with tempfile.TemporaryDirectory() as scratch:
    program, written = Path(scratch, "table.R"), Path(scratch, "table.csv")
    program.write_text(TO_CSV)
    for name, (table, column) in TABLES.items():
        subprocess.run(["Rscript", program, table, column, written], check=True)
        with written.open() as file:
            rows = list(csv.reader(file))[1:]
        inputs = np.array([[float(value) for value in row[:-1]] for row in rows], np.float32)
        labels = np.array([row[-1] for row in rows])
        order = np.random.default_rng(11).permutation(len(labels))
        inputs, labels = inputs[order], labels[order]
        train = len(labels) * 3 // 5
        np.savez(
            folder / f"{name}.npz",
            X_train=inputs[:train],
            y_train=labels[:train],
            X_test=inputs[train:],
            y_test=labels[train:],
        )
        print(f"{name}: {len(labels)} rows of {inputs.shape[1]}, {len(set(labels))} classes")
