//! The readings over HTTP.

use common::http::{Answer, MetricsServer};
use hyper::StatusCode;

use super::readings::Readings;
use super::text::render;
use crate::state::StateDir;

/// Answers scrapes with what stands in `state` then, until it is dropped.
pub async fn serve(server: MetricsServer, state: StateDir) {
    let answer = move |path: String| {
        let state = state.clone();
        async move {
            if path != METRICS {
                return None;
            }
            let taken = tokio::task::spawn_blocking(move || render(&Readings::take(&state)));
            Some(match taken.await {
                Ok(text) => Answer::metrics(text),
                Err(error) => Answer::plain(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
            })
        }
    };
    server.serve(&[METRICS], answer).await;
}

const METRICS: &str = "/metrics";
