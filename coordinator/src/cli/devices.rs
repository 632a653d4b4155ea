//! `device list`: the fleet's devices.

use common::ids::Time;

use super::failure::Failure;
use super::operate::print_json;
use super::table::table;
use crate::admin::Client;
use crate::status::format;
use crate::status::{DeviceStatus, DeviceStudent, STATE_UNKNOWN, Status};

pub(super) fn list(client: &mut Client, as_json: bool) -> Result<(), Failure> {
    let Status {
        devices,
        now,
        state_known,
        ..
    } = client.status()?;
    if !state_known {
        eprintln!("{STATE_UNKNOWN}");
    }
    if as_json {
        print_json(&devices);
        return Ok(());
    }
    if devices.is_empty() && state_known {
        println!("no device has joined; let one in with `alambic-coordinator token create`");
        return Ok(());
    }
    let mut table = table(&[
        "device",
        "label",
        "group",
        "state",
        "last seen",
        "contributed",
        "student",
        "held-out",
        "up bytes",
        "down bytes",
    ]);
    let ago = |then: Option<Time>| then.map_or_else(|| "-".to_owned(), |at| format::ago(now, at));
    for device in &devices {
        let seen = match device.connected {
            true => "now".to_owned(),
            false => ago(device.seen),
        };
        table.add_row([
            device.device.to_string(),
            device.label.clone(),
            device.group.clone().unwrap_or_else(|| "-".to_owned()),
            super::members::state(device).to_owned(),
            seen,
            ago(device.contributed),
            students(device),
            reached(device),
            device.uplink_bytes.to_string(),
            device.downlink_bytes.to_string(),
        ]);
    }
    println!("{table}");
    Ok(())
}

/// The versions that a device runs, with their tasks where it runs several.
fn students(device: &DeviceStatus) -> String {
    match device.students.as_slice() {
        [] => "-".to_owned(),
        [only] => only.version.to_string(),
        all => {
            let all = all
                .iter()
                .map(|one| format!("{} {}", one.task, one.version));
            all.collect::<Vec<_>>().join(", ")
        }
    }
}

/// What they reach on its held-out rows, with their tasks where it runs several.
fn reached(device: &DeviceStatus) -> String {
    let short = |one: &DeviceStudent| {
        one.reached
            .map_or_else(|| "-".to_owned(), |reached| reached.short())
    };
    match device.students.as_slice() {
        [] => "-".to_owned(),
        [only] => short(only),
        all => {
            let all = all.iter().map(|one| format!("{} {}", one.task, short(one)));
            all.collect::<Vec<_>>().join(", ")
        }
    }
}
