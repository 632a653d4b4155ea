#![allow(clippy::unwrap_used)]
use super::*;
use protocol::trust::certificate::Fingerprint;
use protocol::trust::token::TokenTerms;

const DEVICE: DeviceId = DeviceId([1; 16]);
const OTHER: DeviceId = DeviceId([2; 16]);

fn with_token(uses_max: u32) -> (Registry, TokenId, TokenSecret) {
    with_terms(TokenTerms {
        expires: Time(1_000),
        uses_max,
        group: None,
        approval: Approval::Auto,
    })
}

fn with_terms(terms: TokenTerms) -> (Registry, TokenId, TokenSecret) {
    let (token, record) = TokenRecord::create(Fingerprint([0; 32]), terms).unwrap();
    let mut registry = Registry::default();
    registry.apply(&RegistryEvent::TokenCreated {
        record,
        at: Time(0),
    });
    (registry, token.id, token.secret)
}

fn certified(name: u8, expires: u64) -> Certified {
    Certified {
        fingerprint: Fingerprint([name; 32]),
        authority: Fingerprint([0; 32]),
        expires: Time(expires),
    }
}

fn admitted(device: DeviceId, token: TokenId, at: u64) -> RegistryEvent {
    RegistryEvent::Admitted {
        device,
        certificate: certified(3, 500),
        label: "pump".into(),
        token,
        at: Time(at),
    }
}

#[test]
fn a_used_token_admits_its_own_device_again_and_no_other() {
    let (mut registry, token, secret) = with_token(1);
    registry.apply(&admitted(DEVICE, token, 10));
    assert_eq!(
        registry.check(token, &secret, DEVICE, Time(20)),
        Ok(Admittance::Now)
    );
    assert_eq!(
        registry.check(token, &secret, OTHER, Time(20)),
        Err(EnrolRefusal::UsedToken)
    );
}

#[test]
fn expired_and_forged_tokens_are_refused() {
    let (registry, token, secret) = with_token(1);
    assert_eq!(
        registry.check(token, &secret, DEVICE, Time(1_000)),
        Err(EnrolRefusal::ExpiredToken)
    );
    let forged = TokenSecret::from_slice(&[9; 20]).unwrap();
    assert_eq!(
        registry.check(token, &forged, DEVICE, Time(0)),
        Err(EnrolRefusal::UnknownToken)
    );
    assert_eq!(
        registry.check(TokenId([7; 8]), &secret, DEVICE, Time(0)),
        Err(EnrolRefusal::UnknownToken)
    );
}

#[test]
fn a_revoked_key_never_joins_again() {
    let (mut registry, token, secret) = with_token(2);
    registry.apply(&RegistryEvent::Revoked {
        device: DEVICE,
        reason: "stolen".into(),
        at: Time(1),
    });
    assert_eq!(
        registry.check_renewal(DEVICE),
        Err(EnrolRefusal::RevokedKey)
    );
    assert_eq!(
        registry.check(token, &secret, DEVICE, Time(2)),
        Err(EnrolRefusal::RevokedKey)
    );
    assert_eq!(
        registry.check(token, &secret, OTHER, Time(2)),
        Ok(Admittance::Now)
    );
}

#[test]
fn rejoining_keeps_the_first_admission_date() {
    let (mut registry, token, _) = with_token(1);
    registry.apply(&admitted(DEVICE, token, 10));
    registry.apply(&admitted(DEVICE, token, 50));
    assert_eq!(registry.members()[&DEVICE].admitted, Time(10));
    assert_eq!(registry.label(DEVICE), "pump");
}

#[test]
fn labels_are_cut_and_lose_control_characters() {
    assert_eq!(clean_label(" a\u{1b}[1mb\n "), "a[1mb");
    assert_eq!(clean_label("p\u{202e}pmu\u{200b}\u{2066} 7"), "ppmu 7");
    assert_eq!(clean_label(&"ä".repeat(100)).len(), LABEL_BYTES_MAX);
}

fn manual() -> (Registry, TokenId, TokenSecret) {
    with_terms(TokenTerms {
        expires: Time(1_000),
        uses_max: 1,
        group: Some("hall".into()),
        approval: Approval::Manual,
    })
}

#[test]
fn a_device_waits_for_a_word_even_beyond_its_tokens_end() {
    let (mut registry, token, secret) = manual();
    let check = |registry: &Registry, device, at| registry.check(token, &secret, device, Time(at));
    assert_eq!(check(&registry, DEVICE, 10), Ok(Admittance::Apply));
    registry.apply(&RegistryEvent::Applied {
        device: DEVICE,
        label: "pump".into(),
        token,
        at: Time(10),
    });
    assert_eq!(check(&registry, DEVICE, 5_000), Ok(Admittance::Wait));
    assert_eq!(check(&registry, OTHER, 20), Err(EnrolRefusal::UsedToken));
    registry.apply(&RegistryEvent::Approved {
        device: DEVICE,
        at: Time(6_000),
    });
    assert_eq!(check(&registry, DEVICE, 6_001), Ok(Admittance::Now));
    registry.apply(&admitted(DEVICE, token, 6_001));
    assert_eq!(registry.applicants().len(), 0);
    assert_eq!(registry.members()[&DEVICE].group.as_deref(), Some("hall"));
    assert_eq!(registry.check_renewal(DEVICE), Ok(()));
    assert_eq!(registry.check_renewal(OTHER), Err(EnrolRefusal::NotAMember));
}

#[test]
fn a_denied_device_stays_out_by_that_token() {
    let (mut registry, token, secret) = manual();
    registry.apply(&RegistryEvent::Applied {
        device: DEVICE,
        label: String::new(),
        token,
        at: Time(10),
    });
    registry.apply(&RegistryEvent::Denied {
        device: DEVICE,
        at: Time(20),
    });
    assert_eq!(
        registry.check(token, &secret, DEVICE, Time(30)),
        Err(EnrolRefusal::Denied)
    );
    assert!(registry.members().is_empty());
}

#[test]
fn a_revoked_token_admits_nobody() {
    let (mut registry, token, secret) = with_token(3);
    registry.apply(&admitted(DEVICE, token, 10));
    registry.apply(&RegistryEvent::TokenRevoked {
        token,
        at: Time(20),
    });
    for device in [DEVICE, OTHER] {
        assert_eq!(
            registry.check(token, &secret, device, Time(30)),
            Err(EnrolRefusal::RevokedToken)
        );
    }
    assert_eq!(registry.members().len(), 1, "who joined by it stays");
}

#[test]
fn an_operators_label_outlasts_rejoining() {
    let (mut registry, token, _) = with_token(1);
    registry.apply(&admitted(DEVICE, token, 10));
    registry.apply(&RegistryEvent::Labelled {
        device: DEVICE,
        label: "hall pump".into(),
        at: Time(20),
    });
    registry.apply(&admitted(DEVICE, token, 30));
    assert_eq!(registry.label(DEVICE), "hall pump");
}

#[test]
fn renewal_changes_the_certificate_and_nothing_else() {
    let (mut registry, token, _) = with_token(1);
    registry.apply(&admitted(DEVICE, token, 10));
    let before = registry.members()[&DEVICE].clone();
    registry.apply(&RegistryEvent::Renewed {
        device: DEVICE,
        certificate: certified(4, 900),
        at: Time(400),
    });
    let expected = Member {
        certificate: certified(4, 900),
        ..before
    };
    assert_eq!(registry.members()[&DEVICE], expected);
}

#[test]
fn only_holders_of_the_secret_are_remembered() {
    let (mut registry, token, secret) = with_token(1);
    let forged = TokenSecret::from_slice(&[9; 20]).unwrap();
    assert!(!registry.is_worth_remembering(token, &forged));
    for _ in 0..TURNED_AWAY_MAX {
        assert!(registry.is_worth_remembering(token, &secret));
        registry.apply(&RegistryEvent::TurnedAway {
            device: OTHER,
            token,
            reason: EnrolRefusal::UsedToken,
            at: Time(1),
        });
    }
    assert!(!registry.is_worth_remembering(token, &secret));
}

#[test]
fn labels_that_could_be_ids_are_known() {
    for id in ["0123abcd", "DEADBEEF", "0123456789abcdef0123456789abcdef"] {
        assert!(looks_like_id(id), "{id}");
    }
    for name in ["", "1001", "pump 01234567", "0123abcx"] {
        assert!(!looks_like_id(name), "{name}");
    }
}
