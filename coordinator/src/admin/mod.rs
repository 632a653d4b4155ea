//! How an operator reaches a running coordinator: a Unix socket in the state
//! directory that only its owner may open, with one JSON value a line.
//!
//! [`Client`] is the caller's end, for the command line and for any program
//! that drives a coordinator. Each [`Request`] has one [`Response`], except
//! that [`Request::Watch`] and a watched [`Request::StartRound`] are followed
//! by [`Response::Progress`] lines, [`Response::Release`] by as many raw
//! bytes as it says, and [`Response::StoreCopy`] by the pieces of the store.

mod client;
mod copy;
#[cfg(test)]
pub(crate) mod fixtures;
pub(crate) mod mend;
mod protocol;
mod releases;
pub(crate) mod server;
mod status;

pub use client::{AdminError, Client};
pub use protocol::{
    Fault, FaultKind, LINE_BYTES_MAX, OutcomeStatus, Progress, Request, Response, TaskSummary,
    TokenStatus, TokenWish,
};
pub use server::SocketError;
pub use status::{
    ABSENCES_MAX, Absence, AbsenceReason, AbsentDevices, ConductStatus, DeviceName, DeviceStatus,
    EndedStatus, Forgetting, MissedStatus, PhaseStatus, Quarantine, ReleaseStatus, ReportSummary,
    RolloutStatus, RoundStatus, SharedKey, Standing, Status, Steps, StoreStatus, TaskStatus,
    TrialStatus,
};
