//! Every length, count and timeout that bounds a peer, in one place.

/// Longest frame on a control stream.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
/// Longest blob a device may offer.
pub const BLOB_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of a blob that travel between two progress marks.
pub const CHUNK_BYTES: usize = 16 * 1024;
/// Most classes a task may have.
pub const CLASSES_MAX: usize = 1_000;
/// Most features the kernel sees.
pub const FEATURES_MAX: usize = 65_536;
/// Most values in one raw input.
pub const INPUT_VALUES_MAX: usize = 1 << 20;
/// Most points of a transfer set.
pub const POINTS_MAX: usize = 10_000;
/// Most rows one device may claim to hold.
pub const ROWS_MAX: u64 = 1 << 40;
/// A transfer that makes no progress for this long is given up.
pub const NO_PROGRESS_MS_MAX: u64 = 30_000;

const _: () = assert!(CHUNK_BYTES < FRAME_BYTES_MAX);
const _: () = assert!((FRAME_BYTES_MAX as u64) < BLOB_BYTES_MAX);
