//! What devices know of their rows' labels.

/// What devices know of the rows of a training set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labelling {
    /// The label that each row is learnt with, if there is one.
    pub learnt: Vec<Option<u16>>,
    /// Whether that label is the data's own.
    pub own: Vec<bool>,
}
