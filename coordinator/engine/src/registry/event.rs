//! What the registry remembers.

use bincode::{Decode, Encode};
use protocol::ids::{DeviceId, Time};
use protocol::trust::certificate::Fingerprint;
use protocol::trust::token::{TokenId, TokenRecord};
use protocol::wire::messages::EnrolRefusal;
use serde::Serialize;

/// A change of the registry. Variants are only ever added at the end.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistryEvent {
    /// A join token was handed out.
    TokenCreated {
        /// The token, without its secret.
        record: TokenRecord,
        /// When.
        at: Time,
    },
    /// A device joined, or joined again with the same key.
    Admitted {
        /// The device.
        device: DeviceId,
        /// Its certificate.
        certificate: Certified,
        /// A name for people; may be empty.
        label: String,
        /// The token it showed.
        token: TokenId,
        /// When.
        at: Time,
    },
    /// A device's key is believed no more.
    Revoked {
        /// The device.
        device: DeviceId,
        /// Why, in the operator's words; may be empty.
        reason: String,
        /// When.
        at: Time,
    },
    /// A join token was taken back.
    TokenRevoked {
        /// The token.
        token: TokenId,
        /// When.
        at: Time,
    },
    /// A device showed a token that asks for an operator's approval.
    Applied {
        /// The device.
        device: DeviceId,
        /// A name for people; may be empty.
        label: String,
        /// The token it showed.
        token: TokenId,
        /// When.
        at: Time,
    },
    /// An operator let a device that applied in.
    Approved {
        /// The device.
        device: DeviceId,
        /// When.
        at: Time,
    },
    /// An operator turned a device that applied away.
    Denied {
        /// The device.
        device: DeviceId,
        /// When.
        at: Time,
    },
    /// A device got its next certificate.
    Renewed {
        /// The device.
        device: DeviceId,
        /// The certificate.
        certificate: Certified,
        /// When.
        at: Time,
    },
    /// A device got another name for people.
    Labelled {
        /// The device.
        device: DeviceId,
        /// The name; may be empty.
        label: String,
        /// When.
        at: Time,
    },
    /// A device that knew a token's secret was not let in.
    TurnedAway {
        /// The device.
        device: DeviceId,
        /// The token it showed.
        token: TokenId,
        /// Why.
        reason: EnrolRefusal,
        /// When.
        at: Time,
    },
}

impl RegistryEvent {
    /// When it happened.
    pub fn at(&self) -> Time {
        match self {
            Self::TokenCreated { at, .. }
            | Self::Admitted { at, .. }
            | Self::Revoked { at, .. }
            | Self::TokenRevoked { at, .. }
            | Self::Applied { at, .. }
            | Self::Approved { at, .. }
            | Self::Denied { at, .. }
            | Self::Renewed { at, .. }
            | Self::Labelled { at, .. }
            | Self::TurnedAway { at, .. } => *at,
        }
    }
}

/// A certificate a device was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode, Serialize)]
pub struct Certified {
    /// Its name.
    pub fingerprint: Fingerprint,
    /// The authority that signed it.
    pub authority: Fingerprint,
    /// When it ends.
    pub expires: Time,
}
