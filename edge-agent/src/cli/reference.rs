//! What is made from the command line's own definition: manual pages and
//! completions.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Cli, ExitCode, Failure};

/// Prints the completions for a shell.
pub(super) fn completions(shell: Shell) {
    let mut command = Cli::command();
    let name = command.get_name().to_owned();
    // Printed as all else is: a reader that is gone is no panic.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print!("{}", String::from_utf8_lossy(&script));
}

/// Writes one page for the program and one for each of its commands.
pub(super) fn manual(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder))
        .map_err(|error| {
            let message = format!("cannot write the manual into {}: {error}", folder.display());
            Failure::new(ExitCode::Failed, message)
        })
}
