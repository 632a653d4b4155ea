//! The figures over HTTP: `/metrics` for Prometheus, `/healthz` for the supervisor
//! that starts and stops gateways.

use std::sync::Arc;

use common::http::{Answer, MetricsServer};
use hyper::StatusCode;

use super::Shared;
use super::figures::Now;

/// Answers until it is dropped.
pub(super) async fn serve(server: MetricsServer, shared: Arc<Shared>) {
    let answer = move |path: String| {
        let found = respond(&shared, &path);
        async move { found }
    };
    server.serve(&["/metrics", "/healthz"], answer).await;
}

fn respond(shared: &Shared, path: &str) -> Option<Answer> {
    let now = Now {
        devices: shared.devices.count(),
        revoked: shared.rules.count_revoked(),
        connected: shared.uplinks.now().is_some(),
        cached_bytes: shared.cache.bytes(),
    };
    Some(match path {
        "/metrics" => Answer::metrics(shared.figures.render(now)),
        "/healthz" if now.connected => Answer::plain(StatusCode::OK, "connected\n"),
        "/healthz" => {
            let text = "the coordinator is not connected\n";
            Answer::plain(StatusCode::SERVICE_UNAVAILABLE, text)
        }
        _ => return None,
    })
}
