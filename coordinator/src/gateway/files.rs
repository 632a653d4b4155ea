//! The files of a gateway's state directory.

use std::fs;
use std::io::{self, Write as _};
use std::path::Path;

use common::ownership::create_private;

use super::identity::GatewayIdentityError;

/// A file's text, or none.
///
/// # Errors
/// What the system says.
pub(super) fn read(path: &Path) -> Result<Option<String>, GatewayIdentityError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(GatewayIdentityError::Io {
            action: "read",
            path: path.to_owned(),
            source,
        }),
    }
}

/// A whole file or none, for its owner only, durable when this returns.
///
/// # Errors
/// What the system says.
pub(super) fn write(path: &Path, text: &str) -> Result<(), GatewayIdentityError> {
    let half = path.with_extension("new");
    let written = create_private(&half).and_then(|mut file| {
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&half, path)?;
        match path.parent() {
            Some(folder) => fs::File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    });
    written.map_err(|source| GatewayIdentityError::Io {
        action: "write",
        path: path.to_owned(),
        source,
    })
}
