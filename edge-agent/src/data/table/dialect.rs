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

/// A cell without the blanks around it, and without quotes that a blank kept from
/// being taken for such: `"flow", "pressure"`.
pub(super) fn bare(cell: &str) -> &str {
    let trimmed = cell.trim();
    let inner = trimmed
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let is_behind_blank = cell.starts_with([' ', '\t']);
    inner.filter(|_| is_behind_blank).map_or(trimmed, str::trim)
}

/// What cells show of the decimal sign.
#[derive(Debug, Default)]
pub(in super::super) struct DecimalSigns {
    point: bool,
    comma: bool,
    /// A cell with a comma that may be a thousand times what it may be as well.
    either: Option<(Place, String)>,
    /// One with a point.
    grouped: Option<(Place, String)>,
}

impl DecimalSigns {
    /// Looks at one more cell.
    pub(in super::super) fn look(&mut self, cell: &str, place: impl FnOnce() -> Place) {
        let cell = cell.trim();
        if is_ambiguous(cell) {
            let kind = match cell.contains(',') {
                true => &mut self.either,
                false => &mut self.grouped,
            };
            kind.get_or_insert_with(|| (place(), shortened(cell)));
            return;
        }
        match (number(cell, b'.'), number(cell, b',')) {
            (Some(_), None) => self.point |= cell.contains(['.', ',']),
            (None, Some(_)) => self.comma = true,
            _ => {}
        }
    }

    /// The decimal sign: a point where nothing shows a comma.
    ///
    /// # Errors
    /// [`ParseError::Decimal`] where numbers may be read in two ways.
    pub(in super::super) fn sign(self) -> Result<u8, ParseError> {
        let refuse = |(place, found)| Err(ParseError::Decimal { place, found });
        match (self.point, self.comma, self.either) {
            (false, true, _) => self.grouped.map_or(Ok(b','), refuse),
            (_, false, None) => Ok(b'.'),
            // A comma and a point, each as a decimal sign: cells of a kind
            // that reading names by their place.
            (true, true, None) => Ok(b'.'),
            (_, _, Some(cell)) => refuse(cell),
        }
    }
}

/// The number that a cell writes, with this decimal sign; none if it is no
/// number, or one that may be two. Groups of three digits are passed over where
/// they cannot be taken for a fraction: parted by what is neither sign, or
/// together with one, or more than one of them.
pub(in super::super) fn number(cell: &str, decimal: u8) -> Option<f64> {
    let is_plain = |byte: u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    if cell.bytes().all(is_plain) && (decimal == b'.' || !cell.contains('.')) {
        return cell.parse().ok();
    }
    let (sign, digits) = match cell.strip_prefix(['-', '\u{2212}']) {
        Some(rest) => ("-", rest),
        None => ("", cell.strip_prefix('+').unwrap_or(cell)),
    };
    // Fortran writes double precision as 1.5D+03.
    let at = digits.find(['e', 'E', 'd', 'D']).unwrap_or(digits.len());
    let (mantissa, exponent) = digits.split_at(at);
    if mantissa.is_empty()
        || !mantissa.starts_with(|c: char| c.is_ascii_digit() || ".,".contains(c))
    {
        return cell.parse().ok();
    }
    let exponent = exponent.get(1..).unwrap_or_default();
    if at < digits.len() && exponent.is_empty() {
        return None;
    }
    let decimal = char::from(decimal);
    let (whole, fraction) = match mantissa.split_once(decimal) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let whole = ungrouped(whole, decimal, fraction.is_some())?;
    let fraction = fraction.unwrap_or_default();
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(fraction) || whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let exponent = match exponent {
        "" => "0",
        exponent => exponent,
    };
    let fits = all_digits(exponent.strip_prefix(['-', '+']).unwrap_or(exponent));
    let plain = format!("{sign}{whole}.{fraction}e{exponent}");
    fits.then(|| plain.parse().ok()).flatten()
}

/// Digits without what parts groups of three of them, all by the same sign. One
/// group behind what may be a decimal sign as well is none.
fn ungrouped(whole: &str, decimal: char, has_fraction: bool) -> Option<String> {
    let Some(sign) = whole.chars().find(|c| !c.is_ascii_digit()) else {
        return Some(whole.to_owned());
    };
    let groups: Vec<&str> = whole.split(sign).collect();
    let is_group = |group: &&str| group.len() == 3;
    let fits = (1..=3).contains(&groups[0].len()) && groups[1..].iter().all(is_group);
    let all_digits = groups.concat().bytes().all(|byte| byte.is_ascii_digit());
    let is_known = GROUP_SIGNS.contains(&sign) && sign != decimal;
    let is_fraction = matches!(sign, '.' | ',') && groups.len() == 2 && !has_fraction;
    (fits && all_digits && is_known && !is_fraction).then(|| groups.concat())
}

/// Whether a cell is a number by either decimal sign, and another one by each.
pub(super) fn is_ambiguous(cell: &str) -> bool {
    let digits = cell.strip_prefix(['-', '+']).unwrap_or(cell);
    let Some((whole, rest)) = digits.split_once(['.', ',']) else {
        return false;
    };
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_group = (1..=3).contains(&whole.len()) && !whole.starts_with('0') && rest.len() == 3;
    is_group && all_digits(whole) && all_digits(rest)
}

/// The number of a cell with one group, of which the owner has said which sign is
/// the decimal one.
pub(super) fn grouped(cell: &str, decimal: u8) -> Option<f64> {
    let is_group = is_ambiguous(cell) && !cell.contains(char::from(decimal));
    is_group
        .then(|| cell.replace(['.', ','], "").parse().ok())
        .flatten()
}

/// What parts groups of digits: a blank only where it does not part words.
const GROUP_SIGNS: [char; 6] = ['.', ',', '\'', '\u{2019}', '\u{a0}', '\u{202f}'];
/// In the order in which they are believed.
pub(super) const SEPARATORS: [u8; 4] = [b',', b';', b'\t', b'|'];
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
            ("1.234", None),
            ("1.234.567", Some(1_234_567.0)),
            ("1\u{a0}234,5", Some(1234.5)),
            ("\u{2212}2,5", Some(-2.5)),
            ("1,5D+02", Some(150.0)),
        ] {
            assert_eq!(number(cell, b','), expected, "{cell}");
        }
        assert_eq!(number("1,5", b'.'), None);
    }

    #[test]
    fn numbers_as_programs_and_people_write_them() {
        for (cell, expected) in [
            ("1.5D+03", Some(1500.0)),
            ("-.5d-1", Some(-0.05)),
            ("1,234.5", Some(1234.5)),
            ("1,234,567", Some(1_234_567.0)),
            ("1'234.5", Some(1234.5)),
            ("1\u{202f}234.5", Some(1234.5)),
            ("\u{2212}3", Some(-3.0)),
            ("1e400", Some(f64::INFINITY)),
            ("1,234", None),
            ("1,23,456.0", None),
            ("1 234", None),
            ("0x1p3", None),
            ("1_000", None),
            ("1.5D", None),
            ("1.2.3", None),
            ("1,234,5.0", None),
            ("--1", None),
            ("\u{2212}", None),
            (".", None),
            ("e5", None),
        ] {
            assert_eq!(number(cell, b'.'), expected, "{cell}");
        }
        assert_eq!(grouped("1.234", b','), Some(1234.0));
        assert_eq!(grouped("1,234", b','), None);
    }

    #[test]
    fn groups_show_the_decimal_sign_as_well() {
        assert_eq!(sign(&["1.234,5"]), Ok(b','));
        assert_eq!(sign(&["1,234.5"]), Ok(b'.'));
        assert_eq!(sign(&["1.234", "2.345"]), Ok(b'.'));
        assert!(matches!(
            sign(&["1.234", "2,5"]),
            Err(ParseError::Decimal { .. })
        ));
    }

    #[test]
    fn blanks_become_tabs() {
        assert_eq!(tabbed(b"  1  2\t3 \r\n4 5\n\n6"), b"1\t2\t3\n4\t5\n\n6");
    }
}
