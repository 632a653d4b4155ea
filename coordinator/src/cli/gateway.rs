//! `gateway`: the gateways of a fleet, and being one.

use std::path::Path;

use common::exit::{self, ExitCode};
use common::ids::DeviceId;
use common::log;
use common::service::Service;
use common::signals::{Asked, Signals, until_asked_twice};
use common::transport::enrolment::Joining;
use common::trust::clock::Clock;
use common::trust::token::{Approval, JoinToken};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::failure::Failure;
use super::operate::{expect_done, print_json, unexpected};
use super::table::table;
use crate::admin::{Client, Request, Response, TokenWish};
use crate::config::Config;
use crate::gateway::config::GatewayConfig;
use crate::gateway::identity::GatewayIdentity;
use crate::gateway::joining::enrol;
use crate::gateway::{Gateway, GatewayError, Parts};
use crate::registry::GATEWAY_GROUP;
use crate::status::{Fault, FaultKind, GatewayStatus, format};

/// Blocking work is little: names are resolved, certificates written.
const BLOCKING_THREADS_MAX: usize = 4;

pub(super) fn token(
    client: &mut Client,
    config: &Config,
    (ttl_ms, uses): (u64, u32),
    as_json: bool,
) -> Result<(), Failure> {
    let wish = TokenWish {
        ttl_ms,
        uses,
        group: Some(GATEWAY_GROUP.to_owned()),
        approval: Approval::Auto,
    };
    let at = client.status()?.address;
    match client.ask(&Request::CreateToken(wish))? {
        Response::Token {
            token,
            expires,
            uses,
        } if as_json => {
            print_json(&json!({ "token": token, "expires": expires, "uses": uses }));
        }
        Response::Token { token, expires, .. } => {
            println!("{token}");
            eprintln!(
                "shown this once; it lets gateways join, until {} UTC. On the gateway's host:\n  \
                 alambic-coordinator gateway enrol --coordinator {} --token {token} --name NAME",
                format::instant(expires),
                super::tokens::reached_at(&config.addresses, at),
            );
        }
        other => return Err(unexpected(&other)),
    }
    Ok(())
}

pub(super) fn list(client: &mut Client, as_json: bool) -> Result<(), Failure> {
    let status = client.status()?;
    if as_json {
        print_json(&status.gateways);
        return Ok(());
    }
    if !status.state_known {
        println!("{}", crate::status::STATE_UNKNOWN);
        return Ok(());
    }
    if status.gateways.is_empty() {
        println!("no gateways; `alambic-coordinator gateway token` lets one join");
        return Ok(());
    }
    let mut shown = table(&[
        "gateway",
        "name",
        "state",
        "address",
        "devices",
        "saved",
        "certificate until",
    ]);
    for one in &status.gateways {
        let saved = one.link.map(|link| {
            let saved = link.served_bytes.saturating_sub(link.fetched_bytes);
            format::bytes(saved)
        });
        shown.add_row([
            one.gateway.short(),
            one.label.clone(),
            state(one),
            one.link
                .map_or_else(String::new, |link| link.address.to_string()),
            one.devices.to_string(),
            saved.unwrap_or_default(),
            format::instant(one.expires),
        ]);
    }
    println!("{shown}");
    Ok(())
}

fn state(one: &GatewayStatus) -> String {
    match (one.revoked, one.link) {
        (true, _) => "revoked",
        (false, Some(_)) => "connected",
        (false, None) => "away",
    }
    .to_owned()
}

pub(super) fn revoke(
    client: &mut Client,
    meant: &str,
    reason: String,
    as_json: bool,
) -> Result<(), Failure> {
    let status = client.status()?;
    let device = named(&status.gateways, meant)?;
    expect_done(client, &Request::RevokeDevice { device, reason })?;
    if as_json {
        print_json(&json!({ "gateway": device, "revoked": true }));
    } else {
        println!("revoked gateway {device}");
    }
    Ok(())
}

/// The gateway that is meant: by its id, the first digits of that, or its name.
fn named(gateways: &[GatewayStatus], meant: &str) -> Result<DeviceId, Failure> {
    let is_meant = |one: &&GatewayStatus| {
        one.label == meant || meant.len() >= 4 && one.gateway.to_string().starts_with(meant)
    };
    let found: Vec<_> = gateways.iter().filter(is_meant).collect();
    match found.as_slice() {
        [one] => Ok(one.gateway),
        [] => {
            let message = format!("no gateway {meant}; `gateway list` shows all");
            Err(crate::admin::AdminError::Fault(Fault::new(FaultKind::NotFound, message)).into())
        }
        several => {
            let message = format!("{meant} names {} gateways; name its id", several.len());
            Err(crate::admin::AdminError::Fault(Fault::new(FaultKind::Invalid, message)).into())
        }
    }
}

pub(super) fn join(
    state: &Path,
    coordinator: String,
    token: &str,
    label: String,
    as_json: bool,
) -> Result<(), Failure> {
    let token: JoinToken = token
        .parse()
        .map_err(|error| exit::Failure::new(ExitCode::Usage, format!("{error}")))?;
    let joining = Joining {
        coordinator,
        token,
        label,
    };
    let waiting = |gateway: DeviceId| {
        eprintln!("waits for an operator: alambic-coordinator device approve {gateway}");
    };
    let identity = runtime()?
        .block_on(enrol(state, &joining, Clock::system(), waiting))
        .map_err(|error| Failure::Gateway(error.into()))?;
    if as_json {
        print_json(&json!({ "gateway": identity.gateway() }));
    } else {
        println!("joined as gateway {}", identity.gateway());
        eprintln!(
            "next: alambic-coordinator gateway run --state {}",
            state.display()
        );
    }
    Ok(())
}

pub(super) fn run(config: GatewayConfig) -> Result<(), Failure> {
    let _log = log::begin("alambic-gateway", &config.log, config.log_json);
    let mut service = Service::of(|name| std::env::var_os(name));
    let gateway = |error: GatewayError| Failure::Gateway(error);
    let identity = GatewayIdentity::load(&config.state).map_err(|error| gateway(error.into()))?;
    let name = identity.gateway();
    let coordinator = config
        .coordinator
        .unwrap_or_else(|| identity.coordinator().to_owned());
    let parts = Parts {
        listen: config.listen,
        coordinator: coordinator.clone(),
        state: config.state,
        identity,
        clock: Clock::system(),
        limits: config.limits,
        cache_bytes: config.cache_bytes,
        metrics: config.metrics,
        service: service.clone(),
    };
    runtime()?.block_on(async {
        let mut signals = Signals::catch()?;
        let running = Gateway::start(parts).map_err(gateway)?;
        let address = running.address().map_err(|error| gateway(error.into()))?;
        eprintln!("ready: devices at {address}, passed on to {coordinator}, gateway {name}");
        if let Some(metrics) = running.metrics() {
            eprintln!("metrics: http://{metrics}/metrics");
        }
        service.status(&format!("devices at {address}"));
        service.ready();
        let asked = async || {
            // Nothing changes while it runs.
            while signals.next().await == Asked::Reload {}
        };
        let run = async |stopped: oneshot::Receiver<()>| {
            running.run_until(async { drop(stopped.await) }).await;
        };
        let _ = until_asked_twice(asked, run).await;
        Ok::<_, Failure>(())
    })?;
    service.stopping();
    Ok(())
}

fn runtime() -> Result<Runtime, Failure> {
    Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .map_err(Failure::Start)
}
