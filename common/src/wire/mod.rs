//! The wire: frames of bytes, and the messages inside them.

pub mod frame;
