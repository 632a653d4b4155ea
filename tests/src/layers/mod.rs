//! Who may import whom: the rules of ARCHITECTURE.md that the compiler cannot
//! hold, and the reading of the sources that holds them.
//!
//! A *room* is a top-level module of a crate. Crates, rooms and what they
//! import are read from the tree (`tree`, `source`, `rooms`); only what
//! is allowed is written down, in `rules`. So a crate, a room or a manifest
//! that no rule mentions is a breach.

mod check;
mod circles;
mod code;
mod manifests;
mod paths;
mod rooms;
mod rules;
mod source;
mod tokens;
mod tree;

pub use check::breaches;
pub use circles::circles;
pub use tree::Tree;
