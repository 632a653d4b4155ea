//! Predictions by the student in use: for other programs on the device as HTTP
//! with JSON over a Unix socket, and for streams line by line.
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
mod follow;
mod inputs;
mod record;
mod server;
mod source;
mod steady;
mod student_cache;
mod tail;

pub use answer::{Answered, Question, Refusal, UNLIKE};
pub use follow::{Follower, Prediction};
pub use record::Record;
pub use server::{PredictionServer, SocketError};
pub use source::{FollowSettings, Source};
pub use student_cache::StudentCache;
pub use tail::{Piped, Tail};

#[cfg(test)]
mod tests;
