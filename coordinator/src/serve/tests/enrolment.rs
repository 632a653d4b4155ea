use common::trust::device_key::DeviceKey;
use common::trust::token::TokenSecret;
use common::wire::messages::{EnrolAnswer, EnrolRefusal};

use super::rig::Rig;
use crate::store::AppendFault;

#[tokio::test]
async fn a_used_token_admits_no_second_device_but_its_own_again() {
    let rig = Rig::start();
    let token = rig.token(1).await;
    let (one, two) = (
        DeviceKey::generate().unwrap(),
        DeviceKey::generate().unwrap(),
    );
    assert!(
        matches!(rig.enrol(&token, &one).await, EnrolAnswer::Issued { device, .. } if device == one.device())
    );
    let refused = EnrolAnswer::Refused(EnrolRefusal::UsedToken);
    assert_eq!(rig.enrol(&token, &two).await, refused);
    let rig = rig.restart().await;
    assert_eq!(
        rig.enrol(&token, &two).await,
        refused,
        "after a restart too"
    );
    assert!(matches!(
        rig.enrol(&token, &one).await,
        EnrolAnswer::Issued { .. }
    ));
    assert_eq!(rig.status().await.devices.len(), 1);
}

#[tokio::test]
async fn a_forged_token_is_refused() {
    let rig = Rig::start();
    let mut token = rig.token(1).await;
    token.secret = TokenSecret::from_slice(&[7; 20]).unwrap();
    let key = DeviceKey::generate().unwrap();
    let refused = EnrolAnswer::Refused(EnrolRefusal::UnknownToken);
    assert_eq!(rig.enrol(&token, &key).await, refused);
    assert!(rig.status().await.devices.is_empty());
}

#[tokio::test]
async fn no_certificate_leaves_before_its_admission_is_stored() {
    let rig = Rig::start();
    let token = rig.token(1).await;
    let key = DeviceKey::generate().unwrap();
    rig.store.fail_next_append(AppendFault::BeforeFlush);
    let refused = EnrolAnswer::Refused(EnrolRefusal::Storage);
    assert_eq!(rig.enrol(&token, &key).await, refused);
    // The use was not counted either, so the token is good for anyone.
    let other = DeviceKey::generate().unwrap();
    assert!(matches!(
        rig.enrol(&token, &other).await,
        EnrolAnswer::Issued { .. }
    ));
}
