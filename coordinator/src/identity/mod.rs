//! What a coordinator proves itself with, and its files in the state
//! directory.

mod renewals;
mod rotation;
mod self_check;
mod terms;
mod trust_root;

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::ids::Time;
use common::trust::authority::{Authority, AuthorityError};
use common::trust::bundle::AnnouncedAuthority;
use common::trust::certificate::{CertificateError, Credentials};
use common::trust::keys::{KeyError, SigningKey};
use common::trust::trust_root::{SignedTrustRoot, TrustRootError};
use rustls_pki_types::CertificateDer;

pub use self::renewals::{order_renewals, renewals_ordered};
pub use self::rotation::{retire, rotate};
pub use self::self_check::self_check;
pub use self::terms::CertificateTerms;
pub use self::trust_root::{
    ROOT_KEY, TRUST_ROOT, TrustRootFile, TrustRootFileError, create_key, release_public_keys,
};

/// The file of the server's certificate, in the state directory.
pub const SERVER_CERTIFICATE: &str = "server.pem";
/// Days the server's certificate lasts.
pub const SERVER_DAYS: u32 = 825;
/// A server's certificate with fewer days left is replaced at the start.
const SERVER_DAYS_LEFT_MIN: u64 = 90;
const DAY_MS: u64 = 24 * 3_600_000;

/// The authority, the server's certificate, and the key that signs releases.
#[derive(Debug)]
pub struct Identity {
    /// Certifies devices and the server.
    pub authority: Authority,
    /// The server's certificate and key.
    pub server: Credentials,
    /// Signs releases.
    pub release_key: Arc<SigningKey>,
    /// What the root key says of the keys that may.
    pub trust_root: SignedTrustRoot,
    /// The root key, where it has just been made.
    root_key: Option<SigningKey>,
    /// The authority before this one, while devices still hold its
    /// certificates.
    pub previous: Option<Previous>,
}

/// The authority before the present one.
#[derive(Clone, Debug)]
pub struct Previous {
    /// Its certificate. Its key is gone.
    pub certificate: CertificateDer<'static>,
    /// What it said of the present one.
    pub cross: CertificateDer<'static>,
}

/// What to do about a file that the fleet cannot do without.
const LOST: &str = "restore the file from a backup, with `alambic-coordinator restore` into a \
                    directory of its own";

/// Why the state directory could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// There is one already.
    #[error(
        "{path} exists; this directory is a coordinator's already, choose another with --state"
    )]
    Exists {
        /// The file in the way.
        path: PathBuf,
    },
    /// There is none.
    #[error("{path} is missing; make the state directory with `alambic-coordinator init`")]
    Missing {
        /// The missing file.
        path: PathBuf,
    },
    /// The disk or its permissions.
    #[error("cannot {action} {path}: {source}; check its owner, its permissions and the mount")]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A key file is not what it should be.
    #[error("{path}: {source}; {LOST}")]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyError,
    },
    /// A certificate is not what it should be.
    #[error("{path}: {source}; {LOST}")]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CertificateError,
    },
    /// An exchange of authorities is under way already.
    #[error(
        "{path} exists: the authority before this one is still believed; wait until every \
         device has renewed, then `alambic-coordinator ca retire`"
    )]
    Rotating {
        /// The earlier authority's certificate.
        path: PathBuf,
    },
    /// The trust root is not what it should be.
    #[error("{path}: {source}; {LOST}")]
    TrustRoot {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: TrustRootError,
    },
    /// The authority's files are not what they should be.
    #[error("{certificate} and {key}: {source}; {LOST}")]
    AuthorityFiles {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What is wrong.
        source: AuthorityError,
    },
    /// The authority cannot be made or used.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
}

impl Identity {
    /// A new identity. `addresses` go into the server's certificate for
    /// other programs' sake; devices go by the authority.
    ///
    /// # Errors
    /// If the system gives no randomness.
    pub fn generate(addresses: &[IpAddr], now: Time) -> Result<Self, IdentityError> {
        let authority = Authority::create("coordinator", now)?;
        let server = authority.server_certificate(addresses, now, SERVER_DAYS)?;
        let release_key = SigningKey::generate().map_err(|source| IdentityError::Key {
            path: PathBuf::from(RELEASE_KEY),
            source,
        })?;
        let (root_key, trust_root) = trust_root::first(&release_key, now)?;
        Ok(Self {
            authority,
            server,
            release_key: Arc::new(release_key),
            trust_root,
            root_key: Some(root_key),
            previous: None,
        })
    }

    /// The authorities whose devices are known.
    pub fn authorities(&self) -> Vec<CertificateDer<'static>> {
        let previous = self.previous.iter().map(|one| one.certificate.clone());
        let mut all = vec![self.authority.certificate().clone()];
        all.extend(previous);
        all
    }

    /// The authorities as devices are told of them.
    pub fn announced(&self) -> Vec<AnnouncedAuthority> {
        let mut all = vec![AnnouncedAuthority {
            certificate: self.authority.certificate().to_vec(),
            cross: self.previous.as_ref().map(|one| one.cross.to_vec()),
        }];
        all.extend(self.previous.iter().map(|one| AnnouncedAuthority {
            certificate: one.certificate.to_vec(),
            cross: None,
        }));
        all
    }

    /// Writes a new identity into a state directory, which is made if it is
    /// missing, for its owner only. Private keys get mode 0600.
    ///
    /// # Errors
    /// [`IdentityError::Exists`] if the directory has an identity; nothing
    /// is changed then.
    pub fn create_in(&self, state: &Path) -> Result<(), IdentityError> {
        create_folder(state)?;
        for name in [
            AUTHORITY,
            AUTHORITY_KEY,
            SERVER,
            SERVER_KEY,
            RELEASE_KEY,
            ROOT_KEY,
            TRUST_ROOT,
        ] {
            let path = state.join(name);
            if path.exists() {
                return Err(IdentityError::Exists { path });
            }
        }
        let public = self.release_key.verifying_key().to_string();
        let files = [
            (RELEASE_PUBLIC, public, 0o644),
            (AUTHORITY, self.authority.certificate_pem(), 0o644),
            (AUTHORITY_KEY, self.authority.key_pem(), 0o600),
            (SERVER, self.server.chain_pem(), 0o644),
            (SERVER_KEY, self.server.key_pem(), 0o600),
            (RELEASE_KEY, self.release_key.to_pem(), 0o600),
        ];
        for (name, text, mode) in files {
            write_new(&state.join(name), &text, mode)?;
        }
        if let Some(root) = &self.root_key {
            write_new(&state.join(ROOT_KEY), &root.to_pem(), 0o600)?;
        }
        let trust_root = hex::encode(self.trust_root.to_bytes());
        write_new(&state.join(TRUST_ROOT), &trust_root, 0o644)?;
        Ok(())
    }

    /// Reads the identity in a state directory. A server certificate that is
    /// about to end, or is by another authority, is replaced; an exchange of
    /// authorities that was cut off is finished.
    ///
    /// # Errors
    /// [`IdentityError::Missing`] before `init`, and whatever is wrong with
    /// a file.
    pub fn load(state: &Path, addresses: &[IpAddr], now: Time) -> Result<Self, IdentityError> {
        rotation::finish(state)?;
        let authority = stored_authority(state)?;
        let release_key = trust_root::key_in(&state.join(RELEASE_KEY))?;
        let certificate = |source| IdentityError::Certificate {
            path: state.join(SERVER),
            source,
        };
        let previous = rotation::previous(state)?;
        let mut server = match stored_server(state, &authority, now)? {
            Ok(server) => server,
            Err(why) => {
                let server = authority.server_certificate(addresses, now, SERVER_DAYS)?;
                replace(&state.join(SERVER_KEY), &server.key_pem(), 0o600)?;
                replace(&state.join(SERVER), &server.chain_pem(), 0o644)?;
                why.tell(state);
                server
            }
        };
        if let Some(previous) = &previous {
            let mut chain = server.chain().to_vec();
            chain.extend([previous.cross.clone(), previous.certificate.clone()]);
            server = Credentials::new(chain, server.key().clone_key()).map_err(certificate)?;
        }
        let trust_root = trust_root::load(state, &release_key, now)?;
        trust_root::look_after_copies(state, &release_key, &trust_root);
        Ok(Self {
            authority,
            server,
            trust_root,
            release_key: Arc::new(release_key),
            root_key: None,
            previous,
        })
    }
}

/// Whether [`Identity::load`] can read a state directory, of which nothing is
/// changed. A server's certificate that it makes anew, for it is damaged, is
/// told of with what is wrong with it.
///
/// # Errors
/// As of [`Identity::load`].
pub fn examine(state: &Path, now: Time) -> Result<Option<String>, IdentityError> {
    let authority = stored_authority(state)?;
    let release_key = trust_root::key_in(&state.join(RELEASE_KEY))?;
    rotation::previous(state)?;
    let server = stored_server(state, &authority, now)?;
    trust_root::load(state, &release_key, now)?;
    Ok(match server {
        Err(Renewed::Damaged(what)) => Some(what),
        Err(Renewed::InTime) | Ok(_) => None,
    })
}

fn stored_authority(state: &Path) -> Result<Authority, IdentityError> {
    let (certificate, key) = (
        rotation::current(state, AUTHORITY),
        rotation::current(state, AUTHORITY_KEY),
    );
    let authority = Authority::from_pem(&read(&certificate)?, &read(&key)?);
    authority.map_err(|source| IdentityError::AuthorityFiles {
        certificate,
        key,
        source,
    })
}

/// Why the server gets a new certificate.
enum Renewed {
    /// The old one is about to end, or its authority was exchanged.
    InTime,
    /// The old one, or its key, is not what was written.
    Damaged(String),
}

impl Renewed {
    fn tell(&self, state: &Path) {
        match self {
            Self::InTime => tracing::info!("the server's certificate was replaced"),
            Self::Damaged(what) => tracing::warn!(
                "{} and {SERVER_KEY} were made anew, for they were damaged ({what}); check the disk",
                state.join(SERVER).display()
            ),
        }
    }
}

/// The server's certificate and key as they are stored, unless new ones are
/// due. Nothing is lost with them: the authority makes others, and devices go
/// by the authority.
fn stored_server(
    state: &Path,
    authority: &Authority,
    now: Time,
) -> Result<Result<Credentials, Renewed>, IdentityError> {
    let mut texts = [SERVER, SERVER_KEY].map(|name| read(&state.join(name)));
    for text in &mut texts {
        // Bytes that are no text are damage like any other.
        if matches!(text, Err(IdentityError::Io { source, .. })
            if source.kind() == io::ErrorKind::InvalidData)
        {
            *text = Ok(String::new());
        }
    }
    let [chain, key] = texts;
    let stored = Credentials::from_pem(&chain?, &key?)
        .and_then(|server| Ok((server.facts()?.not_after, server)));
    let (ends, server) = match stored {
        Ok(stored) => stored,
        Err(error) => return Ok(Err(Renewed::Damaged(error.to_string()))),
    };
    let is_by_another = server.chain().get(1) != Some(authority.certificate());
    if is_by_another || ends.since_ms(now) < SERVER_DAYS_LEFT_MIN * DAY_MS {
        return Ok(Err(Renewed::InTime));
    }
    if !authority.has_made(&server) {
        let what = "the authority's signature or the key does not fit".to_owned();
        return Ok(Err(Renewed::Damaged(what)));
    }
    Ok(Ok(server))
}

pub(super) const AUTHORITY: &str = "ca.pem";
pub(super) const AUTHORITY_KEY: &str = "ca-key.pem";
const SERVER: &str = SERVER_CERTIFICATE;
pub(super) const SERVER_KEY: &str = "server-key.pem";
pub(super) const RELEASE_KEY: &str = "release-key.pem";
pub(super) const RELEASE_PUBLIC: &str = "release-key.pub";

fn create_folder(path: &Path) -> Result<(), IdentityError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|source| IdentityError::Io {
            action: "create",
            path: path.to_owned(),
            source,
        })
}

/// Writes a file that must not exist yet.
///
/// # Errors
/// [`IdentityError::Exists`] or [`IdentityError::Io`].
pub fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), IdentityError> {
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
    let path = path.to_owned();
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => IdentityError::Exists { path },
        _ => IdentityError::Io {
            action: "write",
            path,
            source,
        },
    })
}

pub(super) fn replace(path: &Path, text: &str, mode: u32) -> Result<(), IdentityError> {
    let new = path.with_extension("new");
    // Left behind by an attempt that was cut off, if it is there at all.
    let _ = fs::remove_file(&new);
    write_new(&new, text, mode)?;
    fs::rename(&new, path).map_err(|source| IdentityError::Io {
        action: "replace",
        path: path.to_owned(),
        source,
    })
}

pub(super) fn read(path: &Path) -> Result<String, IdentityError> {
    fs::read_to_string(path).map_err(|source| {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound => IdentityError::Missing { path },
            _ => IdentityError::Io {
                action: "read",
                path,
                source,
            },
        }
    })
}
