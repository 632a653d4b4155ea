//! Which class a written label means: one rule for every format.

use std::collections::BTreeMap;

use common::task::folded;

use super::missing::is_nothing;
use super::schema::{Problem, shortened};

/// The class names of a task, and the rule by which a label finds its class.
///
/// A label comes as text (CSV, text arrays, bytes) or as a number (arrays).
/// Either way:
///
/// 1. a text that is a class's name is that class; one that the device's owner
///    has given a meaning means that;
/// 2. what says that there is nothing (an empty text, `nan`, `NA`, `null`) and NaN
///    are no label;
/// 3. a whole number, however it is written (`1`, `1.0`, `01`), is the class
///    whose name is that number;
/// 4. −1 is no label;
/// 5. where no class's name is a number, a whole number counts the classes
///    from 0, in the order of the task;
/// 6. a text that is a class's name or a given word but for case and for what
///    stands between words (blanks, `_`, `-`) is that class, if it is so of one
///    class only;
/// 7. `True` and `False`, of texts and of arrays of truth values, are the classes
///    named 1 and 0 where none is called so, and count nothing.
///
/// Anything else is refused. So a label means the same in each format, and a
/// number is an index only where it cannot be a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassNames {
    names: Vec<String>,
    by_name: BTreeMap<String, u16>,
    by_number: BTreeMap<i64, u16>,
    /// Names as they are compared without case; none where two are the same.
    by_folded: BTreeMap<String, Option<u16>>,
    /// Words that the device's owner has given a meaning; none for no label.
    by_word: BTreeMap<String, Option<u16>>,
    /// No name reads as a number.
    indexed: bool,
}

/// What a label was taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A class, by its name.
    Name(u16),
    /// A class, by its place among the task's.
    Index(u16),
    /// No label.
    Unlabelled,
    /// No label, written as −1.
    MinusOne,
}

impl Meaning {
    /// The class, if there is one.
    pub fn class(self) -> Option<u16> {
        match self {
            Self::Name(class) | Self::Index(class) => Some(class),
            Self::Unlabelled | Self::MinusOne => None,
        }
    }
}

impl ClassNames {
    /// The rule for these names, in the task's order.
    pub fn new(names: Vec<String>) -> Self {
        let classes = || names.iter().zip(0u16..);
        let by_name = classes().map(|(name, class)| (name.trim().to_owned(), class));
        let numbers = classes().filter_map(|(name, class)| Some((whole(name.trim())?, class)));
        let mut by_folded = BTreeMap::new();
        for (name, class) in classes() {
            let known = by_folded.entry(folded(name)).or_insert(Some(class));
            if *known != Some(class) {
                *known = None;
            }
        }
        Self {
            by_name: by_name.collect(),
            by_number: numbers.collect(),
            by_folded,
            by_word: BTreeMap::new(),
            indexed: !names.iter().any(|name| name.trim().parse::<f64>().is_ok()),
            names,
        }
    }

    /// The same with words of the owner's: each means a class of this name, or
    /// no label. Words that name no class of these are passed over: they are
    /// for another task.
    #[must_use]
    pub fn with_words(mut self, words: &[(String, String)]) -> Self {
        for (word, class) in words {
            let class = match class.trim() {
                "" => Some(None),
                name => self.by_name.get(name).map(|&class| Some(class)),
            };
            if let Some(class) = class {
                self.by_word.insert(word.trim().to_owned(), class);
                let known = self.by_folded.entry(folded(word)).or_insert(class);
                if *known != class {
                    *known = None;
                }
            }
        }
        self
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether a number is the same class as a name and as a place: no name is a
    /// number, or each is that of its place.
    pub(super) fn is_counted_by_names(&self) -> bool {
        let names = self.names.iter().zip(0i64..);
        let mut same = names.map(|(name, place)| whole(name.trim()) == Some(place));
        self.indexed || same.all(|same| same)
    }

    /// Whether numbers count the classes, since none is named by one.
    pub fn is_indexed(&self) -> bool {
        self.indexed
    }

    /// What a written label means.
    ///
    /// # Errors
    /// [`Problem::UnknownClass`].
    pub fn of_text(&self, text: &str) -> Result<Meaning, Problem> {
        let text = text.trim();
        if let Some(&class) = self.by_name.get(text) {
            return Ok(Meaning::Name(class));
        }
        if let Some(&class) = self.by_word.get(text) {
            return Ok(class.map_or(Meaning::Unlabelled, Meaning::Name));
        }
        let found = whole(text).and_then(|number| self.of_whole(number));
        if let Some(meaning) = found.or_else(|| self.of_folded(text)) {
            return Ok(meaning);
        }
        if is_nothing(text) {
            return Ok(Meaning::Unlabelled);
        }
        let truth = truth(text).and_then(|truth| self.by_number.get(&i64::from(truth)));
        let class = truth.ok_or_else(|| self.unknown(text))?;
        Ok(Meaning::Name(*class))
    }

    /// What a truth value means: the class of that name, else the one named 1 or 0.
    /// It counts no classes: which of two a task names first is no answer to the
    /// question that a device has asked.
    ///
    /// # Errors
    /// [`Problem::UnknownClass`].
    pub fn of_truth(&self, truth: bool) -> Result<Meaning, Problem> {
        self.of_text(if truth { "True" } else { "False" })
    }

    /// What a label in an array of numbers means.
    ///
    /// # Errors
    /// [`Problem::UnknownClass`].
    pub fn of_number(&self, number: f64) -> Result<Meaning, Problem> {
        if number.is_nan() {
            return Ok(Meaning::Unlabelled);
        }
        if let Some(&class) = self.by_word.get(&number.to_string()) {
            return Ok(class.map_or(Meaning::Unlabelled, Meaning::Name));
        }
        let found = exact(number).and_then(|number| self.of_whole(number));
        found.ok_or_else(|| self.unknown(&number.to_string()))
    }

    /// Whether a label that reads so far can only be read so: nothing that
    /// begins with it means another class.
    pub(super) fn is_closed(&self, text: &str) -> bool {
        let text = text.trim();
        if !matches!(self.of_text(text), Ok(meaning) if meaning.class().is_some()) {
            return false;
        }
        let longer =
            |label: &str| label.len() > text.len() && folded(label).starts_with(&folded(text));
        let indices = match self.indexed {
            true => self.names.len(),
            false => 0,
        };
        !self.names.iter().any(|name| longer(name.trim()))
            && !self.by_word.keys().any(|word| longer(word))
            && !(0..indices).any(|index| longer(&index.to_string()))
    }

    fn of_folded(&self, text: &str) -> Option<Meaning> {
        let class = self.by_folded.get(&folded(text)).copied().flatten();
        class.map(Meaning::Name)
    }

    fn of_whole(&self, number: i64) -> Option<Meaning> {
        if let Some(&class) = self.by_number.get(&number) {
            return Some(Meaning::Name(class));
        }
        if number == -1 {
            return Some(Meaning::MinusOne);
        }
        let index = u16::try_from(number).ok()?;
        let fits = self.indexed && usize::from(index) < self.names.len();
        fits.then_some(Meaning::Index(index))
    }

    fn unknown(&self, found: &str) -> Problem {
        let some: Vec<&str> = self.names.iter().take(12).map(String::as_str).collect();
        let more = if self.names.len() > some.len() {
            ", …"
        } else {
            ""
        };
        Problem::UnknownClass {
            found: shortened(found),
            known: format!("{}{more}", some.join(", ")),
            last: self.indexed.then(|| self.names.len() - 1),
        }
    }
}

/// The whole number that a text writes.
fn whole(text: &str) -> Option<i64> {
    exact(text.parse().ok()?)
}

/// The truth value that a text writes.
pub(super) fn truth(text: &str) -> Option<bool> {
    let is = |word: &str| text.trim().eq_ignore_ascii_case(word);
    match (is("true"), is("false")) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    }
}

/// A whole number below 2⁵³, where f64 counts without gaps.
fn exact(number: f64) -> Option<i64> {
    let fits = number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0;
    fits.then_some(number as i64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(names: &[&str]) -> ClassNames {
        ClassNames::new(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn a_label_means_the_same_as_text_and_as_a_number() {
        for classes in [
            names(&["1", "2", "3"]),
            names(&["1", "0"]),
            names(&["off", "on"]),
            names(&["-1", "1"]),
            names(&["1.0", "2.0"]),
            names(&["a", "7"]),
        ] {
            for number in -3..9 {
                let class = |found: Result<Meaning, Problem>| found.ok().map(Meaning::class);
                let as_number = class(classes.of_number(f64::from(number)));
                for text in [
                    format!("{number}"),
                    format!("{number}.0"),
                    format!(" {number} "),
                ] {
                    let as_text = class(classes.of_text(&text));
                    assert_eq!(as_text, as_number, "{text:?} of {:?}", classes.names());
                }
            }
        }
    }

    #[test]
    fn names_go_before_places() {
        let classes = names(&["1", "2", "3"]);
        assert_eq!(classes.of_number(1.0).unwrap(), Meaning::Name(0));
        assert_eq!(classes.of_text("3.0").unwrap(), Meaning::Name(2));
        assert!(matches!(
            classes.of_number(0.0),
            Err(Problem::UnknownClass { last: None, .. })
        ));
        let inverted = names(&["1", "0"]);
        assert_eq!(inverted.of_number(0.0).unwrap(), Meaning::Name(1));
        let words = names(&["off", "on"]);
        assert_eq!(words.of_text("1.0").unwrap(), Meaning::Index(1));
        assert!(words.of_text("2").is_err() && words.of_text("0.5").is_err());
    }

    #[test]
    fn what_says_nothing_is_no_label_unless_a_class_is_named_so() {
        let words = names(&["off", "on"]);
        for text in ["", "NA", "<NA>", "#N/A", "null", "-nan(ind)", "\\N"] {
            assert_eq!(words.of_text(text).unwrap(), Meaning::Unlabelled, "{text}");
        }
        assert!(words.of_text("none").is_err() && words.of_text("?").is_err());
        let salts = names(&["Na", "K"]);
        assert_eq!(salts.of_text("NA").unwrap(), Meaning::Name(0));
    }

    #[test]
    fn minus_one_is_no_label_unless_a_class_is_named_so() {
        let words = names(&["off", "on"]);
        for text in ["-1", "-1.0"] {
            assert_eq!(words.of_text(text).unwrap(), Meaning::MinusOne);
        }
        assert_eq!(words.of_number(-1.0).unwrap(), Meaning::MinusOne);
        assert_eq!(words.of_text("NaN").unwrap(), Meaning::Unlabelled);
        let signs = names(&["-1", "1"]);
        assert_eq!(signs.of_number(-1.0).unwrap(), Meaning::Name(0));
    }

    #[test]
    fn case_and_an_owners_words_find_a_class_and_never_two() {
        let classes = names(&["ok", "bearing fault", "On", "on"]);
        assert_eq!(classes.of_text("Bearing_Fault").unwrap(), Meaning::Name(1));
        assert_eq!(classes.of_text(" OK ").unwrap(), Meaning::Name(0));
        assert!(classes.of_text("ON").is_err(), "which of the two?");
        let word = |word: &str, class: &str| (word.to_owned(), class.to_owned());
        let words = [
            word("7", "ok"),
            word("läuft", "on"),
            word("-", ""),
            word("x", "elsewhere"),
        ];
        let classes = classes.with_words(&words);
        assert_eq!(classes.of_text("7").unwrap(), Meaning::Name(0));
        assert_eq!(classes.of_number(7.0).unwrap(), Meaning::Name(0));
        assert_eq!(classes.of_text("LÄUFT").unwrap(), Meaning::Name(3));
        assert_eq!(classes.of_text("-").unwrap(), Meaning::Unlabelled);
        assert!(classes.of_text("x").is_err());
    }

    #[test]
    fn half_a_label_is_not_taken_for_a_whole_one() {
        assert!(names(&["off", "on"]).is_closed("on"));
        assert!(!names(&["on", "only"]).is_closed("on"));
        assert!(!names(&["off", "on"]).is_closed("o"));
        assert!(!names(&["off", "on"]).is_closed(""));
        let ten: Vec<String> = (0..11).map(|class| class.to_string()).collect();
        let ten = ClassNames::new(ten);
        assert!(!ten.is_closed("1") && ten.is_closed("2"));
    }
}
