//! Commands about join tokens.

use std::net::{IpAddr, SocketAddr};

use common::ids::Time;
use common::trust::clock::Clock;
use common::trust::token::{Approval, TokenId};
use serde_json::json;

use super::failure::Failure;
use super::operate::{expect_done, print_json, say, unexpected};
use super::table::{seconds, table};
use crate::admin::{Client, Request, Response, TokenStatus, TokenWish};
use crate::config::Config;
use crate::status::format;

pub(super) fn create_token(
    client: &mut Client,
    config: &Config,
    wish: TokenWish,
    as_json: bool,
) -> Result<(), Failure> {
    let is_manual = wish.approval == Approval::Manual;
    let at = client.status()?.address;
    match client.ask(&Request::CreateToken(wish))? {
        Response::Token {
            token,
            expires,
            uses,
        } if as_json => {
            print_json(&json!({ "token": token, "expires": expires, "uses": uses }));
        }
        Response::Token {
            token,
            uses,
            expires,
        } => {
            println!("{token}");
            eprintln!(
                "shown this once; it admits {} within {}, until {} UTC. On the device:\n  \
                 alambic-agent enrol --coordinator {} --token {token}",
                format::count(uses as usize, "device"),
                format::span(
                    expires
                        .since_ms(Clock::system().now())
                        .next_multiple_of(1_000)
                ),
                format::instant(expires),
                reached_at(&config.addresses, at),
            );
            if is_manual {
                eprintln!(
                    "then here: alambic-coordinator device approve ID{}, which `status` names",
                    config.state_option()
                );
            }
        }
        other => return Err(unexpected(&other)),
    }
    Ok(())
}

/// Where devices reach the coordinator that runs at this address, as far as
/// that and its configuration say; this machine's name otherwise, which devices
/// may have to be told another way. It may have been started with another
/// configuration than this command.
pub(super) fn reached_at(addresses: &[IpAddr], running: SocketAddr) -> String {
    let port = running.port();
    let told = addresses.first().copied();
    let listens = Some(running.ip()).filter(|ip| !ip.is_unspecified());
    if let Some(ip) = told.or(listens) {
        return SocketAddr::new(ip, port).to_string();
    }
    let name = rustix::system::uname();
    match name.nodename().to_str() {
        Ok(name) if !name.is_empty() => format!("{name}:{port}"),
        _ => format!("HOST:{port}"),
    }
}

pub(super) fn tokens(client: &mut Client, as_json: bool) -> Result<(), Failure> {
    let tokens = match client.ask(&Request::ListTokens)? {
        Response::Tokens(tokens) => tokens,
        other => return Err(unexpected(&other)),
    };
    if as_json {
        print_json(&tokens);
        return Ok(());
    }
    if tokens.is_empty() {
        println!("no token was made yet; make one with `alambic-coordinator token create`");
        return Ok(());
    }
    let now = Clock::system().now();
    let mut table = table(&["token", "state", "used", "group", "approval"]);
    for token in &tokens {
        table.add_row([
            token.token.to_string(),
            state_of(token, now),
            format!("{} of {}", token.used_by.len(), token.uses),
            token.group.clone().unwrap_or_default(),
            match token.approval {
                Approval::Auto => "auto".to_owned(),
                Approval::Manual => "manual".to_owned(),
            },
        ]);
    }
    println!("{table}");
    Ok(())
}

fn state_of(token: &TokenStatus, now: Time) -> String {
    if token.revoked.is_some() {
        "revoked".to_owned()
    } else if token.expires <= now {
        "expired".to_owned()
    } else if token.used_by.len() >= token.uses as usize {
        "used up".to_owned()
    } else {
        format!("good for {}", seconds(token.expires.since_ms(now)))
    }
}

pub(super) fn revoke_token(
    client: &mut Client,
    token: TokenId,
    as_json: bool,
) -> Result<(), Failure> {
    expect_done(client, &Request::RevokeToken { token })?;
    let words = format!("token {token} is revoked; devices that joined by it stay");
    say(
        as_json,
        json!({ "token": token, "done": "revoked" }),
        &words,
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn devices_are_sent_to_the_coordinator_that_runs() {
        let running: SocketAddr = "10.0.0.7:5433".parse().unwrap();
        assert_eq!(reached_at(&[], running), "10.0.0.7:5433");
        let everywhere: SocketAddr = "0.0.0.0:5433".parse().unwrap();
        assert!(reached_at(&[], everywhere).ends_with(":5433"));
        let told = ["192.0.2.1".parse().unwrap()];
        assert_eq!(reached_at(&told, everywhere), "192.0.2.1:5433");
    }
}
