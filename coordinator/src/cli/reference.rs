//! What is made from the command line's own definition: manual pages and
//! completions.

use std::path::Path;

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::{Arguments, Failure};

/// Prints the completions for a shell.
pub(super) fn completions(shell: Shell) {
    let mut command = Arguments::command();
    let name = command.get_name().to_owned();
    // Printed as all else is: a reader that is gone is no panic.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut command, name, &mut script);
    print!("{}", String::from_utf8_lossy(&script));
}

/// Writes one page for the program and one for each of its commands.
pub(super) fn manual(folder: &Path) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Arguments::command(), folder))
        .map_err(|source| Failure::File {
            action: "write the manual into",
            path: folder.to_owned(),
            source,
        })
}
