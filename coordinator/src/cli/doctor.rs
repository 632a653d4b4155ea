//! `doctor`: what stands in this coordinator's way.

mod database;

use std::fmt::Display;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;

use common::health::{self, Finding};
use common::trust::certificate::{CertificateFacts, certificates_from_pem};
use common::trust::clock::Clock;

use super::failure::Failure;
use crate::admin::Client;
use crate::config::Config;
use crate::identity::SERVER_CERTIFICATE;
use crate::status::format;
use crate::store::StoreSettings;

/// Looks at everything and changes nothing; the coordinator may run
/// meanwhile.
pub(super) fn doctor(config: &Config, as_json: bool) -> Result<(), Failure> {
    match health::report(&examine(config), as_json).as_slice() {
        [] => Ok(()),
        _ => Err(Failure::Unwell),
    }
}

fn examine(config: &Config) -> Vec<Finding> {
    let now = Clock::system().now();
    let mut findings = Vec::new();
    match server_certificate(&config.state) {
        Ok(facts) => {
            findings.push(health::clock(now, facts.not_before));
            findings.push(health::certificate(now, facts.not_after));
        }
        Err(found) => {
            let advice = "run this as the coordinator's user; a new state directory is made by \
                 `alambic-coordinator init`";
            findings.push(Finding::failed("certificate", found, advice));
        }
    }
    findings.push(names());
    findings.push(udp(config));
    if let StoreSettings::Postgres(settings) = &config.store {
        findings.extend(database::examine(settings));
    }
    findings.push(health::state_disk(&config.state, FREE_BYTES_MIN));
    let advice = "run this as the coordinator's user";
    findings.push(health::state_permissions(&config.state, advice));
    findings.push(health::blas());
    findings
}

/// Only read: it is `serve` that renews it.
fn server_certificate(state: &Path) -> Result<CertificateFacts, String> {
    let path = state.join(SERVER_CERTIFICATE);
    let wrong = |error: &dyn Display| format!("{}: {error}", path.display());
    let text = fs::read_to_string(&path).map_err(|error| wrong(&error))?;
    let chain = certificates_from_pem(&text).map_err(|error| wrong(&error))?;
    let own = chain.first().ok_or_else(|| wrong(&"no certificate"))?;
    CertificateFacts::parse(own).map_err(|error| wrong(&error))
}

/// Devices look the coordinator up; it looks up nobody.
fn names() -> Finding {
    Finding::skipped(
        "dns",
        "the coordinator looks up no names; ask a device's doctor",
    )
}

/// Whether the port can be had, or is this coordinator's already.
fn udp(config: &Config) -> Finding {
    if let Ok(status) = Client::connect(&config.admin_socket).and_then(|mut it| it.status()) {
        let connected = status
            .devices
            .iter()
            .filter(|device| device.connected)
            .count();
        let found = format!(
            "serving at {}, {} connected",
            status.address,
            format::count(connected, "device")
        );
        return Finding::ok("udp", found);
    }
    match UdpSocket::bind(config.listen) {
        Ok(_) => Finding::warning(
            "udp",
            format!("{} is free, no coordinator serves there", config.listen),
            "start it: systemctl start alambic-coordinator; path MTU: see a device's doctor",
        ),
        Err(error) => Finding::failed(
            "udp",
            format!("{}: {error}", config.listen),
            "choose another `listen`, or end the program that has the port",
        ),
    }
}

/// Room for contributions, releases and the log of some rounds.
const FREE_BYTES_MIN: u64 = 1 << 30;
