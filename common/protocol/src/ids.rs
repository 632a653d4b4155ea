//! Names of things: devices, tasks, blobs, rounds.

use std::fmt;
use std::str::FromStr;

use bincode::{Decode, Encode};
use serde::{Deserialize, Serialize};

/// Why a written identifier was not understood.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("expected {expected} hexadecimal digits, got {got:?}")]
pub struct ParseIdError {
    /// How many digits the identifier has.
    pub expected: usize,
    /// What was given.
    pub got: String,
}

macro_rules! hex_id {
    ($(#[$doc:meta])* $name:ident, $bytes:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
        pub struct $name(pub [u8; $bytes]);

        impl $name {
            /// The first eight hexadecimal digits, for people.
            pub fn short(&self) -> String {
                hex::encode(&self.0[..4])
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                let mut bytes = [0u8; $bytes];
                hex::decode_to_slice(text, &mut bytes).map_err(|_| ParseIdError {
                    expected: 2 * $bytes,
                    got: text.to_owned(),
                })?;
                Ok(Self(bytes))
            }
        }

        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

hex_id!(
    /// A device, named by its key: the first 16 bytes of the BLAKE3 hash of
    /// the public key's SubjectPublicKeyInfo.
    DeviceId,
    16
);
hex_id!(
    /// The BLAKE3 hash of a task's canonical bytes.
    TaskHash,
    32
);
hex_id!(
    /// The BLAKE3 hash of a blob's bytes, which is also its name.
    BlobHash,
    32
);

impl BlobHash {
    /// The name of these bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }
}

impl DeviceId {
    /// The device that holds the key with this SubjectPublicKeyInfo (DER).
    pub fn of_public_key(spki: &[u8]) -> Self {
        let mut bytes = [0u8; 16];
        bytes.copy_from_slice(&blake3::hash(spki).as_bytes()[..16]);
        Self(bytes)
    }
}

/// A round of one task, counted from 1.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Encode,
    Decode,
    Serialize,
    Deserialize,
)]
#[serde(transparent)]
pub struct RoundId(pub u64);

impl fmt::Display for RoundId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A point in time: milliseconds since the Unix epoch, or since the start of
/// a simulation. Engines never read a clock; they are told.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Time(pub u64);

impl Time {
    /// This time and a number of milliseconds more.
    #[must_use]
    pub fn after_ms(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this time, zero if it lies behind.
    pub fn since_ms(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

/// The version of a released student. Ordered by epoch, then number; a
/// restored coordinator opens a new epoch, so versions never go down.
///
/// In JSON it is text, `"1.3"`, as people and commands write it. (An object of
/// both numbers, which files from before 0.1 hold, is read as well.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Encode, Decode)]
pub struct Version {
    /// Counts the lives of the coordinator's store.
    pub epoch: u32,
    /// Counts releases within the epoch.
    pub number: u64,
}

impl Version {
    /// The version this many releases later in the same epoch.
    pub fn above(self, releases: u64) -> Self {
        Self {
            number: self.number.saturating_add(releases),
            ..self
        }
    }
}

impl Serialize for Version {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Version {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Text(String),
            Parts { epoch: u32, number: u64 },
        }
        match Form::deserialize(deserializer)? {
            Form::Text(text) => text.parse().map_err(serde::de::Error::custom),
            Form::Parts { epoch, number } => Ok(Self { epoch, number }),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.number)
    }
}

/// A text that is no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected EPOCH.NUMBER, such as 1.3")]
pub struct MalformedVersion;

impl std::str::FromStr for Version {
    type Err = MalformedVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (epoch, number) = text.split_once('.').ok_or(MalformedVersion)?;
        Ok(Self {
            epoch: epoch.parse().map_err(|_| MalformedVersion)?,
            number: number.parse().map_err(|_| MalformedVersion)?,
        })
    }
}
