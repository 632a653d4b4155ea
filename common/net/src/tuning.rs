//! The numbers QUIC is set to, and why.

use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use protocol::limits::{CHUNK_BYTES, NO_PROGRESS_MS_MAX};

/// How one side's connections behave. Start from [`Tuning::device`] or
/// [`Tuning::coordinator`] and change what a test needs changed.
///
/// | field | device | coordinator |
/// |---|---|---|
/// | `idle_ms` | 60 000 | 60 000 |
/// | `keep_alive_ms` | 20 000 | none |
/// | `handshake_ms` | 10 000 | 10 000 |
/// | `no_progress_ms` | 30 000 | 30 000 |
/// | `stream_window_bytes` | 128 KiB | 64 KiB |
/// | `connection_window_bytes` | 256 KiB | 128 KiB |
/// | `send_window_bytes` | 128 KiB | 128 KiB |
/// | `streams_max` | 2 | 8 |
/// | `mtu_discovery` | no | no |
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tuning {
    /// A connection on which nothing came for this long is given up.
    pub idle_ms: u32,
    /// How often a quiet connection is kept alive. One side is enough; the
    /// device does it, since its router forgets a quiet UDP flow, often
    /// after 30 s.
    pub keep_alive_ms: Option<u32>,
    /// Longest handshake, admission included.
    pub handshake_ms: u64,
    /// A chunk or frame that takes longer is given up.
    pub no_progress_ms: u64,
    /// Bytes of one stream the peer may send ahead of us. With the next two
    /// it bounds the memory of a connection.
    pub stream_window_bytes: u32,
    /// Bytes of all streams the peer may send ahead of us.
    pub connection_window_bytes: u32,
    /// Bytes we keep for the peer until it has acknowledged them.
    pub send_window_bytes: u32,
    /// Streams the peer may have open at a time.
    pub streams_max: u32,
    /// Whether this side looks for larger packets than 1200 bytes. Looking
    /// costs about 5 KB a connection and saves 5 bytes in 1,000 of what this
    /// side sends (measured on loopback), so it pays above 1 MB a connection.
    pub mtu_discovery: bool,
}

impl Tuning {
    /// For a device: few streams, one connection, a small memory.
    pub fn device() -> Self {
        Self {
            keep_alive_ms: Some(KEEP_ALIVE_MS),
            stream_window_bytes: 128 * 1024,
            connection_window_bytes: 256 * 1024,
            streams_max: 2,
            ..Self::coordinator()
        }
    }

    /// The same where there are several coordinators, of which another takes
    /// over when one is gone without a word: it asks more often, and looks for
    /// the other sooner.
    pub(crate) fn of_several(self) -> Self {
        let asks = self.keep_alive_ms.unwrap_or(KEEP_ALIVE_MS_OF_SEVERAL);
        Self {
            idle_ms: IDLE_MS_OF_SEVERAL.min(self.idle_ms),
            keep_alive_ms: Some(asks.min(KEEP_ALIVE_MS_OF_SEVERAL)),
            ..self
        }
    }

    /// For a coordinator: thousands of connections, each with little.
    pub fn coordinator() -> Self {
        Self {
            idle_ms: IDLE_MS,
            keep_alive_ms: None,
            handshake_ms: 10_000,
            no_progress_ms: NO_PROGRESS_MS_MAX,
            stream_window_bytes: 64 * 1024,
            connection_window_bytes: 128 * 1024,
            send_window_bytes: 128 * 1024,
            streams_max: 8,
            mtu_discovery: false,
        }
    }

    /// A gateway's end of its one connection to the coordinator: room for many
    /// devices, and a coordinator that is gone is noticed soon.
    pub fn gateway() -> Self {
        Self {
            connection_window_bytes: GATEWAY_WINDOW_BYTES,
            send_window_bytes: GATEWAY_WINDOW_BYTES,
            ..Self::device().of_several()
        }
    }

    pub(crate) fn no_progress(&self) -> Duration {
        Duration::from_millis(self.no_progress_ms)
    }

    pub(crate) fn handshake(&self) -> Duration {
        Duration::from_millis(self.handshake_ms)
    }

    pub(crate) fn transport(&self) -> Arc<TransportConfig> {
        let mut config = TransportConfig::default();
        let keep_alive = self
            .keep_alive_ms
            .map(|ms| Duration::from_millis(ms.into()));
        config
            .max_idle_timeout(Some(IdleTimeout::from(VarInt::from_u32(self.idle_ms))))
            .keep_alive_interval(keep_alive)
            .stream_receive_window(self.stream_window_bytes.into())
            .receive_window(self.connection_window_bytes.into())
            .send_window(self.send_window_bytes.into())
            .max_concurrent_bidi_streams(self.streams_max.into())
            // The admission mark comes on the only one-way stream there is.
            .max_concurrent_uni_streams(1u32.into())
            .datagram_receive_buffer_size(None)
            .allow_spin(false)
            .mtu_discovery_config(self.mtu_discovery.then(MtuDiscoveryConfig::default));
        Arc::new(config)
    }
}

/// What may be under way between a gateway and its coordinator, each way.
pub const GATEWAY_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

const IDLE_MS: u32 = 60_000;
const KEEP_ALIVE_MS: u32 = 20_000;
const IDLE_MS_OF_SEVERAL: u32 = 10_000;
const KEEP_ALIVE_MS_OF_SEVERAL: u32 = 4_000;

// Two keep-alives may be lost before a connection is given up, and a transfer
// that stands still is noticed before its connection is.
const _: () = assert!(2 * KEEP_ALIVE_MS < IDLE_MS);
const _: () = assert!(2 * KEEP_ALIVE_MS_OF_SEVERAL < IDLE_MS_OF_SEVERAL);
const _: () = assert!(NO_PROGRESS_MS_MAX < IDLE_MS as u64);
const _: () = assert!(CHUNK_BYTES <= 64 * 1024);
