//! The protocols spoken over QUIC, each with its name on the wire.

/// A protocol and its major version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Work between an admitted device and its coordinator.
    Devices,
    /// Joining, and renewing a certificate.
    Enrolment,
    /// A gateway's one connection to its coordinator.
    Gateways,
}

impl Protocol {
    /// Every protocol a coordinator answers to.
    pub const ALL: [Self; 3] = [Self::Devices, Self::Enrolment, Self::Gateways];

    /// The protocol's name on the wire (ALPN).
    pub fn alpn(self) -> &'static [u8] {
        match self {
            Self::Devices => b"alambic/1",
            Self::Enrolment => b"alambic-enrol/1",
            Self::Gateways => b"alambic-gateway/1",
        }
    }

    /// The protocol with this name on the wire.
    pub fn of_alpn(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.alpn() == name)
    }
}
