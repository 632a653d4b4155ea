//! What travels: messages, their codec and frames.

pub mod codec;
pub mod frame;
pub mod messages;
