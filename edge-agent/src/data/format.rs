//! Formats of data files.

use std::path::Path;

use super::source::{self, Mapping};

/// Formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Csv,
    Npz,
    Npy,
    Picture,
    Wave,
    Database,
    Parquet,
}

impl Format {
    /// Whether it is read where the owner names no files: a picture or a sound
    /// beside tables is no row of theirs, and a database may be anybody's.
    pub(super) fn is_read_unnamed(self, mapping: &Mapping) -> bool {
        match self {
            Self::Csv | Self::Npz | Self::Npy | Self::Parquet => true,
            Self::Database => mapping.query.is_some(),
            Self::Picture | Self::Wave => false,
        }
    }

    /// What a file is read as; what the owner names is a table whatever its
    /// ending says.
    pub(super) fn meant(name: &Path, mapping: &Mapping) -> Option<Self> {
        let named = !mapping.files.is_empty();
        Self::of(&source::inner_name(name)).or(named.then_some(Self::Csv))
    }

    pub(super) fn of(name: &Path) -> Option<Self> {
        let ending = name.extension()?.to_str()?.to_ascii_lowercase();
        match ending.as_str() {
            "csv" | "tsv" => Some(Self::Csv),
            "npz" => Some(Self::Npz),
            "npy" => Some(Self::Npy),
            "sqlite" | "sqlite3" | "db" => Some(Self::Database),
            "parquet" => Some(Self::Parquet),
            "wav" => Some(Self::Wave),
            "png" | "jpg" | "jpeg" => Some(Self::Picture),
            _ => None,
        }
    }
}
