//! Tells an open page that something changed, by server-sent events. The page
//! then fetches itself again, so there is one way to render everything.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::mpsc;

use super::server::Content;
use super::view::Viewer;

/// Least time between two events of one reader.
const PAUSE: Duration = Duration::from_millis(700);
/// After so long without news an event is sent all the same: sessions begin
/// and end, and time passes.
const QUIET_MAX: Duration = Duration::from_secs(5);

/// The stream of events of one reader.
pub(super) fn follow(viewer: &Arc<Viewer>) -> Response<Content> {
    let Ok(permit) = viewer.live.clone().try_acquire_owned() else {
        let text = "Too many pages are open; this one does not follow the fleet.\n";
        return Content::text(StatusCode::SERVICE_UNAVAILABLE, text);
    };
    let mut steps = viewer.shared.progress.subscribe();
    let (events, body) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                () = events.closed() => return,
                step = steps.recv() => match step {
                    Ok(_) | Err(RecvError::Lagged(_)) => "event: change\ndata: \n\n",
                    Err(RecvError::Closed) => return,
                },
                () = tokio::time::sleep(QUIET_MAX) => "event: tick\ndata: \n\n",
            };
            tokio::time::sleep(PAUSE).await;
            // One event stands for all that happened in the meantime.
            steps = steps.resubscribe();
            if events
                .send(Bytes::from_static(event.as_bytes()))
                .await
                .is_err()
            {
                return;
            }
        }
    });
    let mut response = Response::new(Content::Live {
        events: body,
        _reader: permit,
    });
    let kind = HeaderValue::from_static("text/event-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}
