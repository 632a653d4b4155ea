//! Rows as JSON: flat lists of values, or nested as the task's input shape.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, SeqAccess, Visitor};

/// Sides that a list of inputs may have: rows, and three of an input.
const DEPTH_MAX: usize = 4;

/// Numbers in nested lists of one shape, in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Nested {
    pub(super) values: Vec<f32>,
    pub(super) sides: Vec<usize>,
}

impl<'de> serde::Deserialize<'de> for Nested {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut values = Vec::new();
        let seed = Level {
            values: &mut values,
            depth: 0,
        };
        let shape = seed.deserialize(deserializer)?;
        Ok(Self {
            sides: shape.sides[..shape.depth].to_vec(),
            values,
        })
    }
}

/// Lengths of the lists below a level, outermost first.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Shape {
    sides: [usize; DEPTH_MAX],
    depth: usize,
}

/// Reads one level and adds what it finds to the values; no list is made for
/// a level, however deep.
struct Level<'a> {
    values: &'a mut Vec<f32>,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Level<'_> {
    type Value = Shape;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Level<'_> {
    type Value = Shape;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a finite number or a list of them")
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Shape, E> {
        let narrow = value as f32;
        if !narrow.is_finite() {
            return Err(E::custom(format_args!(
                "{value} does not fit: inputs are finite numbers below 3.4e38"
            )));
        }
        self.values.push(narrow);
        Ok(Shape::default())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Shape, E> {
        self.visit_f64(value as f64)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Shape, E> {
        self.visit_f64(value as f64)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Shape, A::Error> {
        if self.depth == DEPTH_MAX {
            return Err(A::Error::custom(format_args!(
                "lists are nested more than {DEPTH_MAX} deep"
            )));
        }
        let (mut length, mut inner) = (0usize, None);
        loop {
            let seed = Level {
                values: &mut *self.values,
                depth: self.depth + 1,
            };
            let Some(shape) = items.next_element_seed(seed)? else {
                break;
            };
            if *inner.get_or_insert(shape) != shape {
                return Err(A::Error::custom(format_args!(
                    "item {length} of a list has another shape than those before it"
                )));
            }
            length += 1;
        }
        let inner = inner.unwrap_or_default();
        let mut shape = Shape {
            sides: [length, 0, 0, 0],
            depth: inner.depth + 1,
        };
        shape.sides[1..].copy_from_slice(&inner.sides[..DEPTH_MAX - 1]);
        Ok(shape)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Result<Nested, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn nested_lists_keep_order_and_shape() {
        let read = read("[[[1, 2.5], [-3, 4]], [[5, 6], [7, 8e0]]]").unwrap();
        assert_eq!(read.sides, [2, 2, 2]);
        assert_eq!(read.values, [1.0, 2.5, -3.0, 4.0, 5.0, 6.0, 7.0, 8.0]);
        assert_eq!(self::read("[]").unwrap().sides, [0]);
    }

    #[test]
    fn what_is_no_finite_number_is_refused_with_its_place() {
        for text in [
            "[[1, null]]",
            "[[1, NaN]]",
            "[[1, 1e39]]",
            "[[1, 1e400]]",
            "[[1, \"2\"]]",
            "[[1, 2], [3]]",
            "[1, [2]]",
            "[[[[[1]]]]]",
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains("column"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "[\\[\\], 0-9eE.+-]{0,60}") {
            let _ = read(&text);
        }
    }
}
