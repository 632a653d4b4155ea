//! Who is who, and who may say what: keys, certificates, tokens, releases.
//!
//! Nothing here touches a disk or a clock. Keys and certificates come and go
//! as PEM text, which the programs keep in files that only they may read;
//! the time is told through a [`clock::Clock`].
//!
//! Every certificate in a fleet hangs from one [`authority::Authority`], the
//! coordinator's own, or, while that is exchanged, from the next one
//! ([`bundle`]). A device makes its key itself
//! ([`device_key::DeviceKey`]), sends a signing request, and gets a
//! certificate that names it by the hash of that key. It finds the right
//! coordinator the first time by the authority's fingerprint inside its
//! [`token::JoinToken`].
//!
//! Releases are signed by keys that a [`trust_root`] names, in the words of a
//! root key that may be kept offline.

pub mod authority;
pub mod bundle;
pub mod certificate;
pub mod clock;
pub mod device_key;
pub mod keys;
pub mod offer;
mod pem;
pub mod release;
pub mod token;
pub mod trust_root;
