#![allow(clippy::unwrap_used)]

use super::*;
use crate::trust::device_key::DeviceKey;

const NOW: Time = Time(1_800_000_000_000);

#[test]
fn a_device_certificate_says_what_the_authority_decides() {
    let authority = Authority::create("test", NOW).unwrap();
    let device = DeviceKey::generate().unwrap();
    let request = SigningRequest::parse(&device.signing_request().unwrap()).unwrap();
    assert_eq!(request.device(), device.device());
    let certificate = authority.sign_device(&request, NOW, 30).unwrap();
    let facts = CertificateFacts::parse(&certificate).unwrap();
    assert_eq!(facts.device, device.device());
    assert_eq!(facts.common_name, device.device().to_string());
    assert_eq!(facts.not_before, NOW);
    assert_eq!(facts.not_after, NOW.after_ms(30 * DAY_MS));
    assert!(!facts.is_authority && !facts.is_gateway);
}

#[test]
fn only_a_gateways_certificate_names_a_gateway() {
    let authority = Authority::create("test", NOW).unwrap();
    let key = DeviceKey::generate().unwrap();
    let request = SigningRequest::parse(&key.signing_request().unwrap()).unwrap();
    let end = NOW.after_ms(DAY_MS);
    let certificate = authority.sign_gateway_until(&request, NOW, end).unwrap();
    let facts = CertificateFacts::parse(&certificate).unwrap();
    assert!(facts.is_gateway && !facts.is_authority);
    assert_eq!(facts.device, key.device());
    let server = authority.server_certificate(&[], NOW, 1).unwrap();
    assert!(!server.facts().unwrap().is_gateway);
}

#[test]
fn what_a_request_asks_for_is_ignored() {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut asked = CertificateParams::new(vec![SERVER_NAME.to_owned()]).unwrap();
    asked.distinguished_name.push(DnType::CommonName, "admin");
    asked.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let request = asked.serialize_request(&key).unwrap();
    let request = SigningRequest::parse(request.der()).unwrap();
    let authority = Authority::create("test", NOW).unwrap();
    let certificate = authority.sign_device(&request, NOW, 30).unwrap();
    let facts = CertificateFacts::parse(&certificate).unwrap();
    assert!(!facts.is_authority);
    assert_eq!(facts.common_name, facts.device.to_string());
    let text = String::from_utf8_lossy(&certificate);
    assert!(!text.contains("admin") && !text.contains(SERVER_NAME));
}

#[test]
fn a_request_for_a_key_its_sender_does_not_hold_is_refused() {
    let victim = DeviceKey::generate().unwrap();
    let mut request = victim.signing_request().unwrap();
    let last = request.len() - 1;
    request[last] ^= 1;
    assert_eq!(
        SigningRequest::parse(&request).unwrap_err(),
        AuthorityError::RequestSignature
    );
}

#[test]
fn bytes_that_are_no_request_are_refused() {
    let mut request = DeviceKey::generate().unwrap().signing_request().unwrap();
    request.push(0);
    for bytes in [
        &[][..],
        &[0x30, 0x80],
        &request,
        &[0u8; REQUEST_BYTES_MAX + 1],
    ] {
        assert!(matches!(
            SigningRequest::parse(bytes),
            Err(AuthorityError::MalformedRequest { .. })
        ));
    }
}

#[test]
fn other_kinds_of_keys_are_refused() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let request = CertificateParams::default()
        .serialize_request(&key)
        .unwrap();
    assert_eq!(
        SigningRequest::parse(request.der()).unwrap_err(),
        AuthorityError::KeyKind
    );
}

#[test]
fn an_authority_survives_pem_and_keeps_its_fingerprint() {
    let authority = Authority::create("test", NOW).unwrap();
    let again = Authority::from_pem(&authority.certificate_pem(), &authority.key_pem()).unwrap();
    assert_eq!(again.fingerprint(), authority.fingerprint());
    again.server_certificate(&[], NOW, 90).unwrap();
}

#[test]
fn another_key_and_another_certificate_are_not_loaded() {
    let (one, two) = (
        Authority::create("one", NOW).unwrap(),
        Authority::create("two", NOW).unwrap(),
    );
    let mixed = Authority::from_pem(&one.certificate_pem(), &two.key_pem());
    assert_eq!(mixed.unwrap_err(), AuthorityError::KeyMismatch);
    let server = one.server_certificate(&[], NOW, 90).unwrap();
    let leaf = Authority::from_pem(&server.chain_pem(), &server.key_pem());
    assert!(matches!(leaf, Err(AuthorityError::NotAnAuthority { .. })));
}

#[test]
fn no_certificate_outlives_the_authority() {
    let authority = Authority::create("test", NOW).unwrap();
    let ends = NOW.after_ms(u64::from(AUTHORITY_DAYS) * DAY_MS);
    let device = DeviceKey::generate().unwrap();
    let request = SigningRequest::parse(&device.signing_request().unwrap()).unwrap();
    let late = Time(ends.0 - DAY_MS);
    let certificate = authority.sign_device(&request, late, 30).unwrap();
    assert_eq!(
        CertificateFacts::parse(&certificate).unwrap().not_after,
        ends
    );
    assert_eq!(
        authority.sign_device(&request, ends, 30).unwrap_err(),
        AuthorityError::Ended { ended: ends.0 }
    );
}
