//! Whom this device believes about releases.

use common::ids::Time;
use common::trust::keys::VerifyingKey;
use common::trust::trust_root::{Freshness, SignedTrustRoot, TrustRoot, TrustRootError};
use serde::{Deserialize, Serialize};

use crate::identity::TimeFloor;
use crate::state::{StateDir, StateError};

/// Why it is not known whom to believe.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// What was kept is not what it was.
    #[error("{file} is damaged: {reason}")]
    Damaged {
        /// The file.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// What was said is not believed.
    #[error(transparent)]
    TrustRoot(#[from] TrustRootError),
}

impl TrustError {
    /// What a person can do about it.
    pub fn advice(&self) -> String {
        match self {
            Self::State(error) => error.advice(),
            Self::Damaged { .. } => {
                "restore it from a backup, or join anew with `alambic-agent enrol --again`"
                    .to_owned()
            }
            Self::TrustRoot(_) => {
                "tell the operator: someone may be answering in the coordinator's place, or it \
                 was restored from an old copy"
                    .to_owned()
            }
        }
    }
}

/// The trust root this device goes by, and how fresh the coordinator's word is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trust {
    signed: SignedTrustRoot,
    trust_root: TrustRoot,
    /// Keys of former trust roots: what they signed is not installed any more,
    /// and serves where it was.
    former: Vec<VerifyingKey>,
    /// Until when the coordinator's newest word is fresh.
    fresh_until: Option<Time>,
}

/// As it is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    #[serde(rename = "charter")]
    trust_root: String,
    former: Vec<VerifyingKey>,
    fresh_until: Option<Time>,
}

impl Trust {
    /// The trust of a device that joins: what it is told by a coordinator
    /// that its token pins.
    ///
    /// # Errors
    /// [`TrustRootError`] if that is no trust root.
    pub fn first(signed: &[u8]) -> Result<Self, TrustRootError> {
        let signed = SignedTrustRoot::from_bytes(signed)?;
        Ok(Self {
            trust_root: signed.first()?.clone(),
            signed,
            former: Vec::new(),
            fresh_until: None,
        })
    }

    /// What was kept in a state directory; none before the device joined.
    ///
    /// # Errors
    /// [`TrustError::Damaged`] or [`TrustError::State`].
    pub fn load(state: &StateDir) -> Result<Option<Self>, TrustError> {
        let Some(bytes) = state.read(TRUST)? else {
            return Ok(None);
        };
        let damaged = |error: &dyn std::fmt::Display| TrustError::Damaged {
            file: state.file(TRUST).display().to_string(),
            reason: error.to_string(),
        };
        let kept: Kept = serde_json::from_slice(&bytes).map_err(|error| damaged(&error))?;
        let signed = hex::decode(&kept.trust_root).map_err(|error| damaged(&error))?;
        let first = Self::first(&signed).map_err(|error| damaged(&error))?;
        Ok(Some(Self {
            former: kept.former,
            fresh_until: kept.fresh_until,
            ..first
        }))
    }

    /// Keeps it; durable when this returns.
    ///
    /// # Errors
    /// [`StateError::Io`].
    pub fn store(&self, state: &StateDir) -> Result<(), StateError> {
        let kept = Kept {
            trust_root: hex::encode(self.signed.to_bytes()),
            former: self.former.clone(),
            fresh_until: self.fresh_until,
        };
        let text = serde_json::to_vec_pretty(&kept).expect("strings have no unwritable form");
        state.write(TRUST, &text)
    }

    /// Hears a coordinator's trust root and its word of today, and keeps what
    /// is new. The time floor rises with what was signed.
    ///
    /// # Errors
    /// [`TrustError::TrustRoot`] if either is not believed; what was known
    /// stays.
    pub fn hear(
        state: &StateDir,
        trust_root: &[u8],
        freshness: &[u8],
        now: Time,
    ) -> Result<Self, TrustError> {
        let known = Self::load(state)?;
        let mut trust = match &known {
            None => Self::first(trust_root)?,
            Some(known) => known.clone().followed_by(trust_root)?,
        };
        let statement = Freshness::open(freshness, &trust.trust_root.release_keys)?;
        if statement.trust_root < trust.trust_root.number {
            return Err(TrustRootError::Older {
                got: statement.trust_root,
                known: trust.trust_root.number,
            }
            .into());
        }
        TimeFloor::raise(state, statement.issued)?;
        let fresh_until = Some(statement.expires).filter(|end| *end > now);
        trust.fresh_until = trust.fresh_until.max(fresh_until);
        if known.as_ref() != Some(&trust) {
            trust.store(state)?;
        }
        Ok(trust)
    }

    fn followed_by(self, signed: &[u8]) -> Result<Self, TrustRootError> {
        let signed = SignedTrustRoot::from_bytes(signed)?;
        let trust_root = signed.after(&self.trust_root)?.clone();
        let mut former = self.former;
        let gone = self.trust_root.release_keys.into_iter();
        former.extend(gone.filter(|key| !trust_root.release_keys.contains(key)));
        former.retain(|key| !trust_root.release_keys.contains(key));
        former.sort_unstable_by_key(|key| key.0);
        former.dedup();
        Ok(Self {
            signed,
            trust_root,
            former,
            fresh_until: self.fresh_until,
        })
    }

    /// The keys that may sign what is installed now.
    ///
    /// # Errors
    /// [`TrustRootError::Expired`] if the trust root's time is over.
    pub fn signers(&self, now: Time) -> Result<&[VerifyingKey], TrustRootError> {
        if self.trust_root.expires <= now {
            return Err(TrustRootError::Expired);
        }
        Ok(&self.trust_root.release_keys)
    }

    /// The keys that have ever signed what may be in use here.
    pub fn known_signers(&self) -> Vec<VerifyingKey> {
        let keys = self.trust_root.release_keys.iter();
        keys.chain(&self.former).copied().collect()
    }

    /// The same of what is kept in a state directory; none before the device
    /// joined.
    ///
    /// # Errors
    /// [`TrustError::Damaged`] or [`TrustError::State`].
    pub fn known_signers_in(state: &StateDir) -> Result<Vec<VerifyingKey>, TrustError> {
        let trust = Self::load(state)?;
        Ok(trust.map_or_else(Vec::new, |trust| trust.known_signers()))
    }

    /// The trust root.
    pub fn trust_root(&self) -> &TrustRoot {
        &self.trust_root
    }

    /// Until when what the coordinator offers may be installed.
    pub fn fresh_until(&self) -> Option<Time> {
        self.fresh_until
    }
}

/// Its name in the state directory.
const TRUST: &str = "trust.json";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use common::trust::keys::SigningKey;

    fn key() -> SigningKey {
        SigningKey::generate().unwrap()
    }

    fn signed(number: u64, root: &SigningKey, keys: &[&SigningKey]) -> Vec<u8> {
        let trust_root = TrustRoot {
            number,
            issued: Time(10),
            expires: Time(1_000),
            root: root.verifying_key(),
            release_keys: keys.iter().map(|key| key.verifying_key()).collect(),
        };
        SignedTrustRoot::sign(trust_root, &[root])
            .unwrap()
            .to_bytes()
    }

    fn fresh(trust_root: u64, key: &SigningKey, expires: u64) -> Vec<u8> {
        let statement = Freshness {
            issued: Time(20),
            expires: Time(expires),
            trust_root,
        };
        statement.sign(key).unwrap()
    }

    #[test]
    fn a_revoked_key_signs_nothing_new() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::create(folder.path()).unwrap();
        let (root, stolen, next) = (key(), key(), key());
        let hear = |trust_root: &[u8], word: &[u8]| Trust::hear(&state, trust_root, word, Time(30));
        let first = signed(1, &root, &[&stolen]);
        hear(&first, &fresh(1, &stolen, 100)).unwrap();
        let trust = hear(&signed(2, &root, &[&next]), &fresh(2, &next, 200)).unwrap();
        assert_eq!(trust, Trust::load(&state).unwrap().unwrap());
        assert_eq!(trust.signers(Time(30)).unwrap(), [next.verifying_key()]);
        assert!(trust.known_signers().contains(&stolen.verifying_key()));
        assert_eq!(trust.fresh_until(), Some(Time(200)));
        assert_eq!(TimeFloor::load(&state), TimeFloor(Time(20)));
        // The thief shows the trust root of yesterday, or a word of the old key.
        for (trust_root, word) in [
            (first, fresh(1, &stolen, 900)),
            (signed(2, &root, &[&next]), fresh(2, &stolen, 900)),
            (signed(2, &root, &[&next]), fresh(1, &next, 900)),
        ] {
            let error = hear(&trust_root, &word).unwrap_err();
            assert!(matches!(error, TrustError::TrustRoot(_)), "{error}");
            assert_eq!(Trust::load(&state).unwrap().unwrap(), trust);
        }
    }

    #[test]
    fn an_expired_trust_root_and_a_stale_word_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::create(folder.path()).unwrap();
        let (root, one) = (key(), key());
        let trust_root = signed(1, &root, &[&one]);
        let stale = Trust::hear(&state, &trust_root, &fresh(1, &one, 25), Time(30)).unwrap();
        assert_eq!(stale.fresh_until(), None);
        assert!(stale.signers(Time(999)).is_ok());
        assert_eq!(stale.signers(Time(1_000)), Err(TrustRootError::Expired));
    }

    #[test]
    fn damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let state = StateDir::create(folder.path()).unwrap();
        assert_eq!(Trust::load(&state).unwrap(), None);
        state.write(TRUST, b"{").unwrap();
        let error = Trust::load(&state).unwrap_err();
        assert!(error.to_string().contains(TRUST), "{error}");
    }
}
