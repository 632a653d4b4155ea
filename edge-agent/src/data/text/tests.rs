#![allow(clippy::unwrap_used)]
use super::*;

const TABLE: &str = "a,b,label\n1,2,cat\n";

fn lines(bytes: &[u8]) -> (String, Vec<Note>) {
    let mut notes = Vec::new();
    let text = Text::of(bytes, None, Ending::Open, &mut notes).unwrap();
    (String::from_utf8(text.lines).unwrap(), notes)
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
    assert_eq!(&text.unwrap().lines[..], "Durchfluß,label\n".as_bytes());
    let text = Text::of(bytes, None, Ending::Open, &mut Vec::new()).unwrap();
    assert_eq!(&text.lines[..], bytes);
}

#[test]
fn trailing_nuls_cost_only_the_line_they_cut() {
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
        (&text.lines[..], &text.tail[..]),
        (&b"a,b\n1,2\n"[..], &b"3,"[..])
    );
    let text = Text::of(b"a,b\n1,2\n3,4", None, Ending::Closed, &mut Vec::new()).unwrap();
    assert_eq!(
        (&text.lines[..], &text.tail[..]),
        (&b"a,b\n1,2\n3,4"[..], &b""[..])
    );
}

/// All blocks of so many bytes, joined, how many they are, and the tail.
fn in_blocks(bytes: &[u8], block_bytes: usize) -> Result<(Vec<u8>, usize, Vec<u8>), ParseError> {
    let mut source = Lines::new(bytes, None, Ending::Open).with_block_bytes(block_bytes);
    let (mut all, mut blocks) = (Vec::new(), 0);
    while !source.is_done() {
        let block = source.block(&mut Vec::new())?;
        assert!(source.is_done() || block.ends_with(b"\n"));
        all.extend(block);
        blocks += 1;
    }
    Ok((all, blocks, source.tail))
}

#[test]
fn blocks_are_the_text_whatever_it_is_written_as() {
    let text = format!("{}3,", TABLE.repeat(3_000));
    let (lines, tail) = text.split_at(text.len() - 2);
    let wide: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let torn = format!("{text}\0\0\0");
    for (bytes, left) in [
        (text.as_bytes(), tail),
        (&wide, tail),
        (torn.as_bytes(), ""),
    ] {
        let (all, blocks, rest) = in_blocks(bytes, 5_000).unwrap();
        assert_eq!(all, lines.as_bytes());
        assert!(blocks > 5, "{blocks}");
        assert_eq!(rest, left.as_bytes());
    }
}

#[test]
fn a_nul_in_a_later_block_is_named_by_its_line() {
    let text = format!("{}1,\0,2\n{}", TABLE.repeat(3_000), TABLE.repeat(3_000));
    let nul = ParseError::at(Place::Line(6_001), Problem::Nul);
    assert_eq!(in_blocks(text.as_bytes(), 5_000), Err(nul));
}

#[test]
fn an_endless_line_is_refused() {
    let long = std::io::Read::take(std::io::repeat(b'1'), 1 << 40);
    let mut source = Lines::new(long, None, Ending::Open);
    let refused = source.block(&mut Vec::new()).unwrap_err();
    assert!(
        refused.to_string().contains("a line of more than 8 MiB"),
        "{refused}"
    );
    assert_eq!(refused.mend(), None);
}
