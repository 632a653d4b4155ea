//! `doctor`: what stands in this coordinator's way.

mod database;

use std::fmt::Display;
use std::fs;
use std::net::UdpSocket;
use std::path::Path;

use common::health::{self, Finding};
use common::ids::Time;
use common::trust::certificate::{CertificateFacts, certificates_from_pem};
use common::trust::clock::Clock;

use super::failure::Failure;
use crate::admin::Client;
use crate::config::Config;
use crate::identity::{self, SERVER_CERTIFICATE};
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
    findings.extend(identity(&config.state, now));
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

/// The files that `serve` opens, which are only read here.
fn identity(state: &Path, now: Time) -> Vec<Finding> {
    let examined = identity::examine(state, now);
    let keys = match &examined {
        Ok(_) => Finding::ok("keys", "authority, release key and trust root fit together"),
        Err(error) => {
            let told = error.to_string();
            let (found, advice) = told.rsplit_once("; ").unwrap_or((&told, LOOK));
            Finding::failed("keys", found, advice)
        }
    };
    let mut findings = vec![keys];
    let path = state.join(SERVER_CERTIFICATE);
    match (server_certificate(state), examined) {
        (_, Ok(Some(damage))) => findings.push(Finding::warning(
            "certificate",
            format!("{}: {damage}", path.display()),
            "`serve` makes it anew at its next start, and nothing is lost; check the disk",
        )),
        (Ok(facts), _) => {
            findings.push(health::clock(now, facts.not_before));
            findings.push(health::certificate(now, facts.not_after));
        }
        (Err(found), _) => findings.push(Finding::failed("certificate", found, LOOK)),
    }
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

const LOOK: &str = "run this as the coordinator's user; mend what is said of its keys first";
/// Room for contributions, releases and the log of some rounds.
const FREE_BYTES_MIN: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use common::health::Verdict;

    use super::*;
    use crate::identity::Identity;

    const NOW: Time = Time(1_800_000_000_000);

    fn of<'a>(findings: &'a [Finding], check: &str) -> &'a Finding {
        findings.iter().find(|one| one.check == check).unwrap()
    }

    #[test]
    fn files_that_serve_refuses_are_named_with_its_advice() {
        for name in ["ca-key.pem", "ca.pem", "charter.hex", "release-key.pem"] {
            let folder = tempfile::tempdir().unwrap();
            let made = Identity::generate(&[], NOW).unwrap();
            made.create_in(folder.path()).unwrap();
            let whole = identity(folder.path(), NOW);
            assert_eq!(health::worst(&whole), Verdict::Ok, "{whole:?}");
            let path = folder.path().join(name);
            let text = fs::read_to_string(&path).unwrap();
            fs::write(&path, &text[..text.len() / 2]).unwrap();
            let refused = Identity::load(folder.path(), &[], NOW).unwrap_err();
            let findings = identity(folder.path(), NOW);
            let keys = of(&findings, "keys");
            assert_eq!(keys.verdict, Verdict::Failed, "{name}");
            assert!(keys.found.contains(name), "{keys:?}");
            let told = format!("{}; {}", keys.found, keys.advice);
            assert_eq!(told, refused.to_string());
        }
    }

    #[test]
    fn a_server_certificate_that_serve_makes_anew_is_no_failure() {
        let folder = tempfile::tempdir().unwrap();
        let made = Identity::generate(&[], NOW).unwrap();
        made.create_in(folder.path()).unwrap();
        let path = folder.path().join(SERVER_CERTIFICATE);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, &text[..text.len() / 2]).unwrap();
        let findings = identity(folder.path(), NOW);
        let found = of(&findings, "certificate");
        assert_eq!(found.verdict, Verdict::Warning, "{found:?}");
        assert!(found.advice.contains("anew"), "{found:?}");
        assert_eq!(fs::read_to_string(&path).unwrap().len(), text.len() / 2);
        Identity::load(folder.path(), &[], NOW).unwrap();
        assert_eq!(health::worst(&identity(folder.path(), NOW)), Verdict::Ok);
    }
}
