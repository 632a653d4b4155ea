//! Which class a written label means: one rule for every format.

use std::collections::BTreeMap;

use super::schema::{Problem, shortened};

/// The class names of a task, and the rule by which a label finds its class.
///
/// A label comes as text (CSV, text arrays, bytes) or as a number (arrays).
/// Either way:
///
/// 1. a text that is a class's name is that class;
/// 2. an empty text, `nan` and NaN are no label;
/// 3. a whole number, however it is written (`1`, `1.0`, `01`), is the class
///    whose name is that number;
/// 4. −1 is no label;
/// 5. where no class's name is a number, a whole number counts the classes
///    from 0, in the order of the task.
///
/// Anything else is refused. So a label means the same in each format, and a
/// number is an index only where it cannot be a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassNames {
    names: Vec<String>,
    by_name: BTreeMap<String, u16>,
    by_number: BTreeMap<i64, u16>,
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
        Self {
            by_name: by_name.collect(),
            by_number: numbers.collect(),
            indexed: !names.iter().any(|name| name.trim().parse::<f64>().is_ok()),
            names,
        }
    }

    /// The names.
    pub fn names(&self) -> &[String] {
        &self.names
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
        if text.is_empty() || text.eq_ignore_ascii_case("nan") {
            return Ok(Meaning::Unlabelled);
        }
        let found = whole(text).and_then(|number| self.of_whole(number));
        found.ok_or_else(|| self.unknown(text))
    }

    /// What a label in an array of numbers means.
    ///
    /// # Errors
    /// [`Problem::UnknownClass`].
    pub fn of_number(&self, number: f64) -> Result<Meaning, Problem> {
        if number.is_nan() {
            return Ok(Meaning::Unlabelled);
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
        let longer = |label: &str| label.len() > text.len() && label.starts_with(text);
        let indices = match self.indexed {
            true => self.names.len(),
            false => 0,
        };
        !self.names.iter().any(|name| longer(name.trim()))
            && !(0..indices).any(|index| longer(&index.to_string()))
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
