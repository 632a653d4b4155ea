//! Distilled points as a file that can be loaded again.

use ndarray::Array2;

use common::features::Normaliser;
use common::npz::{Archive, Array, Bytes, Values, write};
use common::wire::codec::{decode_blob, encode};

use super::{DistilError, Distilled, Session};

/// What an archive of distilled points holds.
///
/// | array | shape | what |
/// |---|---|---|
/// | `X` | m × d | points, as the features and the normaliser give them, `f4` |
/// | `y` | m × C | soft labels less 1/C, `f4` |
/// | `classes` | m | the class each point stands for, `u2` |
/// | `class_names` | C | text |
/// | `features` | 1 | the feature stage, text |
/// | `depth` | 1 | hidden layers of the kernel's network, `u1` |
/// | `ridge` | 1 | ρ of (K(X,X) + ρ·tr/m·I)·α = y, `f8` |
/// | `normaliser` | bytes | what brings features to one scale, encoded |
/// | `offset` | channels | what is subtracted from inputs first, in double precision, `f8`; absent where nothing is |
#[derive(Clone, Debug, PartialEq)]
pub struct DistilledSet {
    /// Points, m × d.
    pub points: Array2<f32>,
    /// Soft labels less 1/C, m × C.
    pub labels: Array2<f32>,
    /// The class each point stands for.
    pub classes: Vec<u16>,
    /// Class names.
    pub class_names: Vec<String>,
    /// The feature stage.
    pub features: String,
    /// Hidden layers of the kernel's network.
    pub depth: u8,
    /// Ridge, relative to the kernel's mean diagonal entry.
    pub ridge: f64,
    /// What brings features to one scale.
    pub normaliser: Normaliser,
    /// What is subtracted from each value of the last axis of an input.
    pub offset: Option<Vec<f64>>,
}

impl DistilledSet {
    /// What a session distilled.
    pub fn of(session: &Session, distilled: &Distilled) -> Self {
        Self {
            points: distilled.points.clone(),
            labels: distilled.labels.mapv(|value| value as f32),
            classes: distilled.classes.clone(),
            class_names: session.problem.classes.clone(),
            features: session
                .feature_view
                .task()
                .definition()
                .features
                .to_string(),
            depth: session.problem.kernel.depth(),
            ridge: distilled.ridge,
            normaliser: session.feature_view.normaliser().clone(),
            offset: None,
        }
    }

    /// The same of inputs that this was subtracted from.
    #[must_use]
    pub fn with_offset(self, offset: Option<Vec<f64>>) -> Self {
        Self { offset, ..self }
    }

    /// The archive's bytes.
    ///
    /// # Errors
    /// If a name is too long.
    pub fn to_npz(&self) -> Result<Vec<u8>, DistilError> {
        let matrix = |values: &Array2<f32>| {
            let shape = values.shape().to_vec();
            Array::new(shape, Values::F32(values.iter().copied().collect()))
        };
        let one = |values| Array::new(vec![1], values);
        let normaliser = encode(&self.normaliser);
        let names = self.class_names.clone();
        let list = |count: usize, values| Array::new(vec![count], values);
        let mut arrays = vec![
            ("X", matrix(&self.points)?),
            ("y", matrix(&self.labels)?),
            (
                "classes",
                list(self.classes.len(), Values::U16(self.classes.clone()))?,
            ),
            ("class_names", list(names.len(), Values::Text(names))?),
            ("features", one(Values::Text(vec![self.features.clone()]))?),
            ("depth", one(Values::U8(vec![self.depth]))?),
            ("ridge", one(Values::F64(vec![self.ridge]))?),
            (
                "normaliser",
                list(normaliser.len(), Values::U8(normaliser))?,
            ),
        ];
        if let Some(offset) = &self.offset {
            let offset = list(offset.len(), Values::F64(offset.clone()))?;
            arrays.push(("offset", offset));
        }
        let named: Vec<(&str, &Array)> =
            arrays.iter().map(|(name, array)| (*name, array)).collect();
        Ok(write(&named)?)
    }

    /// Reads an archive's bytes.
    ///
    /// # Errors
    /// What is missing or does not fit.
    pub fn from_npz(bytes: &[u8]) -> Result<Self, DistilError> {
        let archive = Archive::open(bytes)?;
        let points = matrix(&archive, "X")?;
        let labels = matrix(&archive, "y")?;
        let classes = archive.array("classes")?.to_integers()?;
        let class_names = archive.array("class_names")?.to_text()?.to_vec();
        let (m, count) = (points.nrows(), class_names.len());
        if labels.dim() != (m, count) || classes.len() != m {
            let problem = format!(
                "X has {m} rows, y is {:?}, there are {} classes of points and {count} names",
                labels.dim(),
                classes.len()
            );
            return Err(DistilError::Archive(problem));
        }
        let known = |&class: &i64| {
            u16::try_from(class)
                .ok()
                .filter(|&c| usize::from(c) < count)
        };
        let classes: Option<Vec<u16>> = classes.iter().map(known).collect();
        let normaliser = match archive.array("normaliser")?.values() {
            Values::U8(bytes) => decode_blob::<Normaliser>(bytes)
                .map_err(|cause| DistilError::Archive(format!("normaliser: {cause}")))?,
            _ => return Err(DistilError::Archive("normaliser holds no bytes".into())),
        };
        normaliser
            .check(points.ncols())
            .map_err(|cause| DistilError::Archive(format!("normaliser: {cause}")))?;
        let features = archive.array("features")?.to_text()?.first().cloned();
        let depth = archive.array("depth")?.to_integers()?;
        let ridge = archive.array("ridge")?.to_f64()?.first().copied();
        let missing = |what: &str| DistilError::Archive(format!("{what} is not in its range"));
        Ok(Self {
            points,
            labels,
            classes: classes.ok_or_else(|| missing("classes"))?,
            class_names,
            features: features.ok_or_else(|| missing("features"))?,
            depth: depth
                .first()
                .and_then(|&depth| u8::try_from(depth).ok())
                .ok_or_else(|| missing("depth"))?,
            ridge: ridge
                .filter(|ridge| ridge.is_finite() && *ridge >= 0.0)
                .ok_or_else(|| missing("ridge"))?,
            normaliser,
            offset: match archive.contains("offset") {
                true => Some(archive.array("offset")?.to_f64()?),
                false => None,
            },
        })
    }
}

fn matrix(archive: &Archive<Bytes<'_>>, name: &'static str) -> Result<Array2<f32>, DistilError> {
    let array = archive.array(name)?;
    let values = array.to_f32()?;
    if let Some(value) = values.iter().find(|value| !value.is_finite()) {
        return Err(DistilError::Archive(format!("{name} holds {value}")));
    }
    match *array.shape() {
        [rows, columns] => Array2::from_shape_vec((rows, columns), values)
            .map_err(|cause| DistilError::Archive(format!("{name}: {cause}"))),
        ref shape => Err(DistilError::Archive(format!(
            "{name} has shape {shape:?}, expected rows and columns"
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn set() -> DistilledSet {
        DistilledSet {
            points: ndarray::array![[1.0, 2.0, 3.0], [0.5, 0.25, -4.0]],
            labels: ndarray::array![[0.7, -0.7], [-0.4, 0.4]],
            classes: vec![0, 1],
            class_names: vec!["walking".into(), "sitting".into()],
            features: "raw".into(),
            depth: 2,
            ridge: 1e-6,
            normaliser: Normaliser::of_range(3, 0.0, 255.0).unwrap(),
            offset: Some(vec![1e6, 0.0, 0.5]),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let bytes = set().to_npz().unwrap();
        assert_eq!(DistilledSet::from_npz(&bytes).unwrap(), set());
        assert_eq!(set().to_npz().unwrap(), bytes);
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        let refused = |change: fn(&mut DistilledSet)| {
            let mut bad = set();
            change(&mut bad);
            matches!(
                DistilledSet::from_npz(&bad.to_npz().unwrap()),
                Err(DistilError::Archive(_))
            )
        };
        assert!(refused(|set| set.classes = vec![0]));
        assert!(refused(|set| set.classes = vec![0, 2]));
        assert!(refused(|set| set.points[[0, 1]] = f32::NAN));
        assert!(refused(|set| set.labels = Array2::zeros((2, 3))));
        assert!(refused(|set| set.ridge = -1.0));
        assert!(refused(|set| set.points = Array2::zeros((2, 4))));
    }
}
