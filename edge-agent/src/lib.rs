//! The Alambic agent.

pub mod data;
pub mod ledger;
pub mod outbox;
pub mod policy;
pub mod session;
pub mod slots;
pub mod teacher;
pub mod work;
