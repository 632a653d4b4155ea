use std::net::UdpSocket;
use std::sync::Arc;

use common::transport::TransportError;
use common::trust::clock::Clock;

use super::super::{ServeError, Server};
use super::rig::{Rig, parts};
use crate::admin::SocketError;
use crate::identity::{Identity, IdentityError};
use crate::store::{MemoryStore, SledStore, StoreError};

fn identity() -> Identity {
    Identity::generate(&[], Clock::system().now()).unwrap()
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    let mut parts = parts(&Arc::new(MemoryStore::new()), &socket, identity());
    parts.listen = taken.local_addr().unwrap();
    match Server::start(parts).unwrap_err() {
        ServeError::Transport(TransportError::AddressInUse { address }) => {
            assert_eq!(address, taken.local_addr().unwrap());
        }
        other => panic!("{other:?}"),
    }
    assert!(!socket.exists(), "nothing is left behind");
}

#[tokio::test]
async fn a_socket_that_answers_is_not_taken_and_a_dead_one_is() {
    let rig = Rig::start();
    let store = Arc::new(MemoryStore::new());
    let second = Server::start(parts(&store, &rig.socket, identity()));
    assert!(matches!(
        second.unwrap_err(),
        ServeError::Socket(SocketError::InUse { .. })
    ));
    rig.status().await;

    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("admin.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(socket.exists());
    Server::start(parts(&store, &socket, identity())).unwrap();
}

#[tokio::test]
async fn a_socket_path_that_is_too_long_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("x".repeat(120));
    let start = Server::start(parts(&Arc::new(MemoryStore::new()), &socket, identity()));
    assert!(matches!(
        start.unwrap_err(),
        ServeError::Socket(SocketError::TooLong { .. })
    ));
}

/// A directory below a file cannot be made by anyone, root included.
#[test]
fn a_state_directory_that_cannot_be_written_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let state = file.path().join("state");
    let text = match identity().create_in(&state).unwrap_err() {
        error @ IdentityError::Io { .. } => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(text.contains(state.to_str().unwrap()), "{text}");
    assert!(text.contains("permissions"), "{text}");
    match SledStore::open(state.join("store")) {
        Err(StoreError::NotWritable { path, .. } | StoreError::Io { path, .. }) => {
            assert!(path.starts_with(&state));
        }
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("opened"),
    }
}

#[test]
fn an_identity_is_private_and_never_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let first = identity();
    first.create_in(&state).unwrap();
    let refused = identity().create_in(&state).unwrap_err();
    assert!(matches!(refused, IdentityError::Exists { .. }));
    let mode = |name: &str| {
        let path = state.join(name);
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(mode("."), 0o700);
    for key in ["ca-key.pem", "server-key.pem", "release-key.pem"] {
        assert_eq!(mode(key), 0o600, "{key}");
    }
    let again = Identity::load(&state, &[], Clock::system().now()).unwrap();
    assert_eq!(again.authority.fingerprint(), first.authority.fingerprint());
    assert_eq!(
        crate::identity::release_public_keys(&state).unwrap(),
        [first.release_key.verifying_key()]
    );
}

#[test]
fn a_server_certificate_is_replaced_before_its_end() {
    let folder = tempfile::tempdir().unwrap();
    identity().create_in(folder.path()).unwrap();
    let now = Clock::system().now();
    let same = Identity::load(folder.path(), &[], now).unwrap();
    let later = now.after_ms(800 * 24 * 3_600_000);
    let renewed = Identity::load(folder.path(), &[], later).unwrap();
    assert_ne!(same.server.chain()[0], renewed.server.chain()[0]);
    let kept = Identity::load(folder.path(), &[], later).unwrap();
    assert_eq!(kept.server.chain()[0], renewed.server.chain()[0]);
}

#[test]
fn a_state_directory_without_identity_says_how_to_make_one() {
    let folder = tempfile::tempdir().unwrap();
    let error = Identity::load(folder.path(), &[], Clock::system().now()).unwrap_err();
    assert!(matches!(error, IdentityError::Missing { .. }));
    assert!(error.to_string().contains("alambic-coordinator init"));
}
