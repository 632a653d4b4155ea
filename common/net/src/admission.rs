//! Who the peer is, and whether it may stay.

use super::alpn::Protocol;
use protocol::close::CloseCode;
use protocol::ids::{DeviceId, Time};
use protocol::trust::certificate::CertificateFacts;

/// Who is at the other end, as shown by its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerIdentity {
    /// A device with a certificate that is good today.
    Device(DeviceId),
    /// A device whose certificate is over, within the time of grace. It may
    /// renew, and nothing else.
    LapsedDevice(DeviceId),
    /// A gateway with a certificate that is good today, which passes devices'
    /// sessions on.
    Gateway(DeviceId),
    /// Nobody in particular: no certificate was shown.
    Anonymous,
    /// The coordinator, or a gateway to it, as a device sees it.
    Coordinator,
}

impl PeerIdentity {
    /// The device, if it is one whose certificate is good today.
    pub fn device(self) -> Option<DeviceId> {
        match self {
            Self::Device(device) => Some(device),
            _ => None,
        }
    }
}

/// What the decision stands on besides the certificate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Question<'a> {
    pub(crate) protocol: Protocol,
    /// The certificate, whose signature TLS has verified; its dates have not
    /// been judged.
    pub(crate) certificate: Option<&'a CertificateFacts>,
    pub(crate) revoked: bool,
    pub(crate) now: Time,
    pub(crate) grace_ms: u64,
}

/// Decides about a peer, before anything it says is read.
///
/// A certificate that begins in the future is good: our own authority signed
/// that date, so it is our clock that is behind.
pub(crate) fn decide(question: Question<'_>) -> Result<PeerIdentity, CloseCode> {
    let Some(facts) = question.certificate else {
        return match question.protocol {
            Protocol::Devices => Err(CloseCode::Unauthenticated),
            Protocol::Gateways => Err(CloseCode::NotAGateway),
            Protocol::Enrolment => Ok(PeerIdentity::Anonymous),
        };
    };
    if question.revoked {
        return Err(CloseCode::Revoked);
    }
    match question.protocol {
        Protocol::Gateways if !facts.is_gateway => return Err(CloseCode::NotAGateway),
        // A gateway has no rows and no session of its own.
        Protocol::Devices if facts.is_gateway => return Err(CloseCode::Unauthenticated),
        Protocol::Gateways | Protocol::Devices | Protocol::Enrolment => {}
    }
    if question.now <= facts.not_after {
        return Ok(match question.protocol {
            Protocol::Gateways => PeerIdentity::Gateway(facts.device),
            Protocol::Devices | Protocol::Enrolment => PeerIdentity::Device(facts.device),
        });
    }
    let in_grace = question.now <= facts.not_after.after_ms(question.grace_ms);
    match question.protocol {
        Protocol::Enrolment if in_grace => Ok(PeerIdentity::LapsedDevice(facts.device)),
        _ => Err(CloseCode::Expired),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEVICE: DeviceId = DeviceId([3; 16]);

    fn facts() -> CertificateFacts {
        CertificateFacts {
            device: DEVICE,
            common_name: DEVICE.to_string(),
            not_before: Time(1_000),
            not_after: Time(2_000),
            is_authority: false,
            is_gateway: false,
            public_key: Vec::new(),
        }
    }

    fn ask(protocol: Protocol, now: u64, revoked: bool) -> Result<PeerIdentity, CloseCode> {
        decide(Question {
            protocol,
            certificate: Some(&facts()),
            revoked,
            now: Time(now),
            grace_ms: 500,
        })
    }

    #[test]
    fn an_expired_device_may_only_renew() {
        assert_eq!(
            ask(Protocol::Devices, 2_000, false),
            Ok(PeerIdentity::Device(DEVICE))
        );
        assert_eq!(
            ask(Protocol::Devices, 2_001, false),
            Err(CloseCode::Expired)
        );
        assert_eq!(
            ask(Protocol::Enrolment, 2_500, false),
            Ok(PeerIdentity::LapsedDevice(DEVICE))
        );
        assert_eq!(
            ask(Protocol::Enrolment, 2_501, false),
            Err(CloseCode::Expired)
        );
    }

    #[test]
    fn only_a_gateway_passes_devices_on_and_it_is_none() {
        let ask = |protocol, is_gateway, now| {
            decide(Question {
                protocol,
                certificate: Some(&CertificateFacts {
                    is_gateway,
                    ..facts()
                }),
                revoked: false,
                now: Time(now),
                grace_ms: 500,
            })
        };
        let gateways = Protocol::Gateways;
        assert_eq!(ask(gateways, true, 0), Ok(PeerIdentity::Gateway(DEVICE)));
        assert_eq!(ask(gateways, false, 0), Err(CloseCode::NotAGateway));
        assert_eq!(ask(gateways, true, 2_001), Err(CloseCode::Expired));
        let devices = Protocol::Devices;
        assert_eq!(ask(devices, true, 0), Err(CloseCode::Unauthenticated));
        let renewing = ask(Protocol::Enrolment, true, 2_100);
        assert_eq!(renewing, Ok(PeerIdentity::LapsedDevice(DEVICE)));
    }

    #[test]
    fn a_revoked_device_finds_every_door_closed() {
        for protocol in Protocol::ALL {
            for now in [0, 1_500, 2_200, 9_000] {
                assert_eq!(ask(protocol, now, true), Err(CloseCode::Revoked));
            }
        }
    }

    #[test]
    fn a_slow_clock_does_not_lock_devices_out() {
        assert_eq!(
            ask(Protocol::Devices, 0, false),
            Ok(PeerIdentity::Device(DEVICE))
        );
    }

    #[test]
    fn nobody_may_join_but_not_work() {
        let nobody = |protocol| {
            decide(Question {
                protocol,
                certificate: None,
                revoked: false,
                now: Time(0),
                grace_ms: 0,
            })
        };
        assert_eq!(nobody(Protocol::Enrolment), Ok(PeerIdentity::Anonymous));
        assert_eq!(nobody(Protocol::Devices), Err(CloseCode::Unauthenticated));
        assert_eq!(nobody(Protocol::Gateways), Err(CloseCode::NotAGateway));
    }
}
