//! `model-child`: what answers predictions of tasks with a model. Not for people.

use super::{ExitCode, Failure};
use crate::backbone::process::serve;
use crate::state::StateDir;

/// Run the model of a task for a program that predicts: rows on standard input, what
/// the model makes of them on standard output.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run(common: super::Common) -> Result<(), Failure> {
    let Some(state) = common.state else {
        let message = "model-child needs --state";
        return Err(Failure::new(ExitCode::Usage, message).advise(ADVICE));
    };
    common::math::blas::pin_to_one_thread();
    serve(&StateDir::at(&state)).map_err(|error| {
        Failure::new(ExitCode::Usage, format!("model-child: {error}")).advise(ADVICE)
    })
}

const ADVICE: &str =
    "`alambic-agent` starts this command for predictions; there is no other use for it";
