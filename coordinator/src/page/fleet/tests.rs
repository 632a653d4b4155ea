use common::ids::{DeviceId, Version};

use super::*;

use super::super::view::Health;
use crate::status::{DeviceStudent, Reached};

/// This many devices, every tenth of them away.
pub(in crate::page) fn fleet(devices: u32) -> View {
    let device = |at: u32| {
        let mut id = [0; 16];
        id[..4].copy_from_slice(&at.to_be_bytes());
        DeviceStatus {
            forgotten: None,
            device: DeviceId(id),
            label: format!("<pump-{at}>"),
            admitted: Some(Time(1)),
            certificate: None,
            authority: None,
            expires: None,
            group: None,
            standing: crate::status::Standing::Member,
            connected: !at.is_multiple_of(10),
            gateway: None,
            revoked: false,
            revoked_at: None,
            revoked_why: None,
            uplink_bytes: 28_600,
            downlink_bytes: 1,
            handshake_bytes: 2,
            sessions: 1,
            seen: Some(Time(5)),
            contributed: Some(Time(u64::from(at))),
            strikes: 0,
            peer_limits: Default::default(),
            shared_key: None,
            students: Vec::new(),
            gives_nothing_to: Vec::new(),
        }
    };
    View {
        status: Status {
            devices: (0..devices).map(device).collect(),
            ..crate::status::fixtures::status()
        },
        health: Health::default(),
        histories: Default::default(),
    }
}

fn shown(view: &View, pairs: &[(&str, &str)]) -> String {
    let pairs = pairs.iter();
    let query = pairs.map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    render(view, &query.collect()).into_string()
}

#[test]
fn ten_thousand_devices_come_in_pages_and_in_one_sentence() {
    let view = fleet(10_000);
    let page = shown(&view, &[("page", "100")]);
    assert!(page.len() < 100_000, "{} bytes", page.len());
    assert!(
        page.contains("1\u{202f}000 of 10\u{202f}000\u{a0}devices are away")
            && page.contains("Page 100 of 100")
    );
    assert!(page.contains("9\u{202f}000 of 10\u{202f}000\u{a0}devices"));
    assert_eq!(page.matches("<tr>").count(), 101);
}

#[test]
fn devices_are_found_by_state_and_by_a_part_of_their_name() {
    let view = fleet(200);
    let page = shown(&view, &[("state", "away"), ("find", "PUMP-19")]);
    assert!(page.contains("pump-190") && !page.contains("pump-191&gt;"));
    assert!(!page.contains("pump-180"));
    assert!(shown(&view, &[("find", "valve")]).contains("No device fits"));
}

#[test]
fn devices_that_give_nothing_are_filtered() {
    let mut view = fleet(30);
    let devices = &mut view.status.devices;
    devices[3].gives_nothing_to = vec!["har".to_owned()];
    devices[4].contributed = None;
    devices[5].contributed = None;
    devices[5].standing = Standing::Revoked;
    let device = crate::status::DeviceName {
        device: devices[6].device,
        label: String::new(),
    };
    let mut task = crate::status::fixtures::task(Vec::new(), None);
    task.withheld = vec![crate::status::WithheldStatus {
        device,
        reason: common::withheld::WithheldCode::DataRefused,
        text: String::new(),
        since: Time(1),
    }];
    view.status.tasks = vec![task];
    let page = shown(&view, &[("state", NOTHING)]);
    let named = |at: u32| page.contains(&format!("pump-{at}&gt;"));
    assert_eq!([3, 4, 5, 6, 7].map(named), [true, true, false, true, false]);
}

#[test]
fn what_a_student_reaches_stands_in_its_row() {
    let mut view = fleet(3);
    let student = |reached: Option<Reached>| DeviceStudent {
        task: "har".to_owned(),
        version: Version {
            epoch: 1,
            number: 1,
        },
        evaluation: None,
        reached,
        not_reported: reached
            .is_none()
            .then(|| "its owner keeps it back".to_owned()),
        report: None,
    };
    let of = |accuracy| Reached {
        rows: 40,
        accuracy: Some(accuracy),
        error: None,
    };
    view.status.devices[0].students = vec![student(Some(of(0.9)))];
    view.status.devices[1].students = vec![student(Some(of(0.5)))];
    view.status.devices[2].students = vec![student(None)];
    let page = shown(&view, &[("sort", "reached")]);
    let at = |text: &str| page.find(text).unwrap_or(usize::MAX);
    assert!(at("50.0") < at("90.0"), "the worst first");
    assert!(
        at("90.0") < at("its owner keeps it back"),
        "then the unknown"
    );
}

#[test]
fn devices_that_need_attention_come_first() {
    let page = shown(&fleet(30), &[]);
    let at = |text: &str| page.find(text).unwrap_or(usize::MAX);
    assert!(
        at("pump-20&gt;") < at("pump-2&gt;"),
        "away before connected"
    );
    assert!(at("pump-2&gt;") < at("pump-11&gt;"), "2 before 11");
    let by_bytes = shown(&fleet(30), &[("sort", "name")]);
    assert!(by_bytes.find("pump-2&gt;") < by_bytes.find("pump-20&gt;"));
}

#[test]
fn a_name_that_is_markup_is_only_text() {
    assert!(!shown(&fleet(1), &[]).contains("<pump"));
}

#[test]
fn a_state_that_is_not_known_is_not_shown_as_empty() {
    let mut view = fleet(0);
    let empty = shown(&view, &[]);
    assert!(empty.contains("No device has joined") && empty.contains("There is no task yet"));
    (view.status.storage_ok, view.status.state_known) = (false, false);
    let unknown = shown(&view, &[]);
    assert!(unknown.contains("cannot be shown until storage works again"));
    for wrong in ["No device has joined", "There is no task yet"] {
        assert!(!unknown.contains(wrong), "{wrong}");
    }
}
