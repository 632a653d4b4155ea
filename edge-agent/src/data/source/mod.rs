//! How what is on a device becomes what a task wants: where files are, how
//! they are written, and which of their columns is what.

mod globs;
mod mapping;
mod pattern;
mod time;
mod units;
mod unpack;

pub(super) use globs::{matches, reaches_inside};
pub use mapping::{BadRows, ColumnSource, Encoding, Mapping, MappingError};
pub use time::TimeFormat;
pub(super) use units::{Conversion, conversion, same as same_unit};
pub(super) use unpack::{inner_name, is_packed, unpacked, unpacking};
