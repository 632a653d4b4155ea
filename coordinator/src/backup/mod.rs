//! A coordinator's whole state as one file, and back.
//!
//! A backup is a tar archive: who made it and where the log stood
//! (`alambic-backup.json`), the files of the state directory and the
//! configuration (`state/…`), the log in pieces (`log/…`), documents, blobs by
//! hash, and last the hash of each of these, in the form that `b3sum --check`
//! reads (`manifest.b3`). An archive without its manifest was cut off, one
//! that differs from it was changed; both are refused before anything is
//! written.
//!
//! [`StoreCopy`] reads a store that others write meanwhile. The copy ends where
//! the log ended when it began; a blob is durable before the event that names
//! it, so every blob that the copied log names is there to be copied. Uploads
//! that are not whole stay behind: their devices have them.

mod archive;
mod copy;
mod error;
mod piece;
mod read;
mod relocation;
mod restore;
mod state_files;
#[cfg(test)]
mod tests;

pub use archive::{Archive, Written};
pub use copy::StoreCopy;
pub use error::BackupError;
pub use piece::{Contents, PieceName};
pub use read::{Checked, check};
pub use relocation::{Relocated, relocate};
pub use restore::{Restored, restore, verify};
pub use state_files::{StateFile, state_files};

/// The format that this version writes, and the newest that it reads.
pub const FORMAT: u32 = 1;

/// First entry of an archive.
const HEAD: &str = "alambic-backup.json";
/// Last entry of an archive.
const MANIFEST: &str = "manifest.b3";
/// Where the store is, in a state directory.
const STORE: &str = "store";
/// Longest file of a state directory that is taken along, and longest head.
const STATE_FILE_BYTES_MAX: u64 = 1 << 20;
/// Most files of a state directory that are taken along.
const STATE_FILES_MAX: usize = 256;
/// Longest piece of a log: one read of it, the longest record beyond that,
/// and what each record's header takes.
const LOG_PIECE_BYTES_MAX: u64 = 2 * crate::store::READ_BYTES_MAX as u64;
