//! The keys that may sign releases, and the root key that says so.
//!
//! Each change is a new trust root with a higher number, signed by the root key,
//! which may be kept elsewhere and brought for the occasion. Files change in
//! an order in which a cut leaves a trust root that names the key in use.

use std::fs;
use std::path::{Path, PathBuf};

use common::ids::Time;
use common::trust::keys::{KeyError, KeyId, SigningKey, VerifyingKey};
use common::trust::trust_root::{RELEASE_KEYS_MAX, SignedTrustRoot, TrustRoot, TrustRootError};

use crate::identity::{IdentityError, RELEASE_KEY, RELEASE_PUBLIC, read, replace, write_new};

/// Days a trust root lasts. The root key is needed again before that.
const TRUST_ROOT_DAYS: u64 = 3 * 366;
/// A trust root with fewer days left is complained about.
const TRUST_ROOT_DAYS_LEFT_MIN: u64 = 90;
/// The trust root's file in the state directory.
pub const TRUST_ROOT: &str = "charter.hex";
/// The root key's file in the state directory, unless it is kept elsewhere.
pub const ROOT_KEY: &str = "root-key.pem";
const DAY_MS: u64 = 24 * 3_600_000;
const NEXT_ROOT_KEY: &str = "root-key-next.pem";
const NEXT_RELEASE_KEY: &str = "release-key-next.pem";

/// Why keys are not changed.
#[derive(Debug, thiserror::Error)]
pub enum TrustRootFileError {
    /// A file of the state directory.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The trust root is not what it should be.
    #[error("{path}: {source}")]
    TrustRoot {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TrustRootError,
    },
    /// A key cannot be made or used.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The root key is elsewhere.
    #[error(
        "the root key is not in {state}: bring it and name its file with --root-key, as it was \
         taken away with `key offline`"
    )]
    RootAway {
        /// The state directory.
        state: PathBuf,
    },
    /// That is another key.
    #[error("{path} is not the root key of this fleet: that is {root}")]
    NotTheRoot {
        /// The file.
        path: PathBuf,
        /// The root key's name.
        root: KeyId,
    },
    /// The trust root does not name it.
    #[error("no release key {0}; `key show` lists them")]
    UnknownKey(KeyId),
    /// It signs the releases.
    #[error("{0} signs the releases now; `key rotate` first, or `key rotate --revoke`")]
    InUse(KeyId),
    /// There are too many.
    #[error("{RELEASE_KEYS_MAX} release keys are believed; revoke one first")]
    TooMany,
}

/// The trust root in a state directory.
pub(super) fn load(
    state: &Path,
    signer: &SigningKey,
    now: Time,
) -> Result<SignedTrustRoot, IdentityError> {
    let path = state.join(TRUST_ROOT);
    let wrong = |source| IdentityError::TrustRoot {
        path: path.clone(),
        source,
    };
    let signed = parse(&read(&path)?).map_err(wrong)?;
    let trust_root = signed.first().map_err(wrong)?;
    if !trust_root.release_keys.contains(&signer.verifying_key()) {
        return Err(wrong(TrustRootError::UnknownKey(
            signer.verifying_key().id(),
        )));
    }
    let days_left = trust_root.expires.since_ms(now) / DAY_MS;
    if days_left < TRUST_ROOT_DAYS_LEFT_MIN {
        tracing::warn!(
            days_left,
            "the trust root of the release keys ends soon, and devices install nothing after it: \
             `alambic-coordinator key renew`"
        );
    }
    Ok(signed)
}

/// Files beside those that are needed to serve: the public copy of the release
/// key is written anew where it differs, and a root key that is damaged is
/// complained about long before it is needed.
pub(super) fn look_after_copies(state: &Path, signer: &SigningKey, trust_root: &SignedTrustRoot) {
    let path = state.join(RELEASE_PUBLIC);
    let public = signer.verifying_key().to_string();
    let stored = fs::read(&path).unwrap_or_default();
    if stored.trim_ascii() != public.as_bytes() {
        let path = path.display();
        match replace(&state.join(RELEASE_PUBLIC), &public, 0o644) {
            Ok(()) => tracing::warn!("{path} was written anew: it was not the release key's"),
            Err(error) => tracing::warn!("{path} is not the release key's: {error}"),
        }
    }
    let path = state.join(ROOT_KEY);
    if state.join(NEXT_ROOT_KEY).exists() {
        return; // an exchange was cut off; the next `key` command ends it
    }
    let text = match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
        read => read.unwrap_or_default(),
    };
    let root = SigningKey::from_pem(&String::from_utf8_lossy(&text));
    let is_root = |root: SigningKey| {
        let trust_root = trust_root.first();
        trust_root.is_ok_and(|trust_root| trust_root.root == root.verifying_key())
    };
    if !root.is_ok_and(is_root) {
        tracing::error!(
            "{} is damaged: release keys cannot be changed without it, and the trust root ends one \
             day; restore the file from a backup",
            path.display()
        );
    }
}

/// The first trust root of a fleet, and the root key that signed it.
pub(super) fn first(
    signer: &SigningKey,
    now: Time,
) -> Result<(SigningKey, SignedTrustRoot), IdentityError> {
    let made = SigningKey::generate().and_then(|root| {
        let trust_root = TrustRoot {
            number: 1,
            issued: now,
            expires: now.after_ms(TRUST_ROOT_DAYS * DAY_MS),
            root: root.verifying_key(),
            release_keys: vec![signer.verifying_key()],
        };
        let trust_root = SignedTrustRoot::sign(trust_root, &[&root])?;
        Ok((root, trust_root))
    });
    made.map_err(|source| IdentityError::Key {
        path: PathBuf::from(ROOT_KEY),
        source,
    })
}

/// A trust root that can be changed: where it is, and with which root key.
#[derive(Debug)]
pub struct TrustRootFile<'a> {
    state: &'a Path,
    trust_root: TrustRoot,
    /// The key that signs the releases.
    signer: VerifyingKey,
}

impl<'a> TrustRootFile<'a> {
    /// The trust root in a state directory.
    ///
    /// # Errors
    /// Whatever is wrong with a file.
    pub fn open(state: &'a Path, now: Time) -> Result<Self, TrustRootFileError> {
        let path = state.join(RELEASE_KEY);
        let signer = key_in(&path)?;
        let signed = load(state, &signer, now)?;
        let trust_root = signed
            .first()
            .map_err(|source| TrustRootFileError::TrustRoot {
                path: state.join(TRUST_ROOT),
                source,
            })?;
        Ok(Self {
            trust_root: trust_root.clone(),
            signer: signer.verifying_key(),
            state,
        })
    }

    /// The trust root.
    pub fn trust_root(&self) -> &TrustRoot {
        &self.trust_root
    }

    /// The key that signs the releases.
    pub fn signer(&self) -> VerifyingKey {
        self.signer
    }

    /// Whether the root key is in the state directory.
    pub fn has_root(&self) -> bool {
        self.state.join(ROOT_KEY).exists()
    }

    /// The next release key; the one before is believed until it is revoked,
    /// or no more if `revoke` is set. The coordinator uses it from its next
    /// start on.
    ///
    /// # Errors
    /// If the root key is not at hand, or a file cannot be written.
    pub fn rotate(
        &mut self,
        root: Option<&Path>,
        revoke: bool,
        now: Time,
    ) -> Result<VerifyingKey, TrustRootFileError> {
        let root = self.root(root)?;
        let next = SigningKey::generate()?;
        let before = self.signer;
        let mut keys = self.trust_root.release_keys.clone();
        keys.retain(|key| !(revoke && *key == before));
        if keys.len() >= RELEASE_KEYS_MAX {
            return Err(TrustRootFileError::TooMany);
        }
        keys.push(next.verifying_key());
        let waiting = self.state.join(NEXT_RELEASE_KEY);
        replace(&waiting, &next.to_pem(), 0o600)?;
        // Between the two trust roots either key may be the one in use.
        if revoke {
            let mut both = keys.clone();
            both.push(before);
            self.write(both, self.trust_root.root, &[&root], now)?;
        } else {
            self.write(keys.clone(), self.trust_root.root, &[&root], now)?;
        }
        let path = self.state.join(RELEASE_KEY);
        fs::rename(&waiting, &path).map_err(|source| IdentityError::Io {
            action: "replace",
            path,
            source,
        })?;
        let public = next.verifying_key();
        replace(&self.state.join(RELEASE_PUBLIC), &public.to_string(), 0o644)?;
        self.signer = public;
        if revoke {
            self.write(keys, self.trust_root.root, &[&root], now)?;
        }
        Ok(public)
    }

    /// Believes a release key no more.
    ///
    /// # Errors
    /// [`TrustRootFileError::InUse`], [`TrustRootFileError::UnknownKey`], or as
    /// for [`Self::rotate`].
    pub fn revoke(
        &mut self,
        key: KeyId,
        root: Option<&Path>,
        now: Time,
    ) -> Result<(), TrustRootFileError> {
        if self.signer.id() == key {
            return Err(TrustRootFileError::InUse(key));
        }
        let mut keys = self.trust_root.release_keys.clone();
        keys.retain(|one| one.id() != key);
        if keys.len() == self.trust_root.release_keys.len() {
            return Err(TrustRootFileError::UnknownKey(key));
        }
        let root = self.root(root)?;
        self.write(keys, self.trust_root.root, &[&root], now)
    }

    /// The same keys for another while.
    ///
    /// # Errors
    /// As for [`Self::rotate`].
    pub fn renew(&mut self, root: Option<&Path>, now: Time) -> Result<(), TrustRootFileError> {
        let root = self.root(root)?;
        let keys = self.trust_root.release_keys.clone();
        self.write(keys, self.trust_root.root, &[&root], now)
    }

    /// Hands the root's part over to another key, which is in a file or is
    /// made.
    ///
    /// # Errors
    /// As for [`Self::rotate`].
    pub fn rotate_root(
        &mut self,
        root: Option<&Path>,
        next: Option<&Path>,
        now: Time,
    ) -> Result<VerifyingKey, TrustRootFileError> {
        let root = self.root(root)?;
        let (next, is_new) = match next {
            Some(path) => (key_in(path)?, false),
            None => (SigningKey::generate()?, true),
        };
        let waiting = self.state.join(NEXT_ROOT_KEY);
        if is_new {
            replace(&waiting, &next.to_pem(), 0o600)?;
        }
        let keys = self.trust_root.release_keys.clone();
        self.write(keys, next.verifying_key(), &[&root, &next], now)?;
        let path = self.state.join(ROOT_KEY);
        let moved = match is_new {
            true => fs::rename(&waiting, &path),
            // The old one has nothing to say any more.
            false => fs::remove_file(&path).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
        };
        moved.map_err(|source| IdentityError::Io {
            action: "replace",
            path,
            source,
        })?;
        Ok(next.verifying_key())
    }

    /// Moves the root key into a file elsewhere, which must not exist.
    ///
    /// # Errors
    /// If it is away already, or the file cannot be written.
    pub fn take_root_away(&self, file: &Path) -> Result<(), TrustRootFileError> {
        let root = self.root(None)?;
        write_new(file, &root.to_pem(), 0o600)?;
        let path = self.state.join(ROOT_KEY);
        fs::remove_file(&path).map_err(|source| {
            IdentityError::Io {
                action: "remove",
                path,
                source,
            }
            .into()
        })
    }

    fn root(&self, file: Option<&Path>) -> Result<SigningKey, TrustRootFileError> {
        let path = match file {
            Some(file) => file.to_owned(),
            None => self.state.join(ROOT_KEY),
        };
        // An exchange may have been cut off before its last step.
        let next = self.state.join(NEXT_ROOT_KEY);
        if file.is_none()
            && let Ok(key) = key_in(&next)
            && key.verifying_key() == self.trust_root.root
        {
            return Ok(key);
        }
        if file.is_none() && !path.exists() {
            return Err(TrustRootFileError::RootAway {
                state: self.state.to_owned(),
            });
        }
        let key = key_in(&path)?;
        if key.verifying_key() != self.trust_root.root {
            return Err(TrustRootFileError::NotTheRoot {
                path,
                root: self.trust_root.root.id(),
            });
        }
        Ok(key)
    }

    fn write(
        &mut self,
        release_keys: Vec<VerifyingKey>,
        root: VerifyingKey,
        signers: &[&SigningKey],
        now: Time,
    ) -> Result<(), TrustRootFileError> {
        let trust_root = TrustRoot {
            number: self.trust_root.number + 1,
            issued: now,
            expires: now.after_ms(TRUST_ROOT_DAYS * DAY_MS),
            root,
            release_keys,
        };
        let signed = SignedTrustRoot::sign(trust_root.clone(), signers)?;
        let text = hex::encode(signed.to_bytes());
        replace(&self.state.join(TRUST_ROOT), &text, 0o644)?;
        self.trust_root = trust_root;
        Ok(())
    }
}

/// The keys that may sign releases, by the trust root in a state directory.
///
/// # Errors
/// [`IdentityError::Missing`] before there is one, and whatever is wrong with
/// it.
pub fn release_public_keys(state: &Path) -> Result<Vec<VerifyingKey>, IdentityError> {
    let path = state.join(TRUST_ROOT);
    let signed = parse(&read(&path)?);
    let trust_root = signed.and_then(|signed| Ok(signed.first()?.clone()));
    Ok(trust_root
        .map_err(|source| IdentityError::TrustRoot { path, source })?
        .release_keys)
}

/// Makes a key for another place, such as the next root key.
///
/// # Errors
/// If the file exists or cannot be written.
pub fn create_key(file: &Path) -> Result<VerifyingKey, TrustRootFileError> {
    let key = SigningKey::generate()?;
    write_new(file, &key.to_pem(), 0o600)?;
    Ok(key.verifying_key())
}

/// The key in this file.
pub(super) fn key_in(path: &Path) -> Result<SigningKey, IdentityError> {
    SigningKey::from_pem(&read(path)?).map_err(|source| IdentityError::Key {
        path: path.to_owned(),
        source,
    })
}

pub(super) fn parse(text: &str) -> Result<SignedTrustRoot, TrustRootError> {
    let bytes = hex::decode(text.trim())
        .map_err(|_| TrustRootError::Malformed("the file is not hexadecimal"))?;
    SignedTrustRoot::from_bytes(&bytes)
}

#[cfg(test)]
mod tests;
