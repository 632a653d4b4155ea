#![allow(clippy::unwrap_used)]
use super::*;
use crate::identity::Identity;

const NOW: Time = Time(1_800_000_000_000);

fn state() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let identity = Identity::generate(&[], NOW).unwrap();
    identity.create_in(folder.path()).unwrap();
    folder
}

fn loaded(folder: &tempfile::TempDir) -> Identity {
    Identity::load(folder.path(), &[], NOW).unwrap()
}

#[test]
fn each_change_is_a_trust_root_that_follows_the_one_before() {
    let folder = state();
    let first = loaded(&folder);
    let known = first.trust_root.first().unwrap().clone();
    let mut file = TrustRootFile::open(folder.path(), NOW).unwrap();
    let next = file.rotate(None, false, NOW).unwrap();
    let rotated = loaded(&folder);
    assert_eq!(rotated.release_key.verifying_key(), next);
    let trust_root = rotated.trust_root.after(&known).unwrap();
    let old = first.release_key.verifying_key();
    assert_eq!(trust_root.release_keys, [old, next]);
    let busy = file.revoke(next.id(), None, NOW).unwrap_err();
    assert!(matches!(busy, TrustRootFileError::InUse(_)), "{busy}");
    file.revoke(old.id(), None, NOW).unwrap();
    let revoked = loaded(&folder);
    let trust_root = revoked.trust_root.after(&known).unwrap();
    assert_eq!(trust_root.release_keys, [next]);
    let gone = file.revoke(old.id(), None, NOW).unwrap_err();
    assert!(matches!(gone, TrustRootFileError::UnknownKey(_)), "{gone}");
    let last = file.rotate(None, true, NOW).unwrap();
    let trust_root = loaded(&folder).trust_root;
    assert_eq!(trust_root.after(&known).unwrap().release_keys, [last]);
}

#[test]
fn the_root_key_may_be_elsewhere_and_be_handed_on() {
    let folder = state();
    let known = loaded(&folder).trust_root.first().unwrap().clone();
    let safe = tempfile::tempdir().unwrap();
    let (away, other) = (safe.path().join("root.pem"), safe.path().join("other.pem"));
    let mut file = TrustRootFile::open(folder.path(), NOW).unwrap();
    file.take_root_away(&away).unwrap();
    assert!(!file.has_root());
    let missing = file.renew(None, NOW).unwrap_err();
    assert!(matches!(missing, TrustRootFileError::RootAway { .. }));
    create_key(&other).unwrap();
    let wrong = file.renew(Some(&other), NOW).unwrap_err();
    assert!(matches!(wrong, TrustRootFileError::NotTheRoot { .. }));
    file.renew(Some(&away), NOW).unwrap();
    let next = file.rotate_root(Some(&away), Some(&other), NOW).unwrap();
    let trust_root = loaded(&folder).trust_root;
    assert_eq!(trust_root.after(&known).err(), None);
    assert_eq!(trust_root.first().unwrap().root, next);
    let old = file.renew(Some(&away), NOW).unwrap_err();
    assert!(matches!(old, TrustRootFileError::NotTheRoot { .. }));
    file.renew(Some(&other), NOW).unwrap();
    assert!(create_key(&other).is_err(), "it is not overwritten");
}

#[test]
fn a_state_directory_without_its_trust_root_is_refused() {
    let folder = state();
    fs::remove_file(folder.path().join(TRUST_ROOT)).unwrap();
    let error = Identity::load(folder.path(), &[], NOW).unwrap_err();
    assert!(
        matches!(&error, IdentityError::Missing { path } if path.ends_with(TRUST_ROOT)),
        "{error}"
    );
}

#[test]
fn a_trust_root_without_the_key_in_use_is_refused() {
    let folder = state();
    let other = state();
    let from = other.path().join(TRUST_ROOT);
    fs::copy(from, folder.path().join(TRUST_ROOT)).unwrap();
    let error = Identity::load(folder.path(), &[], NOW).unwrap_err();
    assert!(error.to_string().contains(TRUST_ROOT), "{error}");
}
