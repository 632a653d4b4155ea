//! Why a connection or a stream ends, as a number both sides know.

use std::fmt;

/// The reason given to the peer. The numbers are part of the protocol: they
/// are never changed and never used again for something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseCode {
    /// 0: nothing is wrong; the work is done.
    Normal,
    /// 1: no certificate, where one is needed.
    Unauthenticated,
    /// 2: the certificate's time is over.
    Expired,
    /// 3: the device was revoked.
    Revoked,
    /// 4: a newer session of the same device took over.
    Superseded,
    /// 5: the protocol or its version is not spoken here.
    ProtocolVersion,
    /// 6: the peer broke the protocol.
    Violation,
    /// 7: the program is going down.
    Shutdown,
    /// 8: too many connections; try again later.
    Overloaded,
    /// 9: the peer made no progress for too long.
    Stalled,
    /// 10: a fault on the side that closes.
    Internal,
    /// 11: the peer broke the protocol too often; try again much later.
    Quarantined,
    /// 12: the certificate is no gateway's, where one is needed.
    NotAGateway,
    /// 13: this coordinator stands by for another. The words beside the code are
    /// where devices reach that one, as `host:port`, or nothing.
    NotLeading,
    /// Any other number, from a newer version.
    Other(u32),
}

impl CloseCode {
    /// The number on the wire.
    pub fn number(self) -> u32 {
        match self {
            Self::Normal => 0,
            Self::Unauthenticated => 1,
            Self::Expired => 2,
            Self::Revoked => 3,
            Self::Superseded => 4,
            Self::ProtocolVersion => 5,
            Self::Violation => 6,
            Self::Shutdown => 7,
            Self::Overloaded => 8,
            Self::Stalled => 9,
            Self::Internal => 10,
            Self::Quarantined => 11,
            Self::NotAGateway => 12,
            Self::NotLeading => 13,
            Self::Other(number) => number,
        }
    }

    /// The reason behind a number on the wire.
    pub fn of_number(number: u32) -> Self {
        match number {
            0 => Self::Normal,
            1 => Self::Unauthenticated,
            2 => Self::Expired,
            3 => Self::Revoked,
            4 => Self::Superseded,
            5 => Self::ProtocolVersion,
            6 => Self::Violation,
            7 => Self::Shutdown,
            8 => Self::Overloaded,
            9 => Self::Stalled,
            10 => Self::Internal,
            11 => Self::Quarantined,
            12 => Self::NotAGateway,
            13 => Self::NotLeading,
            other => Self::Other(other),
        }
    }
}

impl fmt::Display for CloseCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Normal => "done",
            Self::Unauthenticated => "a device certificate is needed",
            Self::Expired => "the certificate has expired",
            Self::Revoked => "the device was revoked",
            Self::Superseded => "a newer session of this device took over",
            Self::ProtocolVersion => "the protocol version is not spoken here",
            Self::Violation => "the protocol was broken",
            Self::Shutdown => "the program is going down",
            Self::Overloaded => "too many connections",
            Self::Stalled => "no progress for too long",
            Self::Internal => "a fault on the other side",
            Self::Quarantined => "in quarantine for breaking the protocol",
            Self::NotAGateway => "a gateway's certificate is needed",
            Self::NotLeading => "another coordinator leads",
            Self::Other(number) => return write!(f, "reason {number}, unknown to this version"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_stable_and_every_number_has_one_meaning() {
        for number in 0..64 {
            assert_eq!(CloseCode::of_number(number).number(), number);
        }
        assert_eq!(CloseCode::Unauthenticated.number(), 1);
        assert_eq!(CloseCode::Revoked.number(), 3);
        assert_eq!(CloseCode::Internal.number(), 10);
        assert_eq!(CloseCode::NotLeading.number(), 13);
        assert_eq!(CloseCode::of_number(14), CloseCode::Other(14));
    }
}
