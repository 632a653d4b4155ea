//! What runs the core: the driver, a task for each session and transfer, the
//! threads of the store and of computations. Operators' socket, page and
//! metrics reach all of it through `Shared`.

pub mod clock_guard;
pub(crate) mod compute_backend;
pub(crate) mod compute_thread;
pub(crate) mod driver;
mod enrol;
pub(crate) mod gateways;
pub(crate) mod handle;
pub(crate) mod history;
pub(crate) mod influence;
pub(crate) mod line;
pub(crate) mod links;
pub(crate) mod maintenance;
pub(crate) mod odd;
pub(crate) mod peer_limits;
pub(crate) mod reconnect;
pub(crate) mod repair;
pub(crate) mod replies;
pub(crate) mod reports;
mod session;
pub(crate) mod standby;
pub(crate) mod store_handle;
mod transfer;
pub(crate) mod unheard;

use std::sync::Arc;

use common::transport::{CloseCode, Listener, PeerIdentity, Protocol};
use tracing::Instrument;

pub use self::compute_backend::{ComputeBackend, LocalCompute, Training};
pub(crate) use self::handle::Shared;
use self::line::Line;
pub use self::store_handle::{OpenStore, StoreHandle};

/// Lets peers in, each in a task of its own.
pub(crate) async fn accept(listener: &Listener, shared: &Arc<Shared>) {
    while let Some(arrival) = listener.next().await {
        let shared = shared.clone();
        let from = arrival.remote_address();
        tokio::spawn(async move {
            let connection = match arrival.admit().await {
                Ok(connection) => connection,
                Err(error) => {
                    shared.metrics.turned_away(&error);
                    tracing::info!(%from, %error, "turned away");
                    return;
                }
            };
            match (connection.protocol(), connection.peer()) {
                (Protocol::Devices, PeerIdentity::Device(device)) => {
                    let span = tracing::info_span!("session", device = %device.short());
                    session::serve(shared, Line::Direct(connection), device)
                        .instrument(span)
                        .await;
                }
                (Protocol::Enrolment, _) => {
                    let span = tracing::info_span!("enrolment", %from);
                    enrol::serve(shared, connection).instrument(span).await;
                }
                (Protocol::Gateways, PeerIdentity::Gateway(gateway)) => {
                    let span = tracing::info_span!("gateway", gateway = %gateway.short());
                    gateways::serve(shared, connection, gateway)
                        .instrument(span)
                        .await;
                }
                (Protocol::Gateways, _) => {
                    connection.close(CloseCode::NotAGateway, "a gateway's certificate is needed");
                }
                (Protocol::Devices, _) => {
                    connection.close(CloseCode::Unauthenticated, "a device certificate is needed");
                }
            }
        });
    }
}
