//! Every length, count and timeout that bounds a peer, in one place.

/// Longest frame on a control stream.
pub const FRAME_BYTES_MAX: usize = 256 * 1024;
/// Longest blob a device may offer.
pub const BLOB_BYTES_MAX: u64 = 64 * 1024 * 1024;
/// Bytes of a blob that travel between two progress marks.
pub const CHUNK_BYTES: usize = 16 * 1024;
/// Most classes a task may have.
pub const CLASSES_MAX: usize = 1_000;
/// Most numbers a task may ask for.
pub const NUMBERS_MAX: usize = 64;
/// Most features the kernel sees.
pub const FEATURES_MAX: usize = 65_536;
/// Most values in one raw input.
pub const INPUT_VALUES_MAX: usize = 1 << 20;
/// Most points of a transfer set.
pub const POINTS_MAX: usize = 10_000;
/// Rows for each direction that a device tells of them, by an agent's policy where
/// its owner says nothing.
pub const ROWS_PER_DIRECTION: u32 = 15;
/// Mean number of rows of a class's samples, as a multiple of the fewest that one may
/// stand for; a class with fewer rows has one sample. Whether a row is among them can
/// be guessed with an area under the ROC curve of 0.72 from samples of five rows each,
/// and of 0.67 from samples of ten (HAR).
pub const SAMPLE_ROWS_MEAN: u32 = 2;
/// Most rows one device may claim to hold.
pub const ROWS_MAX: u64 = 1 << 40;
/// A transfer that makes no progress for this long is given up.
pub const NO_PROGRESS_MS_MAX: u64 = 30_000;
/// Most connections a coordinator has open, handshakes included.
pub const CONNECTIONS_MAX: usize = 20_000;
/// Most connections from one address (of IPv6, a /64): a fleet may stand
/// behind one router.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = 4_096;
/// Handshakes from one address a second, and ten times as many at once.
pub const HANDSHAKES_PER_ADDRESS_S: u32 = 100;
/// Requests to join or renew from one address a second, and ten times as many
/// at once.
pub const ENROLMENTS_PER_ADDRESS_S: u32 = 20;
/// Most handshakes under way.
pub const HANDSHAKES_MAX: usize = 2_048;
/// Above this many handshakes under way a newcomer's address is validated.
pub const VALIDATE_HANDSHAKES_ABOVE: usize = 128;
/// Above this many open connections a newcomer's address is validated.
pub const VALIDATE_ABOVE: usize = 1_000;
/// Most open connections of peers that show no certificate.
pub const ANONYMOUS_MAX: usize = 1_024;
/// Most addresses whose doings are remembered before idle ones are forgotten.
pub const ADDRESSES_MAX: usize = 16_384;
/// Breaches of the protocol before a device's sessions are refused.
pub const VIOLATIONS_MAX: u32 = 8;
/// For how long they are refused then.
pub const QUARANTINE_MS: u64 = 600_000;
/// Most devices whose sessions one gateway passes on.
pub const GATEWAY_SESSIONS_MAX: usize = 20_000;
/// Most bytes of a contribution that follow their offer unasked.
pub const WHOLE_BYTES_MAX: u64 = 32 << 10;
/// Most transfers of one device that wait to be looked at.
pub const SESSION_TRANSFERS_MAX: usize = 8;
/// Most streams that a gateway has open at a time.
pub const GATEWAY_STREAMS_MAX: u32 = 32_768;
/// Longest that joining or renewing may take.
pub const ENROL_MS_MAX: u64 = 60_000;

const _: () = assert!(CHUNK_BYTES < FRAME_BYTES_MAX);
// Who cannot be refused by address yet must not fill what is shared by all.
const _: () = assert!(VALIDATE_HANDSHAKES_ABOVE * 4 <= HANDSHAKES_MAX);
const _: () = assert!(VALIDATE_HANDSHAKES_ABOVE < CONNECTIONS_PER_ADDRESS_MAX);
const _: () = assert!(HANDSHAKES_MAX < CONNECTIONS_MAX && ANONYMOUS_MAX < CONNECTIONS_MAX);
const _: () = assert!(GATEWAY_SESSIONS_MAX < GATEWAY_STREAMS_MAX as usize);
const _: () = assert!((FRAME_BYTES_MAX as u64) < BLOB_BYTES_MAX);
