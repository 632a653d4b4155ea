//! `work-child`: what `run` starts for each piece of heavy work. Not for
//! people.

use super::{ExitCode, Failure, log};
use crate::driver::local::child::serve;
use crate::state::StateDir;

/// Do one piece of work for a running agent: a job on standard input, its
/// result on standard output.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run(common: super::Common) -> Result<(), Failure> {
    let Some(state) = common.state else {
        let message = "work-child needs --state";
        return Err(Failure::new(ExitCode::Usage, message).advise("`alambic-agent run` starts it"));
    };
    let begin_log = |filter: &str| {
        log::begin(super::PROGRAM, filter, common.log_json);
    };
    serve(&StateDir::at(&state), common.data, begin_log).map_err(|error| {
        Failure::new(ExitCode::Usage, format!("work-child: {error}"))
            .advise("`alambic-agent run` starts this command; there is no other use for it")
    })
}
