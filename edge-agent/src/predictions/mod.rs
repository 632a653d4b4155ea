//! Predictions for other programs on the device: HTTP with JSON over a Unix
//! socket, answered by the student in use.
//!
//! ```text
//! curl --unix-socket predict.sock -d '{"inputs": [[0.1, 0.2]]}' http://localhost/v1/predict
//! curl --unix-socket predict.sock http://localhost/v1/students
//! ```
//!
//! Off unless configured. Each request holds the student it began with, so a
//! new release takes over between two requests and drops none. Only the
//! socket's owner and group may connect.

mod answer;
mod inputs;
mod server;
mod student_cache;

pub use answer::{Answered, Question, Refusal, UNLIKE};
pub use server::{PredictionServer, SocketError};
pub use student_cache::StudentCache;

#[cfg(test)]
mod tests;
