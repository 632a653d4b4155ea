//! How an operator reaches a running coordinator: a Unix socket in the state
//! directory that only its owner may open, with one JSON value a line.
//!
//! [`Client`] is the caller's end, for the command line and for any program
//! that drives a coordinator. Each [`Request`] has one [`Response`], except
//! that [`Request::Watch`] and a watched [`Request::StartRound`] are followed
//! by [`Response::Progress`] lines, [`Response::Release`] by as many raw
//! bytes as it says, and [`Response::StoreCopy`] by the pieces of the store. A
//! [`Request::AddBackbone`] is itself followed by bytes.

mod backbones;
mod client;
mod copy;
mod line;
mod protocol;
pub(crate) mod server;

pub use client::{AdminError, Client};
pub use protocol::{LINE_BYTES_MAX, Request, Response, TokenStatus, TokenWish};
pub use server::SocketError;
