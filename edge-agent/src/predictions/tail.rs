//! Lines of a file as they are written, and of standard input.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};

/// A file that grows. One that is replaced or cut short is read from its start
/// again, as another recording.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    file: Option<File>,
    position: u64,
    lines: Lines,
    /// Wakes when something in the file's folder changes.
    changes: OwnedFd,
}

impl Tail {
    /// From its start on; a file that is not there yet is waited for.
    ///
    /// # Errors
    /// If its folder cannot be watched.
    pub fn open(path: &Path) -> io::Result<Self> {
        let changes = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let folder = match path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let what = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO;
        inotify::add_watch(&changes, folder, what)?;
        Ok(Self {
            path: path.to_owned(),
            file: None,
            position: 0,
            lines: Lines::default(),
            changes,
        })
    }

    /// Leaves what is there out, but for its first line, which may name columns.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn skip(&mut self) -> io::Result<()> {
        let mut file = match File::open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            file => file?,
        };
        let mut head = Vec::new();
        io::BufRead::read_until(&mut io::BufReader::new(&file), b'\n', &mut head)?;
        if !head.ends_with(b"\n") {
            return Ok(());
        }
        // From the end of the last whole line on.
        let (mut end, mut piece) = (file.metadata()?.len(), [0; 4096]);
        let start = head.len() as u64;
        'found: while end > start {
            let from = end.saturating_sub(piece.len() as u64).max(start);
            let piece = &mut piece[..(end - from) as usize];
            file.read_exact_at(piece, from)?;
            for (at, byte) in piece.iter().enumerate().rev() {
                if *byte == b'\n' {
                    end = from + at as u64 + 1;
                    break 'found;
                }
            }
            end = from;
        }
        io::Seek::seek(&mut file, io::SeekFrom::Start(end))?;
        self.position = end;
        self.lines.whole.push_back(head);
        self.file = Some(file);
        Ok(())
    }

    /// The next line with its end, once it has one; nothing when another file
    /// has taken this one's place, with which the next call goes on.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(line) = self.lines.next()? {
                return Ok(Some(line));
            }
            // Asked before the file is read to its end, so that what was written
            // to it just before it was replaced is not lost.
            let is_replaced = self.is_replaced()?;
            let Some(file) = &mut self.file else {
                match File::open(&self.path) {
                    Ok(file) => self.file = Some(file),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => self.wait()?,
                    Err(error) => return Err(error),
                }
                continue;
            };
            let read = self.lines.read(file)?;
            self.position += read as u64;
            if read > 0 {
                continue;
            }
            if is_replaced {
                self.file = None;
                self.position = 0;
                self.lines = Lines::default();
                return Ok(None);
            }
            self.wait()?;
        }
    }

    /// Whether the path leads to another file, or to less of this one.
    fn is_replaced(&self) -> io::Result<bool> {
        let Some(file) = &self.file else {
            return Ok(false);
        };
        let own = file.metadata()?;
        if own.len() < self.position {
            return Ok(true);
        }
        match std::fs::metadata(&self.path) {
            Ok(there) => Ok(there.ino() != own.ino() || there.dev() != own.dev()),
            // Renamed away, and the next not made yet.
            Err(_) => Ok(false),
        }
    }

    /// Until something changes, or a while has passed: a file system over a
    /// network tells nothing.
    fn wait(&self) -> io::Result<()> {
        let mut waiting = [PollFd::new(&self.changes, PollFlags::IN)];
        match poll(&mut waiting, Some(&LOOK_EVERY)) {
            Err(rustix::io::Errno::INTR) | Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        let mut events = [0; 4096];
        while rustix::io::read(&self.changes, &mut events).is_ok_and(|read| read > 0) {}
        Ok(())
    }
}

/// Lines of standard input, or of anything that is read to its end.
#[derive(Debug)]
pub struct Piped<R> {
    source: R,
    lines: Lines,
}

impl<R: Read> Piped<R> {
    /// Of a source that nothing was read of yet.
    pub fn new(source: R) -> Self {
        Self {
            source,
            lines: Lines::default(),
        }
    }

    /// The next line with its end; the last may have none. Nothing at the end.
    ///
    /// # Errors
    /// If the source cannot be read.
    pub fn next_line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(line) = self.lines.next()? {
                return Ok(Some(line));
            }
            if self.lines.read(&mut self.source)? == 0 {
                let rest = std::mem::take(&mut self.lines.rest);
                return Ok((!rest.is_empty()).then_some(rest));
            }
        }
    }
}

/// Bytes, cut into lines.
#[derive(Debug, Default)]
struct Lines {
    whole: VecDeque<Vec<u8>>,
    /// The beginning of the next line.
    rest: Vec<u8>,
}

impl Lines {
    fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        if self.whole.is_empty() && self.rest.len() > LINE_BYTES_MAX {
            let what = format!("a line of more than {} KiB", LINE_BYTES_MAX >> 10);
            return Err(io::Error::new(io::ErrorKind::InvalidData, what));
        }
        Ok(self.whole.pop_front())
    }

    fn read(&mut self, source: &mut impl Read) -> io::Result<usize> {
        let mut block = [0; BLOCK_BYTES];
        let read = loop {
            match source.read(&mut block) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        for line in block[..read].split_inclusive(|&byte| byte == b'\n') {
            self.rest.extend_from_slice(line);
            if line.ends_with(b"\n") {
                self.whole.push_back(std::mem::take(&mut self.rest));
            }
        }
        Ok(read)
    }
}

const BLOCK_BYTES: usize = 16 << 10;
const LINE_BYTES_MAX: usize = 1 << 20;
const LOOK_EVERY: Timespec = Timespec {
    tv_sec: 1,
    tv_nsec: 0,
};

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::io::Write as _;

    fn text(line: Option<Vec<u8>>) -> Option<String> {
        line.map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn lines_come_once_they_have_an_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("live.csv");
        let mut tail = Tail::open(&path).unwrap();
        let writer = std::thread::spawn({
            let path = path.clone();
            move || {
                let mut file = File::create(path).unwrap();
                for piece in ["time,x\n1,", "2\n3,4", "5\n"] {
                    file.write_all(piece.as_bytes()).unwrap();
                    file.flush().unwrap();
                }
            }
        });
        for expected in ["time,x\n", "1,2\n", "3,45\n"] {
            assert_eq!(text(tail.next_line().unwrap()).as_deref(), Some(expected));
        }
        writer.join().unwrap();
    }

    #[test]
    fn what_was_there_is_skipped_but_its_head() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("live.csv");
        let mut absent = Tail::open(&path).unwrap();
        absent.skip().unwrap();
        let rows: String = (0..2_000).map(|row| format!("{row},1\n")).collect();
        std::fs::write(&path, format!("time,x\n{rows}2000,")).unwrap();
        assert_eq!(
            text(absent.next_line().unwrap()).as_deref(),
            Some("time,x\n")
        );
        assert_eq!(text(absent.next_line().unwrap()).as_deref(), Some("0,1\n"));
        let mut tail = Tail::open(&path).unwrap();
        tail.skip().unwrap();
        let mut file = std::fs::OpenOptions::new()
            .append(true)
            .open(&path)
            .unwrap();
        file.write_all(b"7\n2001,8\n").unwrap();
        for expected in ["time,x\n", "2000,7\n", "2001,8\n"] {
            assert_eq!(text(tail.next_line().unwrap()).as_deref(), Some(expected));
        }
        // One line alone is the head.
        std::fs::write(&path, "time,x\n").unwrap();
        let mut tail = Tail::open(&path).unwrap();
        tail.skip().unwrap();
        assert_eq!(text(tail.next_line().unwrap()).as_deref(), Some("time,x\n"));
    }

    #[test]
    fn a_file_that_is_replaced_or_cut_short_is_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("live.csv");
        std::fs::write(&path, "a\nhalf").unwrap();
        let mut tail = Tail::open(&path).unwrap();
        assert_eq!(text(tail.next_line().unwrap()).as_deref(), Some("a\n"));
        let next = folder.path().join("next");
        std::fs::write(&next, "b\n").unwrap();
        std::fs::rename(&next, &path).unwrap();
        assert_eq!(tail.next_line().unwrap(), None);
        assert_eq!(text(tail.next_line().unwrap()).as_deref(), Some("b\n"));
        std::fs::write(&path, "").unwrap();
        assert_eq!(tail.next_line().unwrap(), None);
        std::fs::write(&path, "c\n").unwrap();
        assert_eq!(text(tail.next_line().unwrap()).as_deref(), Some("c\n"));
    }

    #[test]
    fn a_pipe_ends_with_what_is_left() {
        let mut piped = Piped::new(&b"a\nb"[..]);
        assert_eq!(text(piped.next_line().unwrap()).as_deref(), Some("a\n"));
        assert_eq!(text(piped.next_line().unwrap()).as_deref(), Some("b"));
        assert_eq!(piped.next_line().unwrap(), None);
    }
}
