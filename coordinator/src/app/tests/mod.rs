//! What the server does and must not do, over real connections on loopback,
//! with a store in memory and mathematics that are easy to foresee.
#![allow(clippy::unwrap_used)]

mod enrolment;
mod operators;
mod page;
mod retention;
mod rig;
mod rounds;
mod sessions;
mod start;
