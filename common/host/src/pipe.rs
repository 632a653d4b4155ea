//! Standard output whose reader has gone, as `| head` does.

use std::panic::{PanicHookInfo, set_hook, take_hook};
use std::process::exit;

/// From now on, printing to a reader that is gone ends the program as the
/// system's signal for it would, without a word, and is no panic.
pub fn end_with_its_reader() {
    let usual = take_hook();
    set_hook(Box::new(move |panic| {
        if is_of_a_gone_reader(panic) {
            exit(SIGPIPE_CODE);
        }
        usual(panic);
    }));
}

fn is_of_a_gone_reader(panic: &PanicHookInfo<'_>) -> bool {
    let text = panic.payload().downcast_ref::<String>();
    text.is_some_and(|text| {
        text.starts_with("failed printing to stdout") && text.contains("Broken pipe")
    })
}

/// What a shell reports of a program that this signal ended.
const SIGPIPE_CODE: i32 = 128 + 13;
