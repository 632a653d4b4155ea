//! Bytes of a text file as UTF-8, without what a power cut or an editor left,
//! block by block.

use std::io::Read;

use super::content::foreign;
use super::note::Note;
use super::schema::{ParseError, Place, Problem};
use super::source::Encoding;

/// Whether more may be written to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It may be written just now: a last line without a line end waits,
    /// unless it can be nothing but whole.
    Open,
    /// It is complete as it stands.
    Closed,
}

/// A text, cut in two.
#[derive(Debug, PartialEq)]
pub(super) struct Text {
    /// Lines that have an end, and all of a closed file.
    pub(super) lines: Vec<u8>,
    /// The last line, if it has no end yet.
    pub(super) tail: Vec<u8>,
}

impl Text {
    /// All of a file that is in memory; see [`Lines`].
    ///
    /// # Errors
    /// As [`Lines::block`].
    pub(super) fn of(
        bytes: &[u8],
        encoding: Option<Encoding>,
        ending: Ending,
        notes: &mut Vec<Note>,
    ) -> Result<Self, ParseError> {
        let mut source = Lines::new(bytes, encoding, ending).with_block_bytes(usize::MAX);
        let lines = source.block(notes)?;
        Ok(Self {
            lines,
            tail: source.tail,
        })
    }
}

/// Makes UTF-8 of the bytes of a file, and hands out lines that have an end.
/// UTF-16 is known by its mark, or by every other byte being NUL. NUL bytes at
/// the end are what a file system leaves where data had not reached the disk: a
/// line that they cut off is left out with them.
pub(super) struct Lines<R> {
    source: R,
    encoding: Option<Encoding>,
    ending: Ending,
    form: Option<Form>,
    /// Read and not decoded.
    raw: Vec<u8>,
    /// Decoded and not handed out.
    text: Vec<u8>,
    /// NUL bytes after it.
    nuls: usize,
    /// Line ends handed out.
    ends: u64,
    bytes: u64,
    block_bytes: usize,
    is_done: bool,
    /// The last line, if it has no end yet; known once all is handed out.
    pub(super) tail: Vec<u8>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Latin1,
    Utf16 { little: bool },
}

impl<R: Read> Lines<R> {
    /// Of a source that is read once.
    pub(super) fn new(source: R, encoding: Option<Encoding>, ending: Ending) -> Self {
        Self {
            source,
            encoding,
            ending,
            form: None,
            raw: Vec::new(),
            text: Vec::new(),
            nuls: 0,
            ends: 0,
            bytes: 0,
            block_bytes: BLOCK_BYTES,
            is_done: false,
            tail: Vec::new(),
        }
    }

    /// The same with blocks of about so many bytes.
    pub(super) fn with_block_bytes(self, block_bytes: usize) -> Self {
        Self {
            block_bytes,
            ..self
        }
    }

    /// Whether everything is handed out.
    pub(super) fn is_done(&self) -> bool {
        self.is_done
    }

    /// The next lines, each with its end; of a closed file the last may have
    /// none. Nothing at the end.
    ///
    /// # Errors
    /// [`Problem::Nul`] for NUL bytes before other text, [`Problem::Text`] for
    /// broken UTF-16, [`Problem::Long`] for a line of more than [`LINE_BYTES_MAX`],
    /// [`ParseError::Read`] if the source fails, [`ParseError::Unpacked`] if it
    /// is too long.
    pub(super) fn block(&mut self, notes: &mut Vec<Note>) -> Result<Vec<u8>, ParseError> {
        loop {
            if self.text.len() >= self.block_bytes
                && let Some(end) = last_end(&self.text)
            {
                return Ok(self.hand_out(end));
            }
            if self.text.len() > LINE_BYTES_MAX.max(self.block_bytes) {
                let problem = Problem::Long {
                    what: "a line",
                    mib_max: LINE_BYTES_MAX >> 20,
                };
                return Err(self.at(self.ends + 1, problem));
            }
            if !self.fill(notes)? {
                return self.last(notes);
            }
        }
    }

    fn hand_out(&mut self, end: usize) -> Vec<u8> {
        let rest = self.text.split_off(end);
        let block = std::mem::replace(&mut self.text, rest);
        self.ends += line_ends(&block);
        block
    }

    fn last(&mut self, notes: &mut Vec<Note>) -> Result<Vec<u8>, ParseError> {
        self.is_done = true;
        let torn = self.nuls > 0;
        if torn && self.text.is_empty() && self.ends == 0 {
            return Err(self.at(1, Problem::Nul));
        }
        let is_end = |&byte: &u8| byte == b'\n' || byte == b'\r';
        if torn || self.ending == Ending::Open {
            let whole = self.text.iter().rposition(is_end).map_or(0, |at| at + 1);
            self.tail = self.text.split_off(whole);
        }
        if torn {
            notes.push(Note::NulTail { bytes: self.nuls });
            self.tail.clear();
        }
        Ok(std::mem::take(&mut self.text))
    }

    /// Reads and decodes some more; nothing if there is no more.
    fn fill(&mut self, notes: &mut Vec<Note>) -> Result<bool, ParseError> {
        let limit = READ_BYTES.min(self.block_bytes.max(SAMPLE_BYTES));
        let read = (&mut self.source)
            .take(limit as u64)
            .read_to_end(&mut self.raw);
        let read = read.map_err(|error| ParseError::Read {
            reason: error.to_string(),
        })?;
        self.bytes += read as u64;
        if self.bytes > TEXT_BYTES_MAX {
            return Err(ParseError::Unpacked {
                bytes_max: TEXT_BYTES_MAX,
            });
        }
        let is_end = read == 0;
        if self.form.is_none() && (is_end || self.raw.len() >= SAMPLE_BYTES) {
            if let Some((what, advice)) = foreign(&self.raw) {
                return Err(ParseError::Foreign { what, advice });
            }
            let (form, mark) = form_of(&self.raw, self.encoding);
            if let Form::Utf16 { .. } = form {
                notes.push(Note::Utf16);
            }
            self.form = Some(form);
            self.raw.drain(..mark);
        }
        if let Some(form) = self.form {
            self.decode(form, is_end)?;
        }
        common::liveness::heartbeat();
        Ok(!is_end)
    }

    fn decode(&mut self, form: Form, is_end: bool) -> Result<(), ParseError> {
        let start = self.text.len();
        match form {
            Form::Plain => self.text.append(&mut self.raw),
            Form::Latin1 => {
                // The first 256 characters of Unicode are those of Latin-1.
                let text: String = self.raw.drain(..).map(char::from).collect();
                self.text.extend_from_slice(text.as_bytes());
            }
            Form::Utf16 { little } => self.decode_utf16(little, is_end)?,
        }
        ended_by_newline(&mut self.text, start.saturating_sub(1));
        let new = &self.text[start..];
        if self.nuls == 0 && !new.contains(&0) {
            return Ok(());
        }
        let kept = new
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |at| at + 1);
        let first = match self.nuls {
            0 => new.iter().position(|&byte| byte == 0).unwrap_or(new.len()),
            _ => 0,
        };
        if first < kept {
            let line = self.ends + line_of(&self.text, start + first);
            return Err(self.at(line, Problem::Nul));
        }
        self.nuls += new.len() - kept;
        self.text.truncate(start + kept);
        Ok(())
    }

    fn decode_utf16(&mut self, little: bool, is_end: bool) -> Result<(), ParseError> {
        let unit = |pair: &[u8]| match little {
            true => u16::from_le_bytes([pair[0], pair[1]]),
            false => u16::from_be_bytes([pair[0], pair[1]]),
        };
        // A last byte alone is half a character that is still being written.
        let mut whole = self.raw.len() & !1;
        let cut = |pair: &[u8]| (0xd800..0xdc00).contains(&unit(pair));
        if !is_end && whole >= 2 && cut(&self.raw[whole - 2..whole]) {
            whole -= 2;
        }
        let units: Vec<u16> = self.raw[..whole].chunks_exact(2).map(unit).collect();
        let mut text = String::with_capacity(whole / 2);
        for character in char::decode_utf16(units) {
            match character {
                Ok(character) => text.push(character),
                Err(_) => {
                    let before = line_ends(&self.text) + line_ends(text.as_bytes());
                    let reason = "broken UTF-16".to_owned();
                    let line = self.ends + before + 1;
                    return Err(self.at(line, Problem::Text { reason }));
                }
            }
        }
        self.raw.drain(..whole);
        self.text.extend_from_slice(text.as_bytes());
        Ok(())
    }

    fn at(&self, line: u64, problem: Problem) -> ParseError {
        ParseError::at(Place::Line(line), problem)
    }
}

/// Makes line ends of the old Macintosh, a carriage return alone, those of Unix, so
/// that lines are counted as they are seen. One at the end waits for what follows.
fn ended_by_newline(text: &mut [u8], from: usize) {
    for at in from..text.len().saturating_sub(1) {
        if text[at] == b'\r' && text[at + 1] != b'\n' {
            text[at] = b'\n';
        }
    }
}

/// Behind the last line end of a text that goes on.
fn last_end(text: &[u8]) -> Option<usize> {
    let at = text.iter().rposition(|&byte| byte == b'\n');
    // A line end of two characters must not be cut.
    let before_last = &text[..text.len().saturating_sub(1)];
    let at = at.or_else(|| before_last.iter().rposition(|&byte| byte == b'\r'));
    at.map(|at| at + 1)
}

fn line_ends(text: &[u8]) -> u64 {
    text.iter().filter(|&&byte| byte == b'\n').count() as u64
}

/// The line of a place in a text, counted from 1.
pub(super) fn line_of(text: &[u8], at: usize) -> u64 {
    1 + line_ends(&text[..at])
}

/// How a text is written whose first bytes these are, and how long its mark is.
fn form_of(bytes: &[u8], encoding: Option<Encoding>) -> (Form, usize) {
    if encoding == Some(Encoding::Latin1) {
        return (Form::Latin1, 0);
    }
    if bytes.starts_with(UTF8_MARK) {
        return (Form::Plain, UTF8_MARK.len());
    }
    if bytes.starts_with(&[0xff, 0xfe]) {
        return (Form::Utf16 { little: true }, 2);
    }
    if bytes.starts_with(&[0xfe, 0xff]) {
        return (Form::Utf16 { little: false }, 2);
    }
    match (encoding, unmarked(bytes)) {
        (Some(Encoding::Utf16), little) => {
            let little = little.unwrap_or(true);
            (Form::Utf16 { little }, 0)
        }
        (None, Some(little)) => (Form::Utf16 { little }, 0),
        _ => (Form::Plain, 0),
    }
}

/// Whether bytes without a mark are UTF-16, and then whether the low byte
/// comes first: tables are nearly all ASCII, so that every other byte is NUL.
fn unmarked(bytes: &[u8]) -> Option<bool> {
    let sample = &bytes[..bytes.len().min(SAMPLE_BYTES) & !1];
    let pairs = sample.len() / 2;
    let nuls = |offset: usize| {
        sample
            .iter()
            .skip(offset)
            .step_by(2)
            .filter(|&&b| b == 0)
            .count()
    };
    let (first, second) = (nuls(0), nuls(1));
    let mostly = |nuls: usize, other: usize| pairs >= 2 && nuls * 10 >= pairs * 9 && other == 0;
    if mostly(second, first) {
        Some(true)
    } else if mostly(first, second) {
        Some(false)
    } else {
        None
    }
}

const UTF8_MARK: &[u8] = b"\xef\xbb\xbf";
const SAMPLE_BYTES: usize = 4_096;
const READ_BYTES: usize = 64 << 10;
/// Text that is handed out at once, about.
const BLOCK_BYTES: usize = 1 << 20;
/// Longest line, and longest record of several lines.
pub(super) const LINE_BYTES_MAX: usize = 8 << 20;
/// Longest text that is read of one file, as long as it is when it is unpacked.
pub(super) const TEXT_BYTES_MAX: u64 = 64 << 30;

#[cfg(test)]
mod tests;
