//! Whether the files of a state directory are what a coordinator proves
//! itself with, without changing any of them.

use std::path::PathBuf;

use common::trust::authority::Authority;
use common::trust::certificate::{Credentials, certificates_from_pem};
use common::trust::keys::SigningKey;
use common::trust::trust_root::TrustRootError;

use super::rotation::PREVIOUS;
use crate::identity::trust_root::{ROOT_KEY, TRUST_ROOT, parse};
use crate::identity::{
    AUTHORITY, AUTHORITY_KEY, IdentityError, RELEASE_KEY, SERVER_CERTIFICATE, SERVER_KEY,
};

/// Checks that keys and certificates parse, belong together, and that the
/// trust root names the key that signs releases. `text` gives the content of a
/// file by its name.
///
/// # Errors
/// [`IdentityError::Missing`], or what is wrong with a file.
pub fn self_check(text: &dyn Fn(&str) -> Option<String>) -> Result<(), IdentityError> {
    let needed = |name: &str| {
        let path = PathBuf::from(name);
        text(name).ok_or(IdentityError::Missing { path })
    };
    let key = |name: &str, text: &str| {
        SigningKey::from_pem(text).map_err(|source| IdentityError::Key {
            path: PathBuf::from(name),
            source,
        })
    };
    let certificate = |name: &str| {
        let path = PathBuf::from(name);
        move |source| IdentityError::Certificate { path, source }
    };
    Authority::from_pem(&needed(AUTHORITY)?, &needed(AUTHORITY_KEY)?)?;
    Credentials::from_pem(&needed(SERVER_CERTIFICATE)?, &needed(SERVER_KEY)?)
        .map_err(certificate(SERVER_CERTIFICATE))?;
    if let Some(text) = text(PREVIOUS) {
        certificates_from_pem(&text).map_err(certificate(PREVIOUS))?;
    }
    let signer = key(RELEASE_KEY, &needed(RELEASE_KEY)?)?;
    if let Some(text) = text(ROOT_KEY) {
        key(ROOT_KEY, &text)?;
    }
    let trust_root = needed(TRUST_ROOT)?;
    let signer = signer.verifying_key();
    let named = parse(&trust_root).and_then(|signed| {
        let known = signed.first()?.release_keys.contains(&signer);
        known
            .then_some(())
            .ok_or(TrustRootError::UnknownKey(signer.id()))
    });
    named.map_err(|source| IdentityError::TrustRoot {
        path: PathBuf::from(TRUST_ROOT),
        source,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;
    use std::fs;

    use super::*;
    use crate::identity::Identity;
    use common::ids::Time;

    fn files() -> BTreeMap<String, String> {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::generate(&[], Time(1_800_000_000_000)).unwrap();
        identity.create_in(folder.path()).unwrap();
        let entries = fs::read_dir(folder.path()).unwrap();
        entries
            .map(|entry| {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_str().unwrap().to_owned();
                (name, fs::read_to_string(path).unwrap())
            })
            .collect()
    }

    fn proven(files: &BTreeMap<String, String>) -> Result<(), IdentityError> {
        self_check(&|name| files.get(name).cloned())
    }

    #[test]
    fn each_file_of_an_identity_is_checked() {
        let whole = files();
        proven(&whole).unwrap();
        let other = files();
        for name in [
            AUTHORITY,
            AUTHORITY_KEY,
            SERVER_CERTIFICATE,
            SERVER_KEY,
            RELEASE_KEY,
            TRUST_ROOT,
        ] {
            let mut files = whole.clone();
            files.remove(name);
            assert!(
                matches!(proven(&files), Err(IdentityError::Missing { .. })),
                "{name}"
            );
            files.insert(name.to_owned(), "nonsense".to_owned());
            assert!(proven(&files).is_err(), "{name}");
        }
        for name in [RELEASE_KEY, TRUST_ROOT] {
            let mut files = whole.clone();
            files.insert(name.to_owned(), other[name].clone());
            assert!(
                matches!(proven(&files), Err(IdentityError::TrustRoot { .. })),
                "{name}"
            );
        }
    }
}
