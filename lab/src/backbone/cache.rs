//! Outputs of a model on disk, by the hash of model, settings and data.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use ndarray::Array2;

/// Where they are kept: `ALAMBIC_CACHE`, else `alambic` in `XDG_CACHE_HOME`,
/// else in `~/.cache`; none where none of them is known. Files there may be
/// removed at any time.
pub fn folder() -> Option<PathBuf> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    let of_home = || variable("HOME").map(|home| PathBuf::from(home).join(".cache"));
    match variable("ALAMBIC_CACHE") {
        Some(folder) => Some(PathBuf::from(folder)),
        None => {
            let base = variable("XDG_CACHE_HOME").map(PathBuf::from);
            base.or_else(of_home).map(|base| base.join("alambic"))
        }
    }
}

/// The file of rows of this name.
pub(super) fn file(folder: &Path, name: [u8; 32]) -> PathBuf {
    let name: String = name[..16]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    folder.join(format!("features-{name}.bin"))
}

/// The rows of a file, if they are there whole.
pub(super) fn read(path: &Path) -> Option<Array2<f32>> {
    let bytes = std::fs::read(path).ok()?;
    let (header, rest) = bytes.split_at_checked(HEADER)?;
    let (magic, sides) = header.split_at(MAGIC.len());
    let (body, hash) = rest.split_at_checked(rest.len().checked_sub(32)?)?;
    if magic != MAGIC || blake3::hash(body).as_bytes() != hash {
        return None;
    }
    let side = |at: usize| Some(u64::from_le_bytes(sides[at..at + 8].try_into().ok()?) as usize);
    let (values, rest) = body.as_chunks::<4>();
    let values = values.iter().map(|bytes| f32::from_le_bytes(*bytes));
    let shape = (side(0)?, side(8)?);
    rest.is_empty()
        .then(|| Array2::from_shape_vec(shape, values.collect()).ok())
        .flatten()
}

/// Keeps rows: whole, or not at all.
///
/// # Errors
/// If the folder cannot be written to.
pub(super) fn write(path: &Path, rows: &Array2<f32>) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)?;
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    let body: Vec<u8> = rows.iter().flat_map(|value| value.to_le_bytes()).collect();
    file.write_all(MAGIC)?;
    for side in [rows.nrows(), rows.ncols()] {
        file.write_all(&(side as u64).to_le_bytes())?;
    }
    file.write_all(&body)?;
    file.write_all(blake3::hash(&body).as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

const MAGIC: &[u8; 8] = b"ALFEAT1\n";
const HEADER: usize = MAGIC.len() + 16;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn rows_come_back_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = file(folder.path(), [7; 32]);
        assert!(read(&path).is_none());
        let rows = Array2::from_shape_fn((5, 3), |(row, column)| row as f32 - 0.5 * column as f32);
        write(&path, &rows).unwrap();
        assert_eq!(read(&path).unwrap(), rows);
        let mut bytes = std::fs::read(&path).unwrap();
        for length in [0, 7, 20, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(read(&path).is_none(), "{length}");
        }
        bytes[30] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        assert!(read(&path).is_none());
    }
}
