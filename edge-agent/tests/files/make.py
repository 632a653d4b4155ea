"""Makes the Parquet files beside this one; needs pyarrow."""

import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 40
start_ns = 1_764_500_000_000_000_000
at = [start_ns + row * 500_000_000 for row in range(ROWS)]
flow = [None if row == 8 else 12.5 + row * 0.5 for row in range(ROWS)]
table = pa.table(
    {
        "at_ns": pa.array(at, pa.timestamp("ns", "UTC")),
        "at_us": pa.array([value // 1_000 for value in at], pa.timestamp("us")),
        "at_ms": pa.array([value // 1_000_000 for value in at], pa.timestamp("ms", "UTC")),
        "day": pa.array([20_000 + row for row in range(ROWS)], pa.date32()),
        "flow_lpm": pa.array(flow, pa.float64()),
        "pressure_bar": pa.array([1.25 + row // 4 * 0.125 for row in range(ROWS)], pa.float32()),
        "valve": pa.array([row % 2 == 1 for row in range(ROWS)]),
        "notes": pa.array([["a", "b"]] * ROWS),
        "label": pa.array(["blocked" if row % 4 == 3 else "ok" for row in range(ROWS)]).dictionary_encode(),
    }
)
for name, compression in [("snappy", "snappy"), ("gzip", "gzip"), ("zstd", "zstd"), ("plain", "none")]:
    pq.write_table(table, f"pump-{name}.parquet", compression=compression, row_group_size=25)
