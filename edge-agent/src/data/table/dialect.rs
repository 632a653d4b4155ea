//! How a table is written: what stands between its cells, and its decimal
//! sign, as far as that shows.

use csv::StringRecord;

use super::super::schema::{ParseError, Place, shortened};

/// What stands between the cells of a table whose first lines these are: of
/// the signs that cut the first line into more than one column, the one that
/// cuts those below into as many, else the one of the most columns. None if
/// there is no such sign.
pub(super) fn separator(text: &[u8]) -> Option<u8> {
    let counts = |separator: u8| -> Vec<usize> {
        let mut reader = reader(text, separator, true);
        let records = reader.records().take(LINES_LOOKED_AT);
        records
            .map_while(Result::ok)
            .map(|record| cells(&record))
            .collect()
    };
    let agreement = |separator: u8| {
        let counts = counts(separator);
        let columns = counts.first().copied().unwrap_or(0);
        let agree = counts.iter().filter(|&&count| count == columns).count();
        (columns > 1).then_some((agree == counts.len(), columns, separator))
    };
    // Of two that do as well, the first in this order.
    let found = SEPARATORS
        .iter()
        .rev()
        .filter_map(|&separator| agreement(separator));
    found
        .max_by_key(|&(agrees, columns, _)| (agrees, columns))
        .map(|(.., separator)| separator)
}

/// Cells but for an empty one at the end.
fn cells(record: &StringRecord) -> usize {
    let empty = |cell: &str| cell.trim().is_empty();
    record.len() - usize::from(record.iter().next_back().is_some_and(empty))
}

/// A reader of lines of any length, a header not being anything special.
pub(super) fn reader(text: &[u8], separator: u8, comments: bool) -> csv::Reader<&[u8]> {
    csv::ReaderBuilder::new()
        .flexible(true)
        .has_headers(false)
        .delimiter(separator)
        .comment(comments.then_some(b'#'))
        .from_reader(text)
}

/// A table whose cells are parted by blanks, any number of them, as one that
/// is parted by tabs.
pub(super) fn tabbed(text: &[u8]) -> Vec<u8> {
    let mut tabbed = Vec::with_capacity(text.len());
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let (start, mut first) = (tabbed.len(), true);
        for cell in line
            .split(u8::is_ascii_whitespace)
            .filter(|cell| !cell.is_empty())
        {
            if !first {
                tabbed.push(b'\t');
            }
            tabbed.extend_from_slice(cell);
            first = false;
        }
        if line.ends_with(b"\n") {
            tabbed.push(b'\n');
        }
        debug_assert!(tabbed.len() - start <= line.len());
    }
    tabbed
}

/// What cells show of the decimal sign.
#[derive(Debug, Default)]
pub(in super::super) struct DecimalSigns {
    point: bool,
    comma: bool,
    /// A cell that may be a thousand times what it may be as well.
    either: Option<(Place, String)>,
}

impl DecimalSigns {
    /// Looks at one more cell.
    pub(in super::super) fn look(&mut self, cell: &str, place: impl FnOnce() -> Place) {
        let cell = cell.trim();
        let number = cell.strip_prefix(['-', '+']).unwrap_or(cell);
        let mantissa = number.split(['e', 'E']).next().unwrap_or_default();
        let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        match (mantissa.split_once('.'), mantissa.split_once(',')) {
            (Some((whole, rest)), None) if digits(whole) && digits(rest) => self.point = true,
            (None, Some((whole, rest))) if digits(whole) && digits(rest) => {
                let grouped = rest.len() == 3 && (1..=3).contains(&whole.len()) && whole != "0";
                match grouped {
                    true => {
                        self.either
                            .get_or_insert_with(|| (place(), shortened(cell)));
                    }
                    false => self.comma = true,
                }
            }
            _ => {}
        }
    }

    /// The decimal sign: a point where nothing shows a comma.
    ///
    /// # Errors
    /// [`ParseError::Decimal`] where numbers may be read in two ways.
    pub(in super::super) fn sign(self) -> Result<u8, ParseError> {
        match (self.point, self.comma, self.either) {
            (false, true, _) => Ok(b','),
            (_, false, None) => Ok(b'.'),
            // A comma and a point, each as a decimal sign: cells of a kind
            // that reading names by their place.
            (true, true, None) => Ok(b'.'),
            (_, _, Some((place, found))) => Err(ParseError::Decimal { place, found }),
        }
    }
}

/// The number that a cell writes, with this decimal sign; none if it is no
/// number. With a comma, points in groups of three digits are passed over.
pub(in super::super) fn number(cell: &str, decimal: u8) -> Option<f64> {
    if decimal == b'.' || !cell.contains(['.', ',']) {
        return cell.parse().ok();
    }
    let (whole, rest) = cell.split_once(',').unwrap_or((cell, ""));
    let mut groups = whole.split('.');
    let first = groups
        .next()
        .unwrap_or_default()
        .trim_start_matches(['-', '+']);
    let grouped = whole.contains('.');
    if grouped && !(1..=3).contains(&first.len()) || groups.any(|group| group.len() != 3) {
        return None;
    }
    if rest.contains(['.', ',']) {
        return None;
    }
    let plain = format!("{}.{rest}", whole.replace('.', ""));
    plain.parse().ok()
}

/// In the order in which they are believed.
const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];
const LINES_LOOKED_AT: usize = 20;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn sign(cells: &[&str]) -> Result<u8, ParseError> {
        let mut signs = DecimalSigns::default();
        cells
            .iter()
            .for_each(|cell| signs.look(cell, || Place::Line(2)));
        signs.sign()
    }

    #[test]
    fn the_sign_between_cells_shows() {
        for (text, expected) in [
            ("a,b\n1,2\n", Some(b',')),
            ("a;b\n1,5;2,5\n", Some(b';')),
            ("a;b;c,d\n1;2;3\n", Some(b';')),
            ("a\tb\n1\t2\n", Some(b'\t')),
            ("a|b\n1|2\n", Some(b'|')),
            ("a,b;c\n1,2\n3,4\n", Some(b',')),
            ("a\n1\n", None),
            ("a b\n1 2\n", None),
        ] {
            assert_eq!(separator(text.as_bytes()), expected, "{text:?}");
        }
    }

    #[test]
    fn the_decimal_sign_shows_or_is_asked_for() {
        assert_eq!(sign(&["1.5", "2", "x"]), Ok(b'.'));
        assert_eq!(sign(&["1,5", "2"]), Ok(b','));
        assert_eq!(sign(&["0,123", "2"]), Ok(b','));
        assert_eq!(sign(&["1,234", "1,5"]), Ok(b','));
        assert_eq!(sign(&["12", ""]), Ok(b'.'));
        assert!(matches!(
            sign(&["1,234", "5"]),
            Err(ParseError::Decimal { .. })
        ));
        assert!(matches!(
            sign(&["1,234", "5.5"]),
            Err(ParseError::Decimal { .. })
        ));
    }

    #[test]
    fn numbers_with_a_comma() {
        for (cell, expected) in [
            ("1,5", Some(1.5)),
            ("-0,25e1", Some(-2.5)),
            ("1.234,5", Some(1234.5)),
            ("12", Some(12.0)),
            ("1.5", None),
            ("1.2345,0", None),
            ("1,2,3", None),
        ] {
            assert_eq!(number(cell, b','), expected, "{cell}");
        }
        assert_eq!(number("1,5", b'.'), None);
    }

    #[test]
    fn blanks_become_tabs() {
        assert_eq!(tabbed(b"  1  2\t3 \r\n4 5\n\n6"), b"1\t2\t3\n4\t5\n\n6");
    }
}
