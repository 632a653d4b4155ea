//! What a store finds after a crash, built as the exact image left behind.
#![allow(clippy::unwrap_used)]

mod acknowledged;
mod damage;
mod disk;
mod files;
mod mark;
mod snapshot;
