//! From a path to a page.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::{Response, StatusCode, Uri};
use maud::Markup;

use super::layout::{self, Room};
use super::server::Content;
use super::view::Viewer;
use super::{
    audit, certificates, device, distilled, fleet, health, history, live, rollouts, rounds, scrape,
    students,
};
use crate::status::Fault;

const STYLE: &str = include_str!("assets/page.css");
const SCRIPT: &str = include_str!("assets/page.js");
const ICON: &str = include_str!("assets/icon.svg");

/// What a page needs besides its path.
pub(super) type Query = BTreeMap<String, String>;

/// Answers one request. Never fails: what is missing or broken has a page.
pub(super) async fn answer(viewer: &Arc<Viewer>, uri: &Uri) -> Response<Content> {
    let query = parse(uri.query().unwrap_or_default());
    let made = match uri.path() {
        "/page.css" => return Content::of("text/css; charset=utf-8", STYLE),
        "/page.js" => return Content::of("text/javascript; charset=utf-8", SCRIPT),
        "/icon.svg" | "/favicon.ico" => return Content::of("image/svg+xml", ICON),
        "/events" => return live::follow(viewer),
        "/metrics" => return scrape::show(viewer).await,
        "/" => simple(viewer, Room::Fleet, query, fleet::render).await,
        "/device" => simple(viewer, Room::Fleet, query, device::render).await,
        "/certificates" => simple(viewer, Room::Certificates, query, certificates::render).await,
        "/rounds" => simple(viewer, Room::Rounds, query, rounds::render).await,
        "/students" => students::show(viewer, query).await,
        "/history" => simple(viewer, Room::History, query, history::render).await,
        "/rollouts" => simple(viewer, Room::Rollouts, query, rollouts::render).await,
        "/distilled" => distilled::show(viewer, query).await,
        "/audit" => audit::show(viewer, query).await,
        "/health" => simple(viewer, Room::Health, query, health::render).await,
        _ => return html(StatusCode::NOT_FOUND, layout::missing()),
    };
    match made {
        Ok(page) => html(StatusCode::OK, page),
        Err(fault) => html(StatusCode::SERVICE_UNAVAILABLE, layout::broken(&fault)),
    }
}

/// A page made from a snapshot alone, rendered away from the core.
async fn simple(
    viewer: &Arc<Viewer>,
    room: Room,
    query: Query,
    render: fn(&super::view::View, &Query) -> Markup,
) -> Result<Markup, Fault> {
    let view = viewer.view().await?;
    on_the_side(move || layout::page(room, &view, render(&view, &query))).await
}

/// Renders on a blocking thread: drawing charts may take milliseconds, which
/// the core's thread does not have.
pub(super) async fn on_the_side(
    render: impl FnOnce() -> Markup + Send + 'static,
) -> Result<Markup, Fault> {
    let rendered = tokio::task::spawn_blocking(render).await;
    rendered.map_err(|error| Fault::new(crate::status::FaultKind::Storage, error.to_string()))
}

fn html(status: StatusCode, page: Markup) -> Response<Content> {
    let mut response = Content::of("text/html; charset=utf-8", page.into_string());
    *response.status_mut() = status;
    response
}

/// The pairs of a query string. What does not decode is left out.
pub fn parse(query: &str) -> BTreeMap<String, String> {
    let pairs = query.split('&').take(PAIRS_MAX);
    let pairs = pairs.filter_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        Some((decode(key)?, decode(value)?))
    });
    pairs.collect()
}

/// Percent-decodes, with `+` for a space (URL standard, 5.1).
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => b' ',
            b'%' => {
                let digits = [rest.next()?, rest.next()?];
                let digits = std::str::from_utf8(&digits).ok()?;
                u8::from_str_radix(digits, 16).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(bytes).ok()
}

/// Percent-encodes a value of a query string.
pub(super) fn encode(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte as char);
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

const PAIRS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn whatever_is_encoded_decodes_to_itself(text in ".{0,40}") {
            prop_assert_eq!(decode(&encode(&text)), Some(text));
        }

        #[test]
        fn arbitrary_queries_never_panic(text in ".{0,80}") {
            let _ = parse(&text);
        }
    }
}
