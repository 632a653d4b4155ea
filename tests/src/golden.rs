//! One value of every kind that travels or stays on disk, each with a name.
//!
//! `tests/golden/VERSION` holds their bytes as that minor version wrote them.
//! They must be read for ever and mean the same, so neither those files nor
//! what stands here for them is changed: what is new gets a name of its own.
#![allow(clippy::unwrap_used)]

use std::fmt::Debug;

use bincode::{Decode, Encode};
use common::evaluation::Evaluation;
use common::ids::{BlobHash, DeviceId, RoundId, TaskHash, Time, Version};
use common::round::{ContributionKey, Kind, Phase, Reason};
use common::transport::Traffic;
use common::trust::bundle::AnnouncedAuthority;
use common::trust::token::TokenId;
use common::wire::codec::{decode, encode};
use common::wire::gateway::*;
use common::wire::messages::*;
use common::withheld::{RawWithheld, WithheldCode};

mod log;

pub use log::log_entries;

/// Whether bytes are read as they were meant; if not, as what.
pub type Reading = Box<dyn Fn(&[u8]) -> Result<(), String>>;

/// A value, and what its bytes of an earlier version must be read as.
pub struct Case {
    /// Its file, without ending: the kind, a hyphen, the variant.
    pub name: String,
    /// Its bytes as this version writes them.
    pub bytes: Vec<u8>,
    /// Whether these bytes are read as this value; if not, as what.
    pub reads: Reading,
}

fn case<T>(kind: &str, variant: &str, value: T) -> Case
where
    T: Encode + Decode<()> + PartialEq + Debug + 'static,
{
    Case {
        name: format!("{kind}-{variant}"),
        bytes: encode(&value),
        reads: Box::new(move |bytes| match decode::<T>(bytes) {
            Ok(read) if read == value => Ok(()),
            Ok(read) => Err(format!("is read as {read:?}, it was {value:?}")),
            Err(error) => Err(error.to_string()),
        }),
    }
}

const TASK: TaskHash = TaskHash([1; 32]);
const BLOB: BlobHash = BlobHash([2; 32]);
const DEVICE: DeviceId = DeviceId([3; 16]);
const TOKEN: TokenId = TokenId([4; 8]);
const AT: Time = Time(1_800_000_000_123);
const ROUND: RoundId = RoundId(300);
const VERSION: Version = Version {
    epoch: 2,
    number: 70_000,
};
const KEY: ContributionKey = ContributionKey {
    task: TASK,
    transfer: Some(BLOB),
    round: ROUND,
    phase: Phase::Contribute,
    kind: Kind::Moments,
};
const ANNOUNCED: Announcement = Announcement {
    task: TASK,
    version: VERSION,
    blob: BLOB,
    bytes: 70_001,
    soak_ms: 1_800_000,
};

/// What devices and coordinator say to each other.
pub fn messages() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(to_coordinator());
    cases.extend(to_device());
    cases.extend(transfers());
    cases.extend(enrolment());
    cases.extend(gateways());
    cases
}

fn to_coordinator() -> Vec<Case> {
    let kind = "to_coordinator";
    let mut cases = vec![
        case(
            kind,
            "hello",
            ToCoordinator::Hello(Hello {
                minor: 0,
                agent: "0.1.0".to_owned(),
                installed: vec![(TASK, VERSION); 2],
                instance: 77,
                clock: Time(1_800_000_000_000),
            }),
        ),
        case(kind, "data_changed", ToCoordinator::DataChanged(TASK)),
    ];
    for phase in Phase::ALL {
        let value = ToCoordinator::Abstain {
            task: TASK,
            round: ROUND,
            phase,
        };
        cases.push(case(kind, &format!("abstain-{}", phase.name()), value));
    }
    for evaluation in evaluations() {
        let value = ToCoordinator::Tried {
            task: TASK,
            version: VERSION,
            evaluation,
        };
        cases.push(case(kind, &format!("tried-{}", word(&evaluation)), value));
    }
    for code in WithheldCode::ALL {
        let why = Some(RawWithheld {
            code,
            detail: "a.csv: line 3".to_owned(),
        });
        let value = ToCoordinator::Withholds { task: TASK, why };
        cases.push(case(kind, &format!("withholds-{}", code.name()), value));
    }
    let value = ToCoordinator::Withholds {
        task: TASK,
        why: None,
    };
    cases.push(case(kind, "withholds-nothing", value));
    cases
}

fn to_device() -> Vec<Case> {
    let kind = "to_device";
    let call = |phase, context| {
        ToDevice::Call(Call {
            task: TASK,
            round: ROUND,
            phase,
            context,
            remaining_ms: 60_000,
        })
    };
    let bare = Context {
        task: BLOB,
        normaliser: None,
        transfer: None,
        teacher: None,
        release: None,
    };
    let full = Context {
        task: BLOB,
        normaliser: Some(BlobHash([5; 32])),
        transfer: Some(BlobHash([6; 32])),
        teacher: Some(BlobHash([7; 32])),
        release: Some(BlobHash([8; 32])),
    };
    vec![
        case(
            kind,
            "welcome",
            ToDevice::Welcome(Welcome {
                minor: 0,
                time: AT,
                tasks: vec![(TASK, BLOB)],
                trust_root: vec![9; 300],
                freshness: vec![10; 90],
            }),
        ),
        case(kind, "call-profile", call(Phase::Profile, bare)),
        case(kind, "call-report", call(Phase::Report, full)),
        case(
            kind,
            "phase_closed",
            ToDevice::PhaseClosed {
                task: TASK,
                round: ROUND,
                phase: Phase::Summarise,
            },
        ),
        case(kind, "released", ToDevice::Released(ANNOUNCED)),
        case(kind, "renew", ToDevice::Renew),
    ]
}

fn transfers() -> Vec<Case> {
    let kind = "transfer_request";
    let mut cases = Vec::new();
    for of in Kind::ALL {
        let value = TransferRequest::Offer {
            key: ContributionKey { kind: of, ..KEY },
            blob: BLOB,
            bytes: 300,
        };
        cases.push(case(kind, &format!("offer-{}", of.name()), value));
    }
    let (blob, base) = (BLOB, BlobHash([5; 32]));
    let whole = |signature| TransferRequest::Whole {
        key: KEY,
        blob,
        bytes: 300,
        signature,
    };
    let rest = [
        ("fetch", TransferRequest::Fetch { blob, offset: 7 }),
        ("newest", TransferRequest::Newest { task: Some(TASK) }),
        ("newest-only", TransferRequest::Newest { task: None }),
        ("against", TransferRequest::FetchAgainst { blob, base }),
        (
            "signed_offer",
            TransferRequest::SignedOffer {
                key: KEY,
                blob,
                bytes: 300,
                signature: [9; 64],
            },
        ),
        ("whole", whole(None)),
        ("whole-signed", whole(Some([9; 64]))),
    ];
    cases.extend(rest.map(|(name, value)| case(kind, name, value)));

    let kind = "transfer_answer";
    let answers = [
        ("send", TransferAnswer::Send { offset: 1 << 20 }),
        ("accepted", TransferAnswer::Accepted),
        ("blob", TransferAnswer::Blob { bytes: 251 }),
        ("not_found", TransferAnswer::NotFound),
        ("newest", TransferAnswer::Newest(ANNOUNCED)),
        ("no_release", TransferAnswer::NoRelease),
        ("delta", TransferAnswer::Delta { bytes: 1_549 }),
        ("no_delta", TransferAnswer::NoDelta),
    ];
    cases.extend(answers.map(|(name, value)| case(kind, name, value)));
    for reason in reasons() {
        let name = format!("refused-{}", word(&reason));
        cases.push(case(kind, &name, TransferAnswer::Refused(reason)));
    }
    cases
}

fn gateways() -> Vec<Case> {
    let moved = Traffic {
        udp_tx_bytes: 300,
        udp_rx_bytes: 70_000,
    };
    vec![
        case(
            "from_gateway",
            "hello",
            FromGateway::Hello {
                minor: 0,
                program: "0.1.0".to_owned(),
            },
        ),
        case(
            "from_gateway",
            "figures",
            FromGateway::Figures(GatewayFigures {
                devices: 300,
                fetched_bytes: 70_000,
                served_bytes: 1 << 40,
            }),
        ),
        case(
            "to_gateway",
            "welcome",
            ToGateway::Welcome {
                minor: 0,
                time: AT,
                grace_ms: 70_000,
                authorities: vec![AnnouncedAuthority {
                    certificate: vec![1; 400],
                    cross: Some(vec![2; 300]),
                }],
            },
        ),
        case("to_gateway", "revoked", ToGateway::Revoked(vec![DEVICE; 2])),
        case("to_gateway", "ready", ToGateway::Ready),
        case("to_gateway", "renew", ToGateway::Renew),
        case(
            "purpose",
            "session",
            Purpose::Session {
                session: 300,
                certificate: vec![1; 400],
                address: ([10, 0, 0, 7], 40_000).into(),
            },
        ),
        case("purpose", "transfer", Purpose::Transfer { session: 300 }),
        case("purpose", "fetch", Purpose::Fetch { blob: BLOB }),
        case(
            "purpose",
            "against",
            Purpose::FetchAgainst {
                blob: BLOB,
                base: BlobHash([5; 32]),
            },
        ),
        case(
            "purpose",
            "renew",
            Purpose::Renew {
                certificate: vec![1; 400],
            },
        ),
        case("from_device", "said", FromDevice::Said(vec![7; 300])),
        case(
            "from_device",
            "traffic",
            FromDevice::Traffic {
                handshake: moved,
                work: moved,
            },
        ),
        case("for_device", "open", ForDevice::Open),
        case("for_device", "told", ForDevice::Told(vec![7; 300])),
        case(
            "for_device",
            "close",
            ForDevice::Close {
                code: 3,
                reason: "revoked".to_owned(),
            },
        ),
    ]
}

fn enrolment() -> Vec<Case> {
    let authorities = vec![
        AnnouncedAuthority {
            certificate: vec![1; 400],
            cross: None,
        },
        AnnouncedAuthority {
            certificate: vec![2; 400],
            cross: Some(vec![3; 400]),
        },
    ];
    let mut cases = vec![
        // A request holds a secret and so does not tell what is in it.
        Case {
            name: "enrol_request-join".to_owned(),
            ..opaque(EnrolRequest::Join {
                token: TOKEN.to_string(),
                secret: vec![1; 20],
                csr: vec![2; 250],
                label: "pump 7".to_owned(),
            })
        },
        Case {
            name: "enrol_request-renew".to_owned(),
            ..opaque(EnrolRequest::Renew { csr: vec![2; 250] })
        },
    ];
    let kind = "enrol_answer";
    cases.push(case(
        kind,
        "issued",
        EnrolAnswer::Issued {
            device: DEVICE,
            certificate: vec![3; 400],
            authorities: authorities.clone(),
            trust_root: vec![4; 300],
        },
    ));
    cases.push(case(
        kind,
        "waiting",
        EnrolAnswer::Waiting {
            device: DEVICE,
            retry_ms: 5_000,
        },
    ));
    cases.push(case(
        kind,
        "renewed",
        EnrolAnswer::Renewed {
            certificate: vec![3; 400],
            authorities,
        },
    ));
    for refusal in refusals() {
        let name = format!("refused-{}", word(&refusal));
        cases.push(case(kind, &name, EnrolAnswer::Refused(refusal)));
    }
    cases
}

fn opaque(value: EnrolRequest) -> Case {
    Case {
        name: String::new(),
        bytes: encode(&value),
        reads: Box::new(move |bytes| match decode::<EnrolRequest>(bytes) {
            Ok(read) if read == value => Ok(()),
            Ok(_) => Err("is read as another request".to_owned()),
            Err(error) => Err(error.to_string()),
        }),
    }
}

fn evaluations() -> [Evaluation; 6] {
    [
        Evaluation::Soaking,
        Evaluation::Kept,
        Evaluation::Untested,
        Evaluation::Worse,
        Evaluation::Refused,
        Evaluation::RolledBack,
    ]
}

fn reasons() -> [Reason; 14] {
    [
        Reason::UnknownTask,
        Reason::WrongRound,
        Reason::PhaseClosed,
        Reason::WrongKind,
        Reason::StaleSupport,
        Reason::Malformed,
        Reason::WrongShape,
        Reason::NotFinite,
        Reason::OutOfBounds,
        Reason::TooLarge,
        Reason::HashMismatch,
        Reason::Storage,
        Reason::NotAdmitted,
        Reason::OverBudget,
    ]
}

fn refusals() -> [EnrolRefusal; 9] {
    [
        EnrolRefusal::UnknownToken,
        EnrolRefusal::ExpiredToken,
        EnrolRefusal::UsedToken,
        EnrolRefusal::BadRequest,
        EnrolRefusal::RevokedKey,
        EnrolRefusal::Storage,
        EnrolRefusal::RevokedToken,
        EnrolRefusal::Denied,
        EnrolRefusal::NotAMember,
    ]
}

/// The stable word for a value, as in JSON.
fn word(value: &impl serde::Serialize) -> String {
    let text = serde_json::to_value(value).unwrap();
    text.as_str().unwrap().to_owned()
}
