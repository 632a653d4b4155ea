//! Commands about devices of the fleet.

use common::ids::DeviceId;
use serde_json::json;

use super::confirm::confirmed;
use super::failure::Failure;
use super::operate::{expect_done, print_json, say, unexpected};
use super::table::seconds;
use crate::admin::{Client, Request, Response};
use crate::round::STRIKES_MAX;
use crate::status::format;
use crate::status::{DeviceStatus, Fault, FaultKind, Forgetting, Quarantine, Standing};

/// Fewer digits of an id name no device.
const DIGITS_MIN: usize = 4;

/// The device that is meant: by its whole id, whether it is known or not, by
/// the first digits of the id, or by its name.
///
/// # Errors
/// None is called so, or several are.
pub(super) fn find(client: &mut Client, meant: &str) -> Result<DeviceId, Failure> {
    match meant.parse() {
        Ok(device) => Ok(device),
        Err(_) => Ok(named(&client.status()?.devices, meant)?.device),
    }
}

/// The same for what hits a device hard: says which one it is, and asks.
/// Where nobody can be asked, the device's id is as good as a yes, its name is
/// not, which whoever enrolled it chose.
///
/// # Errors
/// None is called so, or several are; or nobody said yes.
fn find_to(client: &mut Client, verb: &str, meant: &str, yes: bool) -> Result<DeviceId, Failure> {
    let status = client.status()?;
    let found = match meant.parse::<DeviceId>() {
        Ok(device) => match status.devices.iter().find(|one| one.device == device) {
            Some(found) => found,
            None => return Ok(device),
        },
        Err(_) => named(&status.devices, meant)?,
    };
    let device = found.device;
    if yes {
        return Ok(device);
    }
    let name = match found.label.as_str() {
        "" => "no name".to_owned(),
        label => format!("called {label}"),
    };
    let session = if found.connected { "connected" } else { "away" };
    if confirmed(&format!("{verb} device {device} ({name}, {session})?"))? {
        return Ok(device);
    }
    if device.to_string().starts_with(&meant.to_ascii_lowercase()) {
        return Ok(device);
    }
    let message = format!(
        "{meant} is the name of device {device}; to {verb} it from a script, write the id, or add \
         --yes"
    );
    Err(refused(FaultKind::Invalid, message))
}

fn refused(kind: FaultKind, message: String) -> Failure {
    crate::admin::AdminError::from(Fault { kind, message }).into()
}

/// Ids go before names: a device's name is what it called itself, so a name
/// must not stand for another device's id.
fn named<'a>(devices: &'a [DeviceStatus], meant: &str) -> Result<&'a DeviceStatus, Failure> {
    let digits = meant.to_ascii_lowercase();
    let by_id = |one: &DeviceStatus| {
        meant.len() >= DIGITS_MIN && one.device.to_string().starts_with(&digits)
    };
    let by_name = |one: &DeviceStatus| !meant.is_empty() && one.label == meant;
    let found = devices.iter().filter(|one| by_id(one) || by_name(one));
    let found: Vec<&DeviceStatus> = found.collect();
    match found.as_slice() {
        [one] => Ok(one),
        [] => Err(refused(
            FaultKind::NotFound,
            format!(
                "no device {meant}: neither a name nor the first {DIGITS_MIN} or more digits of \
                 an id; `device list` shows those that joined"
            ),
        )),
        several => {
            let told = several.iter().map(|one| match by_id(one) {
                true => one.device.to_string(),
                false => format!("{} (by its name)", one.device),
            });
            let told: Vec<String> = told.collect();
            let message = format!(
                "{meant} may be any of {}; write the whole id",
                told.join(", ")
            );
            Err(refused(FaultKind::Invalid, message))
        }
    }
}

pub(super) fn show(client: &mut Client, meant: &str, as_json: bool) -> Result<(), Failure> {
    let status = client.status()?;
    let now = status.now;
    let found = named(&status.devices, meant)?;
    if as_json {
        print_json(found);
        return Ok(());
    }
    println!("device       {}", found.device);
    println!("label        {}", found.label);
    if let Some(gateway) = &found.gateway {
        println!("gateway      {}", format::name(gateway));
    }
    println!("group        {}", found.group.as_deref().unwrap_or("-"));
    println!("state        {}", state(found));
    let at_work = status.tasks.iter().filter(|task| task.archived.is_none());
    let its = at_work.filter(|task| found.is_member() && task.is_for(found));
    let its: Vec<_> = its.map(|task| task.name.as_str()).collect();
    if !its.is_empty() {
        println!("tasks        {}", its.join(", "));
    }
    if let Some(at) = found.admitted {
        println!("joined       {} ago", seconds(now.since_ms(at)));
    }
    if let (Some(at), Some(why)) = (found.revoked_at, &found.revoked_why) {
        println!("revoked      {} ago: {why}", seconds(now.since_ms(at)));
    }
    match found.forgotten {
        Some(Forgetting::Partial) => println!("forgotten    partial, until the next student"),
        Some(Forgetting::Complete) => println!("forgotten    complete"),
        None => {}
    }
    for task in &status.tasks {
        let told = task.withheld.iter();
        for one in told.filter(|one| one.device.device == found.device) {
            println!("gives less   {}: {}", task.name, one.text);
        }
    }
    for student in &found.students {
        let evaluation = student.evaluation;
        let evaluation = evaluation.map_or_else(String::new, |found| format!(", {found}"));
        println!(
            "student      {}: version {}{evaluation}",
            student.task, student.version
        );
        match (student.reached, &student.not_reported) {
            (Some(reached), _) => println!(
                "held-out     {}: {} on {}",
                student.task,
                reached.short(),
                format::count(reached.rows as usize, "row")
            ),
            (None, Some(why)) => println!("held-out     {}: -, {why}", student.task),
            (None, None) => {}
        }
    }
    for task in &found.gives_nothing_to {
        println!("gives none   {task}: its newest student has nothing of this device");
    }
    if let Some(certificate) = found.certificate {
        println!("certificate  {certificate}");
    }
    match found.expires {
        Some(end) if end > now => println!("good for     {}", seconds(end.since_ms(now))),
        Some(end) => println!("expired      {} ago", seconds(now.since_ms(end))),
        None => {}
    }
    println!("sessions     {}", found.sessions);
    show_peer_limits(found);
    Ok(())
}

/// What a device did that an honest one does not.
fn show_peer_limits(device: &DeviceStatus) {
    if let Some(shared) = &device.shared_key {
        println!("ONE KEY      {}", shared.told());
    }
    let peer_limits = device.peer_limits;
    match peer_limits.struck_for {
        Some(reason) => println!("strikes      {}, the last: {reason}", device.strikes),
        None => println!("strikes      {}", device.strikes),
    }
    match peer_limits.quarantine {
        Some(Quarantine::Contributions) => {
            println!(
                "quarantine   its contributions are refused: {STRIKES_MAX} strikes or more; once it is mended, `device pardon`"
            );
        }
        Some(Quarantine::Sessions { seconds }) => println!(
            "quarantine   its sessions are refused for {}: it broke the protocol too often",
            format::span(seconds.saturating_mul(1_000))
        ),
        None => {}
    }
    if peer_limits.violations > 0 {
        println!("violations   {}", peer_limits.violations);
    }
    if peer_limits.limited > 0 {
        println!(
            "slowed down  {} times, for asking too much",
            peer_limits.limited
        );
    }
}

/// What a device is and does now, in a word.
pub(super) fn state(device: &DeviceStatus) -> &'static str {
    match (device.standing, device.connected) {
        (Standing::Revoked, _) => "revoked",
        (Standing::Waiting, _) => "WAITS FOR APPROVAL",
        (Standing::Approved, _) => "approved",
        (Standing::Denied, _) => "denied",
        _ if device.peer_limits.quarantine.is_some() => "QUARANTINED",
        _ if device.shared_key.is_some() => "ON TWO MACHINES",
        (_, true) => "connected",
        (Standing::Member, false) => "away",
        (Standing::Unknown, false) => "unknown",
    }
}

pub(super) fn approve(client: &mut Client, meant: &str, as_json: bool) -> Result<(), Failure> {
    let device = find(client, meant)?;
    expect_done(client, &Request::ApproveDevice { device })?;
    let words = "is approved; it joins when it asks again, within seconds";
    done(as_json, device, "approved", words);
    Ok(())
}

pub(super) fn deny(
    client: &mut Client,
    meant: &str,
    yes: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let device = find_to(client, "deny", meant, yes)?;
    expect_done(client, &Request::DenyDevice { device })?;
    let words = "is denied; it may come again with another token";
    done(as_json, device, "denied", words);
    Ok(())
}

pub(super) fn label(
    client: &mut Client,
    meant: &str,
    label: String,
    as_json: bool,
) -> Result<(), Failure> {
    let device = find(client, meant)?;
    let words = match label.as_str() {
        "" => "has no name any more".to_owned(),
        label => format!("is now called {label}"),
    };
    expect_done(client, &Request::LabelDevice { device, label })?;
    done(as_json, device, "labelled", &words);
    Ok(())
}

pub(super) fn revoke(
    client: &mut Client,
    meant: &str,
    yes: bool,
    reason: String,
    as_json: bool,
) -> Result<(), Failure> {
    let device = find_to(client, "revoke", meant, yes)?;
    expect_done(client, &Request::RevokeDevice { device, reason })?;
    let words = "is revoked; its key can never join again. What it contributed stays in the \
                 students made of it, and in what the next ones stand on; `device forget` takes \
                 it out, `task relearn` has it all learnt anew";
    done(as_json, device, "revoked", words);
    Ok(())
}

pub(super) fn pardon(client: &mut Client, meant: &str, as_json: bool) -> Result<(), Failure> {
    let device = find(client, meant)?;
    expect_done(client, &Request::PardonDevice { device })?;
    let words = "is pardoned; its strikes and breaches count from nothing again";
    done(as_json, device, "pardoned", words);
    Ok(())
}

fn done(as_json: bool, device: DeviceId, what: &str, words: &str) {
    let told = json!({ "device": device, "done": what });
    say(as_json, told, &format!("device {device} {words}"));
}

pub(super) fn forget(
    client: &mut Client,
    meant: &str,
    yes: bool,
    as_json: bool,
) -> Result<(), Failure> {
    let device = find_to(client, "forget", meant, yes)?;
    let blobs = match client.ask(&Request::ForgetDevice { device })? {
        Response::Forgotten { blobs } => blobs,
        other => return Err(unexpected(&other)),
    };
    let status = client.status()?;
    let found = status.devices.iter().find(|one| one.device == device);
    let forgotten = found.and_then(|one| one.forgotten);
    if as_json {
        print_json(&json!({ "device": device, "blobs": blobs, "forgotten": forgotten }));
        return Ok(());
    }
    let blobs = format::count(blobs, "blob");
    println!("device {device} is revoked; deleted of it, or made of it: {blobs}");
    match forgotten {
        Some(Forgetting::Partial) => println!(
            "partial: the newest student still stands on it; `round start` makes one that does not"
        ),
        Some(Forgetting::Complete) => println!("complete: no newest student stands on it"),
        None => println!("it never contributed anything"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::status::PeerLimitsStatus;

    fn device(id: &str, label: &str) -> DeviceStatus {
        DeviceStatus {
            device: id.parse().unwrap(),
            label: label.to_owned(),
            admitted: None,
            certificate: None,
            authority: None,
            expires: None,
            group: None,
            standing: Standing::Member,
            connected: false,
            gateway: None,
            revoked: false,
            forgotten: None,
            revoked_at: None,
            revoked_why: None,
            uplink_bytes: 0,
            downlink_bytes: 0,
            handshake_bytes: 0,
            sessions: 0,
            seen: None,
            contributed: None,
            strikes: 0,
            peer_limits: PeerLimitsStatus::default(),
            shared_key: None,
            students: Vec::new(),
            gives_nothing_to: Vec::new(),
        }
    }

    #[test]
    fn devices_are_found_by_label_or_id() {
        let devices = [
            device("0123456789abcdef0123456789abcdef", "pump"),
            device("0123ffff89abcdef0123456789abcdef", "belt"),
            device("abcd456789abcdef0123456789abcdef", "belt"),
            device("eeee456789abcdef0123456789abcdef", "abcd"),
            device("ffff456789abcdef0123456789abcdef", "1001"),
        ];
        let found = |meant: &str| named(&devices, meant).map(|one| one.device);
        let fails = |meant: &str| found(meant).unwrap_err().to_string();
        assert_eq!(found("pump").unwrap(), devices[0].device);
        assert_eq!(found("01234").unwrap(), devices[0].device);
        assert_eq!(found("0123F").unwrap(), devices[1].device);
        let whole = devices[1].device.to_string();
        assert_eq!(found(&whole).unwrap(), devices[1].device);
        assert_eq!(found("abcd4").unwrap(), devices[2].device);
        assert_eq!(found("1001").unwrap(), devices[4].device);
        let rogue = fails("abcd");
        assert!(
            rogue.contains("abcd456789abcdef0123456789abcdef, "),
            "{rogue}"
        );
        assert!(rogue.contains("eeee456789abcdef0123456789abcdef (by its name)"));
        assert!(fails("0123").contains("may be any of 0123456789abcdef"));
        assert!(fails("belt").contains("write the whole id"));
        for wrong in ["", "012", "ffe0", "Pump"] {
            assert!(fails(wrong).contains("device list"), "{wrong}");
        }
    }
}
