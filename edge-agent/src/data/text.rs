//! Bytes of a text file as UTF-8, without what a power cut or an editor left.

use std::borrow::Cow;

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
pub(super) struct Text<'a> {
    /// Lines that have an end, and all of a closed file.
    pub(super) lines: Cow<'a, [u8]>,
    /// The last line, if it has no end yet.
    pub(super) tail: Vec<u8>,
}

impl<'a> Text<'a> {
    /// Makes UTF-8 of the bytes of a file. UTF-16 is known by its mark, or by
    /// every other byte being NUL. NUL bytes at the end are what a file
    /// system leaves where data had not reached the disk: a line that they cut
    /// off is left out with them.
    ///
    /// # Errors
    /// [`Problem::Nul`] for NUL bytes elsewhere, [`Problem::Text`] for broken
    /// UTF-16.
    pub(super) fn of(
        bytes: &'a [u8],
        encoding: Option<Encoding>,
        ending: Ending,
        notes: &mut Vec<Note>,
    ) -> Result<Self, ParseError> {
        let mut text = decoded(bytes, encoding, notes)?;
        let kept = text
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |at| at + 1);
        let nuls = text.len() - kept;
        if nuls > 0 {
            truncate(&mut text, kept);
        }
        if let Some(at) = text.iter().position(|&byte| byte == 0) {
            return Err(ParseError::at(
                Place::Line(line_of(&text, at)),
                Problem::Nul,
            ));
        }
        let torn = nuls > 0;
        if torn && text.is_empty() {
            return Err(ParseError::at(Place::Line(1), Problem::Nul));
        }
        let is_end = |&byte: &u8| byte == b'\n' || byte == b'\r';
        let whole = text.iter().rposition(is_end).map_or(0, |at| at + 1);
        let mut tail = Vec::new();
        if torn || ending == Ending::Open {
            tail = text[whole..].to_vec();
            truncate(&mut text, whole);
        }
        if torn {
            notes.push(Note::NulTail { bytes: nuls });
            tail.clear();
        }
        Ok(Self { lines: text, tail })
    }
}

/// The line of a place in a text, counted from 1.
pub(super) fn line_of(text: &[u8], at: usize) -> u64 {
    1 + text[..at].iter().filter(|&&byte| byte == b'\n').count() as u64
}

fn truncate(text: &mut Cow<'_, [u8]>, length: usize) {
    match text {
        Cow::Borrowed(bytes) => *bytes = &bytes[..length],
        Cow::Owned(bytes) => bytes.truncate(length),
    }
}

fn decoded<'a>(
    bytes: &'a [u8],
    encoding: Option<Encoding>,
    notes: &mut Vec<Note>,
) -> Result<Cow<'a, [u8]>, ParseError> {
    if encoding == Some(Encoding::Latin1) {
        // The first 256 characters of Unicode are those of Latin-1.
        let text: String = bytes.iter().map(|&byte| char::from(byte)).collect();
        return Ok(Cow::Owned(text.into_bytes()));
    }
    if let Some(rest) = bytes.strip_prefix(UTF8_MARK) {
        return Ok(Cow::Borrowed(rest));
    }
    let (rest, little) = if let Some(rest) = bytes.strip_prefix(&[0xff, 0xfe]) {
        (rest, true)
    } else if let Some(rest) = bytes.strip_prefix(&[0xfe, 0xff]) {
        (rest, false)
    } else {
        match (encoding, unmarked(bytes)) {
            (Some(Encoding::Utf16), little) => (bytes, little.unwrap_or(true)),
            (None, Some(little)) => (bytes, little),
            _ => return Ok(Cow::Borrowed(bytes)),
        }
    };
    notes.push(Note::Utf16);
    // A last byte alone is half a character that is still being written.
    let units = rest.chunks_exact(2).map(|pair| match little {
        true => u16::from_le_bytes([pair[0], pair[1]]),
        false => u16::from_be_bytes([pair[0], pair[1]]),
    });
    let mut text = String::with_capacity(rest.len() / 2);
    for character in char::decode_utf16(units) {
        match character {
            Ok(character) => text.push(character),
            Err(_) => {
                let reason = "broken UTF-16".to_owned();
                let line = line_of(text.as_bytes(), text.len());
                return Err(ParseError::at(Place::Line(line), Problem::Text { reason }));
            }
        }
    }
    Ok(Cow::Owned(text.into_bytes()))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TABLE: &str = "a,b,label\n1,2,cat\n";

    fn lines(bytes: &[u8]) -> (String, Vec<Note>) {
        let mut notes = Vec::new();
        let text = Text::of(bytes, None, Ending::Open, &mut notes).unwrap();
        (String::from_utf8(text.lines.into_owned()).unwrap(), notes)
    }

    #[test]
    fn utf_16_is_read_with_and_without_its_mark() {
        let little: Vec<u8> = TABLE.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = TABLE.encode_utf16().flat_map(u16::to_be_bytes).collect();
        let marked = [&[0xff, 0xfe], &little[..]].concat();
        for bytes in [little, big, marked] {
            assert_eq!(lines(&bytes), (TABLE.to_owned(), vec![Note::Utf16]));
        }
    }

    #[test]
    fn latin_1_is_read_where_it_is_named() {
        let bytes = b"Durchflu\xdf,label\n";
        let text = Text::of(bytes, Some(Encoding::Latin1), Ending::Open, &mut Vec::new());
        assert_eq!(&*text.unwrap().lines, "Durchfluß,label\n".as_bytes());
        let text = Text::of(bytes, None, Ending::Open, &mut Vec::new()).unwrap();
        assert_eq!(&*text.lines, bytes);
    }

    #[test]
    fn nuls_at_the_end_cost_the_line_that_they_cut_and_no_other() {
        let cut = format!("{TABLE}3,4,c{}", "\0".repeat(9));
        assert_eq!(
            lines(cut.as_bytes()),
            (TABLE.to_owned(), vec![Note::NulTail { bytes: 9 }])
        );
        let whole = format!("{TABLE}\0\0");
        assert_eq!(lines(whole.as_bytes()).0, TABLE);
    }

    #[test]
    fn nuls_elsewhere_are_named_by_their_line() {
        for (bytes, line) in [("a,b\n1,\0\0,2\n3,4\n", 2), ("\0\0\0", 1)] {
            let refused = Text::of(bytes.as_bytes(), None, Ending::Open, &mut Vec::new());
            let nul = ParseError::at(Place::Line(line), Problem::Nul);
            assert_eq!(refused, Err(nul), "{bytes:?}");
        }
    }

    #[test]
    fn the_line_that_is_being_written_is_set_apart() {
        let text = Text::of(b"a,b\n1,2\n3,", None, Ending::Open, &mut Vec::new()).unwrap();
        assert_eq!(
            (&*text.lines, &text.tail[..]),
            (&b"a,b\n1,2\n"[..], &b"3,"[..])
        );
        let text = Text::of(b"a,b\n1,2\n3,4", None, Ending::Closed, &mut Vec::new()).unwrap();
        assert_eq!(
            (&*text.lines, &text.tail[..]),
            (&b"a,b\n1,2\n3,4"[..], &b""[..])
        );
    }
}
