//! Pages of the program itself that stay in memory after they were needed.
#![allow(unsafe_code)]

use std::ffi::c_void;

use rustix::mm::{Advice, madvise};

/// Gives up what is resident of the program's and its libraries' code. The
/// system reads sixteen pages around each one that is executed, and nobody
/// takes them away from a process that waits, so that nearly all code counts as
/// resident for ever after a start. What is executed again is there again with
/// a minor page fault, from the page cache; a process that only waits needs a
/// third of it. Where the system does not tell its mappings nothing happens.
///
/// Cost: a read of `/proc/self/maps`, one call a library, and one minor fault
/// for each sixteen pages that are executed afterwards.
pub fn give_up_code() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    for (start, bytes) in maps.lines().filter_map(code_of) {
        // SAFETY: the mapping is one of a file, private, executable and not
        // writable, so it holds the file's bytes and nothing of this process's
        // own: what is dropped is read again from the same file at its next
        // use, and no reference sees another value. Mappings of code are made
        // and removed by the dynamic loader alone, which runs before `main`.
        let _ = unsafe { madvise(start as *mut c_void, bytes, Advice::LinuxDontNeed) };
    }
}

/// Start and length of a mapping, if it is code of a file that nobody in this
/// process may write to.
fn code_of(line: &str) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, permissions) = (fields.next()?, fields.next()?);
    let path = fields.nth(3)?;
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let is_code = permissions == "r-xp" && path.starts_with('/');
    is_code.then(|| Some((start, end.checked_sub(start)?)))?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_code_of_files_is_given_up() {
        let code = "7f00a000-7f00c000 r-xp 00001000 fe:00 17   /usr/lib/libc.so.6";
        assert_eq!(code_of(code), Some((0x7f00_a000, 0x2000)));
        for line in [
            "7f00a000-7f00c000 rw-p 00001000 fe:00 17   /usr/lib/libc.so.6",
            "7f00a000-7f00c000 r--p 00001000 fe:00 17   /usr/lib/libc.so.6",
            "7f00a000-7f00c000 rwxp 00001000 fe:00 17   /usr/lib/libc.so.6",
            "7f00a000-7f00c000 r-xs 00001000 fe:00 17   /usr/lib/libc.so.6",
            "7f00a000-7f00c000 r-xp 00000000 00:00 0    [vdso]",
            "7f00a000-7f00c000 r-xp 00000000 00:00 0",
            "c000-a000 r-xp 00000000 fe:00 17 /bin/sh",
            "nonsense",
            "",
        ] {
            assert_eq!(code_of(line), None, "{line}");
        }
    }

    #[test]
    fn the_program_runs_on_and_takes_less_memory() {
        let file_pages = || {
            let status = std::fs::read_to_string("/proc/self/status").unwrap();
            let line = status.lines().find(|line| line.starts_with("RssFile:"));
            let kib = line.unwrap().split_ascii_whitespace().nth(1).unwrap();
            kib.parse::<u64>().unwrap()
        };
        let text = format!("{:?}", std::env::vars().collect::<Vec<_>>());
        let before = file_pages();
        give_up_code();
        assert!(file_pages() < before);
        assert_eq!(format!("{:?}", std::env::vars().collect::<Vec<_>>()), text);
    }
}
