//! Exchanging the authority without asking any device to join again.
//!
//! The new authority's key is certified by the old one, whose key is then
//! forgotten. The server shows that certificate on the way, so devices that
//! believe the old authority believe the server; each learns of the new one
//! when it renews. Once all have, the old one is retired.
//!
//! Files change in an order in which a cut leaves either the old authority or
//! what [`finish`] brings to its end: the new certificate is the last file
//! that is prepared, and the first thing looked for.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use common::ids::Time;
use common::trust::authority::Authority;
use common::trust::certificate::{certificate_to_pem, certificates_from_pem};

use crate::identity::{AUTHORITY, AUTHORITY_KEY, IdentityError, Previous, read, replace};

/// Makes the next authority and puts it in place; the one before stays
/// believed. The coordinator uses it from its next start on.
///
/// # Errors
/// [`IdentityError::Rotating`] before the last exchange is over, and whatever
/// is wrong with a file.
pub fn rotate(state: &Path, now: Time) -> Result<Authority, IdentityError> {
    finish(state)?;
    let path = state.join(PREVIOUS);
    if path.exists() {
        return Err(IdentityError::Rotating { path });
    }
    let text = |name| read(&state.join(name));
    let old = Authority::from_pem(&text(AUTHORITY)?, &text(AUTHORITY_KEY)?)?;
    let new = Authority::create("coordinator", now)?;
    let cross = old.cross_certify(&new, now)?;
    replace(&state.join(CROSS), &certificate_to_pem(&cross), 0o644)?;
    replace(&state.join(NEXT_KEY), &new.key_pem(), 0o600)?;
    replace(&state.join(NEXT_PREVIOUS), &old.certificate_pem(), 0o644)?;
    replace(&state.join(NEXT), &new.certificate_pem(), 0o644)?;
    finish(state)?;
    Ok(new)
}

/// Believes the authority before this one no more.
///
/// # Errors
/// [`IdentityError::Missing`] if there is none.
pub fn retire(state: &Path) -> Result<(), IdentityError> {
    finish(state)?;
    let path = state.join(PREVIOUS);
    if !path.exists() {
        return Err(IdentityError::Missing { path });
    }
    remove(state, PREVIOUS)?;
    remove(state, CROSS)
}

/// Brings an exchange that was cut off to its end.
pub(super) fn finish(state: &Path) -> Result<(), IdentityError> {
    if !state.join(NEXT).exists() {
        return Ok(());
    }
    for (from, to) in [
        (NEXT_PREVIOUS, PREVIOUS),
        (NEXT_KEY, AUTHORITY_KEY),
        (NEXT, AUTHORITY),
    ] {
        let (from, to) = (state.join(from), state.join(to));
        match fs::rename(&from, &to) {
            // Renamed before the cut.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                return Err(IdentityError::Io {
                    action: "replace",
                    path: to,
                    source,
                });
            }
            Ok(()) => {}
        }
    }
    Ok(())
}

/// Where [`finish`] finds what it puts there: an exchange may have been cut
/// off.
pub(super) fn current(state: &Path, name: &str) -> PathBuf {
    let next = match name {
        AUTHORITY => NEXT,
        AUTHORITY_KEY => NEXT_KEY,
        _ => name,
    };
    let waits = state.join(NEXT).exists() && state.join(next).exists();
    state.join(if waits { next } else { name })
}

/// The authority before the present one, if it is still believed.
pub(super) fn previous(state: &Path) -> Result<Option<Previous>, IdentityError> {
    let first = |name| {
        let path = state.join(name);
        let text = read(&path)?;
        let mut found = certificates_from_pem(&text)
            .map_err(|source| IdentityError::Certificate { path, source })?;
        Ok::<_, IdentityError>(found.swap_remove(0))
    };
    if !state.join(PREVIOUS).exists() {
        return Ok(None);
    }
    Ok(Some(Previous {
        certificate: first(PREVIOUS)?,
        cross: first(CROSS)?,
    }))
}

fn remove(state: &Path, name: &str) -> Result<(), IdentityError> {
    let path = state.join(name);
    match fs::remove_file(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(IdentityError::Io {
            action: "remove",
            path,
            source,
        }),
        Ok(()) => Ok(()),
    }
}

pub(super) const PREVIOUS: &str = "ca-previous.pem";
const CROSS: &str = "ca-cross.pem";
const NEXT: &str = "ca-next.pem";
const NEXT_KEY: &str = "ca-next-key.pem";
const NEXT_PREVIOUS: &str = "ca-next-previous.pem";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::identity::Identity;

    const NOW: Time = Time(1_800_000_000_000);

    fn made() -> (tempfile::TempDir, Identity) {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::generate(&[], NOW).unwrap();
        identity.create_in(folder.path()).unwrap();
        (folder, identity)
    }

    #[test]
    fn the_authority_before_stays_believed_until_it_is_retired() {
        let (folder, old) = made();
        let new = rotate(folder.path(), NOW).unwrap();
        let both = Identity::load(folder.path(), &[], NOW).unwrap();
        assert_eq!(both.authority.fingerprint(), new.fingerprint());
        let believed = vec![
            new.certificate().clone(),
            old.authority.certificate().clone(),
        ];
        assert_eq!(both.authorities(), believed);
        assert_eq!(both.server.chain().len(), 4);
        assert!(matches!(
            rotate(folder.path(), NOW),
            Err(IdentityError::Rotating { .. })
        ));
        retire(folder.path()).unwrap();
        let alone = Identity::load(folder.path(), &[], NOW).unwrap();
        assert_eq!(alone.authorities(), [new.certificate().clone()]);
        assert_eq!(alone.server.chain()[0], both.server.chain()[0]);
        assert!(matches!(
            retire(folder.path()),
            Err(IdentityError::Missing { .. })
        ));
    }

    #[test]
    fn an_interrupted_rotation_leaves_old_or_new() {
        // The order in which `rotate` and `finish` change names.
        let prepared = [CROSS, NEXT_KEY, NEXT_PREVIOUS, NEXT];
        let (folder, old) = made();
        let before = fs::read_dir(folder.path()).unwrap().count();
        let reference = tempfile::tempdir().unwrap();
        for name in fs::read_dir(folder.path()).unwrap() {
            let name = name.unwrap().file_name();
            fs::copy(folder.path().join(&name), reference.path().join(&name)).unwrap();
        }
        rotate(reference.path(), NOW).unwrap();
        let after = |name| fs::read(reference.path().join(name)).unwrap();
        let new = Identity::load(reference.path(), &[], NOW).unwrap();
        for steps in 0..=prepared.len() {
            for renamed in 0..=2 {
                let cut = tempfile::tempdir().unwrap();
                for name in fs::read_dir(folder.path()).unwrap() {
                    let name = name.unwrap().file_name();
                    fs::copy(folder.path().join(&name), cut.path().join(&name)).unwrap();
                }
                for name in &prepared[..steps] {
                    let content = match *name {
                        CROSS => after(CROSS),
                        NEXT_KEY => after(AUTHORITY_KEY),
                        NEXT_PREVIOUS => after(PREVIOUS),
                        _ => after(AUTHORITY),
                    };
                    fs::write(cut.path().join(name), content).unwrap();
                }
                let is_committed = steps == prepared.len();
                if is_committed {
                    let order = [(NEXT_PREVIOUS, PREVIOUS), (NEXT_KEY, AUTHORITY_KEY)];
                    for (from, to) in &order[..renamed] {
                        fs::rename(cut.path().join(from), cut.path().join(to)).unwrap();
                    }
                }
                let loaded = Identity::load(cut.path(), &[], NOW).unwrap();
                let expected = if is_committed { &new } else { &old };
                assert_eq!(
                    loaded.authority.fingerprint(),
                    expected.authority.fingerprint()
                );
                assert_eq!(loaded.previous.is_some(), is_committed);
            }
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), before);
    }
}
