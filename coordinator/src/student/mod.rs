//! The student: a small network that learns what the global teacher says of
//! a stream of synthetic inputs.

mod centring;
mod novelty;
mod refine;
mod stream;
mod train;

pub use novelty::novelty;
pub use refine::refine_student;
pub use stream::Stream;
pub use train::{TrainError, Trained, train_student};
