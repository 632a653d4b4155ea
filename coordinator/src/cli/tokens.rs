//! Commands about join tokens.

use std::net::SocketAddr;

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
                reached_at(config),
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

/// Where devices reach the coordinator, as far as its configuration says;
/// this machine's name otherwise, which devices may have to be told another
/// way.
pub(super) fn reached_at(config: &Config) -> String {
    let port = config.listen.port();
    let told = config.addresses.first().copied();
    let listens = Some(config.listen.ip()).filter(|ip| !ip.is_unspecified());
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
