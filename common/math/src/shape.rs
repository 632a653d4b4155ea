//! The one error of arrays and lists that do not fit what they are meant for.

use std::borrow::Cow;
use std::fmt;

/// Something has another shape, or another number of parts, than it must have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ShapeError {
    /// What is counted, or which array is wrong.
    pub what: Cow<'static, str>,
    /// Its sides as they should be; one side is a count.
    pub expected: Vec<usize>,
    /// Its sides as they are.
    pub got: Vec<usize>,
}

impl ShapeError {
    /// An array of another shape than `expected`.
    pub fn new(what: impl Into<Cow<'static, str>>, expected: &[usize], got: &[usize]) -> Self {
        Self {
            what: what.into(),
            expected: expected.to_vec(),
            got: got.to_vec(),
        }
    }

    /// Another number of `what` than `expected`.
    pub fn count(what: impl Into<Cow<'static, str>>, expected: usize, got: usize) -> Self {
        Self::new(what, &[expected], &[got])
    }
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        match (self.expected.as_slice(), self.got.as_slice()) {
            ([expected], [got]) => write!(f, "expected {expected} {what}, got {got}"),
            (expected, got) => write!(f, "{what}: expected shape {expected:?}, got {got:?}"),
        }
    }
}

/// Checks that an array's shape is the expected one.
///
/// # Errors
/// If it is another.
pub fn check_shape(
    what: impl Into<Cow<'static, str>>,
    expected: &[usize],
    got: &[usize],
) -> Result<(), ShapeError> {
    match expected == got {
        true => Ok(()),
        false => Err(ShapeError::new(what, expected, got)),
    }
}

/// Checks that there are as many of something as expected.
///
/// # Errors
/// If there are more or fewer.
pub fn check_count(
    what: impl Into<Cow<'static, str>>,
    expected: usize,
    got: usize,
) -> Result<(), ShapeError> {
    check_shape(what, &[expected], &[got])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_shapes_are_named_with_both_values() {
        assert_eq!(check_count("classes", 3, 3), Ok(()));
        let count = ShapeError::count("classes", 3, 2);
        assert_eq!(count.to_string(), "expected 3 classes, got 2");
        assert_eq!(check_count("classes", 3, 2), Err(count));
        let shape = ShapeError::new("targets", &[12, 64], &[12, 63]);
        let said = "targets: expected shape [12, 64], got [12, 63]";
        assert_eq!(shape.to_string(), said);
        assert_eq!(check_shape("targets", &[12, 64], &[12, 63]), Err(shape));
    }
}
