#![allow(clippy::unwrap_used)]

use super::*;
use proptest::prelude::*;

const PIN: Fingerprint = Fingerprint([9; 32]);
const ONE: DeviceId = DeviceId([1; 16]);
const TWO: DeviceId = DeviceId([2; 16]);

fn create(uses_max: u32) -> (JoinToken, TokenRecord) {
    let terms = TokenTerms {
        expires: Time(1_000),
        uses_max,
        group: None,
        approval: Approval::Auto,
    };
    TokenRecord::create(PIN, terms).unwrap()
}

#[test]
fn a_token_survives_its_text() {
    let (token, record) = create(1);
    let again: JoinToken = format!(" {}\n", token.reveal()).parse().unwrap();
    assert_eq!((again.id, again.ca_pin), (token.id, PIN));
    assert_eq!(record.check(&again.secret, ONE, Time(0)), Ok(()));
}

#[test]
fn a_single_use_token_admits_one_device_and_that_one_again() {
    let (token, mut record) = create(1);
    record.check(&token.secret, ONE, Time(0)).unwrap();
    record.redeem(ONE);
    record.redeem(ONE);
    assert_eq!(record.uses_left(), 0);
    assert_eq!(record.check(&token.secret, ONE, Time(1)), Ok(()));
    assert_eq!(
        record.check(&token.secret, TWO, Time(1)),
        Err(TokenError::Used {
            id: token.id,
            uses_max: 1
        })
    );
}

#[test]
fn an_expired_token_is_refused_from_its_last_moment_on() {
    let (token, record) = create(5);
    assert_eq!(record.check(&token.secret, ONE, Time(999)), Ok(()));
    assert_eq!(
        record.check(&token.secret, ONE, Time(1_200)),
        Err(TokenError::Expired {
            id: token.id,
            ago_ms: 200
        })
    );
}

#[test]
fn a_token_that_was_taken_back_admits_nobody() {
    let (token, mut record) = create(5);
    record.redeem(ONE);
    record.revoked = Some(Time(1));
    for device in [ONE, TWO] {
        assert_eq!(
            record.check(&token.secret, device, Time(2)),
            Err(TokenError::Revoked { id: token.id })
        );
    }
}

#[test]
fn a_forged_token_learns_nothing_but_that() {
    let (token, mut record) = create(1);
    record.redeem(ONE);
    let mut forged = token.secret.clone();
    forged.0[19] ^= 1;
    let late = Time(5_000);
    assert_eq!(
        record.check(&forged, TWO, late),
        Err(TokenError::Forged { id: token.id })
    );
}

#[test]
fn a_hash_moved_to_another_record_proves_nothing() {
    let (token, record) = create(1);
    let (_, mut other) = create(1);
    other.secret_hash = record.secret_hash;
    assert_eq!(
        other.check(&token.secret, ONE, Time(0)),
        Err(TokenError::Forged { id: other.id })
    );
}

#[test]
fn nothing_secret_is_in_debug_or_in_an_error() {
    let (token, record) = create(1);
    let text = token.reveal();
    let secret = text.split('.').nth(2).unwrap();
    assert!(!format!("{token:?} {record:?}").contains(secret));
    let error = text[..text.len() - 4].parse::<JoinToken>().unwrap_err();
    assert!(!format!("{error} {error:?}").contains(secret));
}

proptest! {
    #[test]
    fn any_text_is_read_without_panic(text in ".{0,120}") {
        prop_assert!(text.parse::<JoinToken>().is_err());
    }

    #[test]
    fn a_cut_token_is_malformed(cut in 1usize..100) {
        let text = create(1).0.reveal();
        let cut = cut.min(text.len());
        let refused = matches!(
            text[..text.len() - cut].parse::<JoinToken>(),
            Err(TokenError::Malformed { .. })
        );
        prop_assert!(refused);
    }
}
