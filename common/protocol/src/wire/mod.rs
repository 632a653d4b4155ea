//! What travels: messages and frames, and the codec they share with the rest.

pub mod frame;
pub mod gateway;
pub mod messages;

pub use crate::codec;
