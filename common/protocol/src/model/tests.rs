#![allow(clippy::unwrap_used)]
use super::*;
use crate::task::RawTask;
use math::random::rng;

fn raw(lineage: Lineage) -> RawRelease {
    let text = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n\
                [normaliser]\nrange = [0.0, 1.0]\n[student]\nhidden = [2]";
    let task = RawTask::parse(text).unwrap();
    let network = Student::new(task.student(), &mut rng(1, "model")).unwrap();
    RawRelease {
        version: Version {
            epoch: 1,
            number: 2,
        },
        round: RoundId(3),
        released: Time(4),
        expires: Time(5),
        lineage,
        normaliser: Normaliser::of_range(2, 0.0, 1.0).unwrap(),
        weights: RawWeights::encode(task.student(), network.parameters()).unwrap(),
        task: task.bytes().to_vec(),
        extras: Trailing(None),
    }
}

fn devices(count: u16) -> Vec<DeviceId> {
    let name = |number: u16| {
        let mut name = [0; 16];
        name[..2].copy_from_slice(&number.to_be_bytes());
        DeviceId(name)
    };
    (0..count).map(name).collect()
}

#[test]
fn few_devices_are_named() {
    let named = Lineage::of(&devices(64));
    assert_eq!(named, Lineage::Named(devices(64)));
    let bytes = Release::check(raw(named.clone())).unwrap().to_bytes();
    assert_eq!(Release::from_bytes(&bytes).unwrap().as_raw().lineage, named);
}

#[test]
fn ten_thousand_devices_are_a_count_and_a_hash() {
    let all = devices(10_000);
    let lineage = Lineage::of(&all);
    let bytes = Release::check(raw(lineage.clone())).unwrap().to_bytes();
    assert!(bytes.len() < encode(&raw(Lineage::of(&[]))).len() + 40);
    let read = Release::from_bytes(&bytes)
        .unwrap()
        .as_raw()
        .lineage
        .clone();
    assert!(matches!(
        read,
        Lineage::Digest {
            devices: 10_000,
            ..
        }
    ));
    assert_eq!(read, lineage);
    assert_ne!(read, Lineage::of(&all[1..]));
}

#[test]
fn bytes_behind_a_release_are_refused() {
    let bytes = Release::check(raw(Lineage::of(&devices(2))))
        .unwrap()
        .to_bytes();
    // Half of what may stand there, and the whole of it without anything in it.
    for more in [&[0][..], &[0, 0], &[0, 0, 0]] {
        let bytes = [&bytes, more].concat();
        assert!(Release::from_bytes(&bytes).is_err(), "{more:?}");
    }
}
