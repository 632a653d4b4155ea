//! Which keys may sign releases, in the words of a root key.
//!
//! The root key signs a trust root now and then and may lie in a safe in
//! between. A trust root has a number that only rises, so a key that was taken
//! out of it stays out. The next root key is introduced by the one before: a
//! trust root that names another root carries both signatures.

use super::keys::{KeyError, KeyId, Signature, SigningKey, VerifyingKey};
use crate::ids::Time;

/// The context every trust root is signed in.
pub const TRUST_ROOT_CONTEXT: &str = "alambic charter v1";
/// The context every statement of freshness is signed in.
pub const FRESHNESS_CONTEXT: &str = "alambic freshness v1";
/// Keys that may sign releases at the same time.
pub const RELEASE_KEYS_MAX: usize = 16;

/// Why a trust root or a statement is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TrustRootError {
    /// The bytes are malformed.
    #[error("not a trust root: {0}")]
    Malformed(&'static str),
    /// A signature is missing.
    #[error("the trust root is not signed by key {0}")]
    Unsigned(KeyId),
    /// A signature does not hold.
    #[error("trust root: {0}")]
    Signature(#[from] KeyError),
    /// A newer one is known.
    #[error("trust root {got} is older than {known}, which is known")]
    Older {
        /// The number offered.
        got: u64,
        /// The number known.
        known: u64,
    },
    /// Another trust root has the same number.
    #[error(
        "there are two trust roots of number {0}: the root key has signed twice, or was copied"
    )]
    Forked(u64),
    /// Its time is over.
    #[error("the trust root has expired; the operator signs the next one with `key renew`")]
    Expired,
    /// The statement is by no key of the trust root.
    #[error("the statement of freshness is signed by key {0}, which the trust root does not name")]
    UnknownKey(KeyId),
}

/// Which keys may sign releases.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustRoot {
    /// Rises with each trust root.
    pub number: u64,
    /// When it was signed.
    pub issued: Time,
    /// When it ends.
    pub expires: Time,
    /// The key that signs the next trust root.
    pub root: VerifyingKey,
    /// The keys that may sign releases, at least one.
    pub release_keys: Vec<VerifyingKey>,
}

/// A trust root and the signatures on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedTrustRoot {
    trust_root: TrustRoot,
    signatures: Vec<(KeyId, Signature)>,
}

impl SignedTrustRoot {
    /// Signs a trust root with its root key, and with the one before if that is
    /// another.
    ///
    /// # Errors
    /// None in practice: the context is short enough.
    pub fn sign(trust_root: TrustRoot, roots: &[&SigningKey]) -> Result<Self, KeyError> {
        let payload = trust_root.to_bytes();
        let sign = |key: &&SigningKey| {
            let signature = key.sign(TRUST_ROOT_CONTEXT, &payload)?;
            Ok((key.verifying_key().id(), signature))
        };
        let signatures = roots.iter().map(sign).collect::<Result<_, KeyError>>()?;
        Ok(Self {
            trust_root,
            signatures,
        })
    }

    /// The trust root, if its own root key signed it: for anyone who got it on a
    /// way that is trusted.
    ///
    /// # Errors
    /// [`TrustRootError::Unsigned`] or [`TrustRootError::Signature`].
    pub fn first(&self) -> Result<&TrustRoot, TrustRootError> {
        self.by(&self.trust_root.root)?;
        Ok(&self.trust_root)
    }

    /// The trust root, if it follows the one that is known.
    ///
    /// # Errors
    /// [`TrustRootError::Older`], [`TrustRootError::Forked`],
    /// [`TrustRootError::Unsigned`] or [`TrustRootError::Signature`].
    pub fn after(&self, known: &TrustRoot) -> Result<&TrustRoot, TrustRootError> {
        self.by(&known.root)?;
        let trust_root = self.first()?;
        if trust_root.number < known.number {
            return Err(TrustRootError::Older {
                got: trust_root.number,
                known: known.number,
            });
        }
        if trust_root.number == known.number && trust_root != known {
            return Err(TrustRootError::Forked(known.number));
        }
        Ok(trust_root)
    }

    /// The number of the trust root, no matter who signed it.
    pub fn number(&self) -> u64 {
        self.trust_root.number
    }

    fn by(&self, key: &VerifyingKey) -> Result<(), TrustRootError> {
        let id = key.id();
        let found = self.signatures.iter().find(|(by, _)| *by == id);
        let (_, signature) = found.ok_or(TrustRootError::Unsigned(id))?;
        Ok(key.verify(TRUST_ROOT_CONTEXT, &self.trust_root.to_bytes(), signature)?)
    }

    /// `"ALC1" | trust root | number of signatures | (key id | signature)…`.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = TRUST_ROOT_MAGIC.to_vec();
        bytes.extend(self.trust_root.to_bytes());
        bytes.push(self.signatures.len() as u8);
        for (key, signature) in &self.signatures {
            bytes.extend_from_slice(&key.0);
            bytes.extend_from_slice(&signature.0);
        }
        bytes
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Nothing is verified.
    ///
    /// # Errors
    /// [`TrustRootError::Malformed`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, TrustRootError> {
        let rest = bytes.strip_prefix(TRUST_ROOT_MAGIC);
        let mut rest =
            Reader(rest.ok_or(TrustRootError::Malformed("it does not begin with ALC1"))?);
        let trust_root = TrustRoot {
            number: rest.number()?,
            issued: Time(rest.number()?),
            expires: Time(rest.number()?),
            root: VerifyingKey(rest.take()?),
            release_keys: rest.list(RELEASE_KEYS_MAX, |rest| Ok(VerifyingKey(rest.take()?)))?,
        };
        let signatures = rest.list(SIGNATURES_MAX, |rest| {
            Ok((KeyId(rest.take()?), Signature(rest.take()?)))
        })?;
        if trust_root.release_keys.is_empty() {
            return Err(TrustRootError::Malformed("it names no key"));
        }
        rest.end()?;
        Ok(Self {
            trust_root,
            signatures,
        })
    }
}

impl TrustRoot {
    /// `number | issued | expires | root | number of keys | keys`, numbers as
    /// 8 bytes little-endian and one.
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for number in [self.number, self.issued.0, self.expires.0] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(&self.root.0);
        bytes.push(self.release_keys.len() as u8);
        for key in &self.release_keys {
            bytes.extend_from_slice(&key.0);
        }
        bytes
    }
}

/// The coordinator's word, by a release key, that what it says is of today.
/// Anyone who only replays what was said once cannot give it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freshness {
    /// When it was signed.
    pub issued: Time,
    /// Until when what the coordinator offers may be installed.
    pub expires: Time,
    /// Number of the trust root that holds.
    pub trust_root: u64,
}

impl Freshness {
    /// `"ALF1" | issued | expires | trust root | key id | signature`.
    ///
    /// # Errors
    /// None in practice: the context is short enough.
    pub fn sign(&self, key: &SigningKey) -> Result<Vec<u8>, KeyError> {
        let payload = self.payload();
        let signature = key.sign(FRESHNESS_CONTEXT, &payload)?;
        let mut bytes = FRESHNESS_MAGIC.to_vec();
        bytes.extend(payload);
        bytes.extend_from_slice(&key.verifying_key().id().0);
        bytes.extend_from_slice(&signature.0);
        Ok(bytes)
    }

    /// The statement, if one of these keys signed it.
    ///
    /// # Errors
    /// [`TrustRootError::Malformed`], [`TrustRootError::UnknownKey`] or
    /// [`TrustRootError::Signature`].
    pub fn open(bytes: &[u8], keys: &[VerifyingKey]) -> Result<Self, TrustRootError> {
        let rest = bytes.strip_prefix(FRESHNESS_MAGIC);
        let mut rest =
            Reader(rest.ok_or(TrustRootError::Malformed("it does not begin with ALF1"))?);
        let statement = Self {
            issued: Time(rest.number()?),
            expires: Time(rest.number()?),
            trust_root: rest.number()?,
        };
        let (id, signature) = (KeyId(rest.take()?), Signature(rest.take()?));
        rest.end()?;
        let key = keys.iter().find(|key| key.id() == id);
        let key = key.ok_or(TrustRootError::UnknownKey(id))?;
        key.verify(FRESHNESS_CONTEXT, &statement.payload(), &signature)?;
        Ok(statement)
    }

    fn payload(&self) -> Vec<u8> {
        let numbers = [self.issued.0, self.expires.0, self.trust_root];
        numbers
            .iter()
            .flat_map(|number| number.to_le_bytes())
            .collect()
    }
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], TrustRootError> {
        let short = TrustRootError::Malformed("it ends too early");
        let (head, rest) = self.0.split_first_chunk::<N>().ok_or(short)?;
        self.0 = rest;
        Ok(*head)
    }

    fn number(&mut self) -> Result<u64, TrustRootError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    fn list<T>(
        &mut self,
        max: usize,
        one: impl Fn(&mut Self) -> Result<T, TrustRootError>,
    ) -> Result<Vec<T>, TrustRootError> {
        let [count] = self.take()?;
        if usize::from(count) > max {
            return Err(TrustRootError::Malformed("it holds more than is allowed"));
        }
        (0..count).map(|_| one(self)).collect()
    }

    fn end(&self) -> Result<(), TrustRootError> {
        match self.0 {
            [] => Ok(()),
            _ => Err(TrustRootError::Malformed("it goes on after its end")),
        }
    }
}

const TRUST_ROOT_MAGIC: &[u8; 4] = b"ALC1";
const FRESHNESS_MAGIC: &[u8; 4] = b"ALF1";
/// The root's, and the one's before it.
const SIGNATURES_MAX: usize = 4;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn key() -> SigningKey {
        SigningKey::generate().unwrap()
    }

    fn trust_root(number: u64, root: &SigningKey, keys: &[&SigningKey]) -> TrustRoot {
        TrustRoot {
            number,
            issued: Time(10),
            expires: Time(1_000),
            root: root.verifying_key(),
            release_keys: keys.iter().map(|key| key.verifying_key()).collect(),
        }
    }

    fn signed(trust_root: TrustRoot, roots: &[&SigningKey]) -> SignedTrustRoot {
        SignedTrustRoot::sign(trust_root, roots).unwrap()
    }

    #[test]
    fn a_trust_root_round_trips_and_any_flip_is_refused() {
        let (root, one, two) = (key(), key(), key());
        let trust_root = trust_root(3, &root, &[&one, &two]);
        let bytes = signed(trust_root.clone(), &[&root]).to_bytes();
        let again = SignedTrustRoot::from_bytes(&bytes).unwrap();
        assert_eq!(again.first().unwrap(), &trust_root);
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            let believed = SignedTrustRoot::from_bytes(&changed)
                .and_then(|read| read.after(&trust_root).map(|_| ()));
            assert!(believed.is_err(), "byte {at}");
        }
    }

    #[test]
    fn a_trust_root_needs_a_higher_number_and_its_root_key() {
        let (root, thief, one, two) = (key(), key(), key(), key());
        let known = trust_root(3, &root, &[&one]);
        let next = signed(trust_root(4, &root, &[&two]), &[&root]);
        assert_eq!(next.after(&known).unwrap().number, 4);
        let same = signed(known.clone(), &[&root]);
        assert!(same.after(&known).is_ok());
        let older = signed(trust_root(2, &root, &[&two]), &[&root]);
        assert_eq!(
            older.after(&known),
            Err(TrustRootError::Older { got: 2, known: 3 })
        );
        let fork = signed(trust_root(3, &root, &[&two]), &[&root]);
        assert_eq!(fork.after(&known), Err(TrustRootError::Forked(3)));
        let stolen = signed(trust_root(4, &thief, &[&thief]), &[&thief]);
        let root_id = root.verifying_key().id();
        assert_eq!(stolen.after(&known), Err(TrustRootError::Unsigned(root_id)));
    }

    #[test]
    fn the_next_root_is_introduced_by_the_one_before() {
        let (root, next, one) = (key(), key(), key());
        let known = trust_root(3, &root, &[&one]);
        let rotated = trust_root(4, &next, &[&one]);
        let alone = signed(rotated.clone(), &[&next]);
        assert!(alone.after(&known).is_err());
        let unproven = signed(rotated.clone(), &[&root]);
        assert!(unproven.after(&known).is_err());
        let both = signed(rotated.clone(), &[&root, &next]);
        assert_eq!(both.after(&known).unwrap(), &rotated);
        // From there on the old root has nothing to say.
        let back = signed(trust_root(5, &root, &[&one]), &[&root]);
        assert!(back.after(&rotated).is_err());
    }

    #[test]
    fn a_statement_of_freshness_is_by_a_key_of_the_trust_root() {
        let (one, other) = (key(), key());
        let statement = Freshness {
            issued: Time(5),
            expires: Time(50),
            trust_root: 2,
        };
        let bytes = statement.sign(&one).unwrap();
        let opened = Freshness::open(&bytes, &[other.verifying_key(), one.verifying_key()]);
        assert_eq!(opened.unwrap(), statement);
        let unknown = Freshness::open(&bytes, &[other.verifying_key()]).unwrap_err();
        assert!(matches!(unknown, TrustRootError::UnknownKey(_)));
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(Freshness::open(&changed, &[one.verifying_key()]).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(
            magic in prop::sample::select(vec![TRUST_ROOT_MAGIC, FRESHNESS_MAGIC]),
            bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let bytes = [magic.as_slice(), &bytes].concat();
            let _ = SignedTrustRoot::from_bytes(&bytes);
            let _ = Freshness::open(&bytes, &[]);
        }
    }
}
