//! Standard output that takes nothing more: its reader has gone, as with `| head`,
//! or its disk is full.

use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::process::exit;

/// From now on, printing to a reader that is gone ends the program as the
/// system's signal for it would, without a word; printing that fails otherwise
/// ends it with an error and this exit code. Neither is a panic.
pub fn end_with_its_reader(failed: u8) {
    let usual = take_hook();
    set_hook(Box::new(move |panic| match unprintable(panic) {
        Some(cause) if cause.contains("Broken pipe") => exit(SIGPIPE_CODE),
        Some(cause) => {
            eprintln!("error: cannot write to standard output: {cause}");
            exit(i32::from(failed))
        }
        None => usual(panic),
    }));
}

/// Why a line could not be printed, if that is what it is about.
fn unprintable<'a>(panic: &'a PanicHookInfo<'_>) -> Option<&'a str> {
    let text = panic.payload().downcast_ref::<String>()?;
    text.strip_prefix("failed printing to stdout: ")
}

/// What a shell reports of a program that this signal ended.
const SIGPIPE_CODE: i32 = 128 + 13;
