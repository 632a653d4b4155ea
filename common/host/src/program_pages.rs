//! Pages of the program itself that stay in memory after they were needed.
#![allow(unsafe_code)]

use std::ffi::c_void;

use rustix::mm::{Advice, madvise};

/// Gives up what is resident of the program's and its libraries' code, and of
/// their first segments, where constants and what the loader relocated by lie.
/// The system reads sixteen pages around each one that is used, and nobody
/// takes them away from a process that waits, so that nearly all counts as
/// resident for ever after a start. What is used again is there again with
/// a minor page fault, from the page cache; a process that only waits needs a
/// third of it. Where the system does not tell its mappings nothing happens.
///
/// Cost: a read of `/proc/self/maps`, one call a library, and one minor fault
/// for each sixteen pages that are used afterwards.
pub fn give_up_code() {
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let mut last = "";
    for line in maps.lines() {
        let path = line.split_ascii_whitespace().nth(5).unwrap_or_default();
        let begins = path != std::mem::replace(&mut last, path);
        let Some((start, bytes)) = unwritten(line, begins) else {
            continue;
        };
        // SAFETY: the mapping is one of a file, private, and never was
        // writable: code, or the first segment, which begins with the ELF
        // header. The loader writes relocations into later segments only, and
        // makes those of them that it protects afterwards no part of these. So
        // it holds the file's bytes and nothing of this process's own: what is
        // dropped is read again from the same file at its next use, and no
        // reference sees another value. Such mappings are made and removed by
        // the dynamic loader alone, which runs before `main`.
        let _ = unsafe { madvise(start as *mut c_void, bytes, Advice::LinuxDontNeed) };
    }
}

/// Start and length of a mapping, if it is code of a file or the first segment of
/// one, which nobody in this process may write to or ever could. `begins` says
/// whether the file's mappings begin with it: what the loader protects after
/// it wrote there follows code, and of a very small library may lie on its first
/// page too.
fn unwritten(line: &str, begins: bool) -> Option<(usize, usize)> {
    let mut fields = line.split_ascii_whitespace();
    let (range, permissions) = (fields.next()?, fields.next()?);
    let offset = fields.next()?;
    let path = fields.nth(2)?;
    let (start, end) = range.split_once('-')?;
    let start = usize::from_str_radix(start, 16).ok()?;
    let end = usize::from_str_radix(end, 16).ok()?;
    let is_first = begins && permissions == "r--p" && offset.bytes().all(|digit| digit == b'0');
    let is_program = (permissions == "r-xp" || is_first) && path.starts_with('/');
    is_program.then(|| Some((start, end.checked_sub(start)?)))?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_code_and_first_segments_are_given_up() {
        for line in [
            "7f00a000-7f00c000 r-xp 00001000 fe:00 17   /usr/lib/libc.so.6",
            "7f00a000-7f00c000 r--p 00000000 fe:00 17   /usr/lib/libc.so.6",
        ] {
            assert_eq!(unwritten(line, true), Some((0x7f00_a000, 0x2000)));
        }
        let later = "7f00a000-7f00c000 r--p 00000000 fe:00 17   /usr/lib/libdl.so.2";
        assert_eq!(unwritten(later, false), None);
        for line in [
            "7f00a000-7f00c000 rw-p 00001000 fe:00 17   /usr/lib/libc.so.6",
            "7f00a000-7f00c000 r--p 00001000 fe:00 17   /usr/lib/libc.so.6",
            "7f00a000-7f00c000 rw-p 00000000 fe:00 17   /usr/lib/libc.so.6",
            "7f00a000-7f00c000 rwxp 00001000 fe:00 17   /usr/lib/libc.so.6",
            "7f00a000-7f00c000 r-xs 00001000 fe:00 17   /usr/lib/libc.so.6",
            "7f00a000-7f00c000 r-xp 00000000 00:00 0    [vdso]",
            "7f00a000-7f00c000 r-xp 00000000 00:00 0",
            "c000-a000 r-xp 00000000 fe:00 17 /bin/sh",
            "nonsense",
            "",
        ] {
            assert_eq!(unwritten(line, true), None, "{line}");
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
