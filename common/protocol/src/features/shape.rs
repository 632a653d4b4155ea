//! The shape of a raw input, and what it says of the input.

use serde::{Deserialize, Serialize};

use super::FeatureError;
use crate::limits::INPUT_VALUES_MAX;

/// Shape of one raw input: 1 to 3 sides, none zero, at most
/// [`INPUT_VALUES_MAX`] values. One side is a list of features, two are time
/// × channels of a window or height × width of an image, three are height ×
/// width × channels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<usize>", into = "Vec<usize>")]
pub struct InputShape(Vec<usize>);

impl InputShape {
    /// A shape of these sides. Errors: none or more than three, a zero, or
    /// more than [`INPUT_VALUES_MAX`] values.
    pub fn new(sides: Vec<usize>) -> Result<Self, FeatureError> {
        let values = sides
            .iter()
            .try_fold(1usize, |product, &side| product.checked_mul(side));
        let fits = values.is_some_and(|values| (1..=INPUT_VALUES_MAX).contains(&values));
        if (1..=3).contains(&sides.len()) && fits {
            Ok(Self(sides))
        } else {
            Err(FeatureError::Shape { shape: sides })
        }
    }

    /// Lengths of the sides.
    pub fn sides(&self) -> &[usize] {
        &self.0
    }

    /// Values of one input: the product of the sides.
    pub fn values(&self) -> usize {
        self.0.iter().product()
    }

    /// What its sides alone say of the input. Two sides are a series if there
    /// are half as many steps again as channels; what is nearer to a square is
    /// an image, and an image that is tall says so by a third side of 1. How
    /// values are stored says nothing.
    pub fn modality(&self) -> Modality {
        match self.0[..] {
            [steps, channels] if 2 * steps >= 3 * channels => Modality::Series,
            [_, _] | [_, _, _] => Modality::Image,
            _ => Modality::List,
        }
    }
}

/// What the values of an input are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modality {
    /// Measurements without an order.
    List,
    /// Steps in time × channels.
    Series,
    /// Height × width, or height × width × channels.
    Image,
}

impl TryFrom<Vec<usize>> for InputShape {
    type Error = FeatureError;

    fn try_from(sides: Vec<usize>) -> Result<Self, Self::Error> {
        Self::new(sides)
    }
}

impl From<InputShape> for Vec<usize> {
    fn from(shape: InputShape) -> Self {
        shape.0
    }
}
