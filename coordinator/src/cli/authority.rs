//! `ca`: the fleet's certificate authority and its exchange.

use common::trust::certificate::Fingerprint;
use common::trust::clock::Clock;
use serde_json::json;

use super::failure::Failure;
use super::operate::{print_json, say};
use crate::admin::{AdminError, Client};
use crate::config::Config;
use crate::identity::{self, Identity};
use crate::status::format;
use crate::status::{DeviceStatus, Standing, Status};

pub(super) fn show(config: &Config, client: Option<Client>, as_json: bool) -> Result<(), Failure> {
    let identity = Identity::load(&config.state, &config.addresses, Clock::system().now())?;
    let present = identity.authority.fingerprint();
    let previous = identity
        .previous
        .map(|one| Fingerprint::of(&one.certificate));
    let left = match client {
        Some(mut client) => Some(behind(client.status()?.devices, present)),
        None => None,
    };
    if as_json {
        print_json(&json!({
            "authority": present,
            "previous": previous,
            "devices_behind": left,
        }));
        return Ok(());
    }
    println!("authority  {present} (SHA-256)");
    let Some(previous) = previous else {
        return Ok(());
    };
    println!("previous   {previous}, believed until `ca retire`");
    match left {
        None => println!("no coordinator answers, so it is not known which devices still need it"),
        Some(left) if left.is_empty() => {
            println!("no device needs it any more: `alambic-coordinator ca retire`");
        }
        Some(left) => {
            println!(
                "its certificates are still held by {}:",
                format::count(left.len(), "device")
            );
            for device in left {
                println!("  {} {}", device.device, device.label);
            }
        }
    }
    Ok(())
}

pub(super) fn rotate(config: &Config, renew_now: bool, as_json: bool) -> Result<(), Failure> {
    let now = Clock::system().now();
    let next = identity::rotate(&config.state, now)?;
    if renew_now {
        identity::order_renewals(&config.state, now)?;
    }
    if as_json {
        print_json(&json!({ "next": next.fingerprint(), "done": "rotated" }));
        return Ok(());
    }
    println!("next authority  {} (SHA-256)", next.fingerprint());
    match renew_now {
        true => println!(
            "it is used from the coordinator's next start on; each device renews within a minute \
             of its next session"
        ),
        false => println!(
            "it is used from the coordinator's next start on; devices follow as they renew"
        ),
    }
    println!("keep a copy of the new ca-key.pem in a safe place");
    Ok(())
}

/// How an authority is retired.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retirement {
    /// Also if devices still hold its certificates.
    pub(super) force: bool,
    /// Devices are to forget it at once.
    pub(super) renew_now: bool,
}

pub(super) fn retire(
    config: &Config,
    connect: impl Fn() -> Result<Client, AdminError>,
    how: Retirement,
    as_json: bool,
) -> Result<(), Failure> {
    if !how.force {
        let status = connect()?.status()?;
        let identity = of_this(config, &status)?;
        let left = behind(status.devices, identity.authority.fingerprint());
        if !left.is_empty() {
            return Err(Failure::Behind {
                devices: left.len(),
            });
        }
    }
    identity::retire(&config.state)?;
    if how.renew_now {
        identity::order_renewals(&config.state, Clock::system().now())?;
    }
    let words = "the authority before this one is believed no more, from the next start on";
    say(as_json, json!({ "done": "retired" }), words);
    Ok(())
}

/// The identity in the state directory, if the coordinator that answers is
/// the one it belongs to.
///
/// # Errors
/// [`Failure::Foreign`] if it is another's.
pub(super) fn of_this(config: &Config, status: &Status) -> Result<Identity, Failure> {
    let identity = Identity::load(&config.state, &config.addresses, Clock::system().now())?;
    let previous = identity.previous.as_ref();
    let previous = previous.map(|one| Fingerprint::of(&one.certificate));
    // One that rotates uses the next authority from its next start on.
    let known = [Some(identity.authority.fingerprint()), previous];
    match status.authority {
        Some(answers) if !known.contains(&Some(answers)) => Err(Failure::Foreign {
            socket: config.admin_socket.clone(),
            state: config.state.clone(),
        }),
        _ => Ok(identity),
    }
}

/// Members whose certificates are by another authority than the present one.
fn behind(devices: Vec<DeviceStatus>, present: Fingerprint) -> Vec<DeviceStatus> {
    let is_behind = |device: &DeviceStatus| {
        device.standing == Standing::Member && device.authority != Some(present)
    };
    devices.into_iter().filter(is_behind).collect()
}
