//! A frozen model that inputs go through before the feature stage.

mod file;

use bincode::{Decode, Encode};
use math::random::rng;
use ndarray::{Array1, Array2, ArrayView1};
use rand::Rng as _;
use serde::Serialize;

use super::checked::{Task, TaskError, allowed};
use super::definition::{Normalisation, TaskDefinition};
use crate::ids::BlobHash;
use crate::limits::{BLOB_BYTES_MAX, FEATURES_MAX};

pub(super) use file::RawFeatures;
pub use file::{ModelFiles, ModelMeasured};

/// A frozen model that inputs go through before the feature stage, which then
/// sees a list of as many values as the model makes.
#[derive(Clone, Debug, PartialEq, Encode, Decode, Serialize)]
pub struct Backbone {
    /// The model's file, a blob that the coordinator shares.
    pub model: BlobHash,
    /// A model that makes the input of this one, such as a mel spectrum.
    pub front: Option<BlobHash>,
    /// Bytes of both files.
    pub bytes: u64,
    /// How inputs become tensors, as TOML.
    pub settings: String,
    /// What inputs are multiplied with first.
    pub scale: f32,
    /// Values that the model makes of an input.
    pub width: u32,
    /// Whether each of them is replaced by the square root of its size, its sign
    /// kept.
    pub square_root: bool,
    /// Directions that they are projected onto, drawn by the task's seed or learnt; 0
    /// keeps them as they are.
    pub directions: u32,
}

impl Backbone {
    /// Values that the feature stage sees where directions are drawn.
    pub fn values(&self) -> u32 {
        match self.directions {
            0 => self.width,
            directions => directions,
        }
    }

    /// The files, the model first.
    pub fn blobs(&self) -> impl Iterator<Item = BlobHash> {
        [Some(self.model), self.front].into_iter().flatten()
    }

    /// Holds it against its limits and the rest of the task.
    pub(super) fn check(&self, task: &TaskDefinition) -> Result<(), TaskError> {
        let files = self.blobs().count() as u64;
        allowed(
            (1..=files * BLOB_BYTES_MAX).contains(&self.bytes),
            "features.bytes",
            self.bytes,
            format!("1 to {BLOB_BYTES_MAX} for each file"),
        )?;
        allowed(
            (1..=FEATURES_MAX).contains(&(self.width as usize)),
            "features.width",
            self.width,
            format!("1 to {FEATURES_MAX}"),
        )?;
        allowed(
            self.directions <= self.width,
            "features.directions",
            self.directions,
            format!("0 to {}, the values that the model makes", self.width),
        )?;
        allowed(
            self.scale.is_finite() && self.scale != 0.0,
            "features.scale",
            self.scale,
            "a number other than 0",
        )?;
        allowed(
            self.settings.len() <= SETTINGS_BYTES_MAX,
            "features.output",
            format!("{} bytes of settings", self.settings.len()),
            format!("at most {SETTINGS_BYTES_MAX}"),
        )?;
        allowed(
            !task.input.fills_gaps(),
            "input.missing",
            "\"mean\"",
            "\"refuse\" or \"skip-row\", where features.stage is \"onnx\"",
        )?;
        match task.normalisation {
            Normalisation::Range { low, high } => Err(TaskError::Value {
                key: "normaliser.range",
                value: format!("[{low}, {high}]"),
                allowed: "nothing, beside features.stage \"onnx\": the range of a model's outputs \
                          is learnt"
                    .to_owned(),
            }),
            Normalisation::Learnt { .. } | Normalisation::Quantiles { .. } => Ok(()),
        }
    }
}

/// What is made of a model's outputs before the feature stage sees them.
#[derive(Clone, Debug)]
pub struct Condenser {
    square_root: bool,
    /// Shape (directions, width), orthonormal rows.
    directions: Option<Array2<f64>>,
}

impl Condenser {
    /// Of a task whose inputs go through a model; none of another.
    ///
    /// The directions are signs drawn by the task's seed, made orthonormal one
    /// after the other (modified Gram and Schmidt), the same on every device.
    /// Cost: width · directions².
    pub fn of(task: &Task) -> Option<Self> {
        let backbone = task.definition().backbone.as_ref()?;
        let width = backbone.width as usize;
        // Learnt ones come after the scales.
        let count = match task.definition().learns_directions {
            true => 0,
            false => backbone.directions as usize,
        };
        let seed = task.definition().distillation.seed;
        Some(Self {
            square_root: backbone.square_root,
            directions: (count > 0).then(|| orthonormal(count, width, seed)),
        })
    }

    /// A row of the model's outputs as the feature stage sees it.
    pub fn row(&self, mut outputs: Vec<f32>) -> Vec<f32> {
        if self.square_root {
            for value in &mut outputs {
                *value = value.abs().sqrt().copysign(*value);
            }
        }
        match &self.directions {
            None => outputs,
            Some(directions) => {
                let outputs: Array1<f64> = outputs.into_iter().map(f64::from).collect();
                directions.dot(&outputs).mapv(|value| value as f32).to_vec()
            }
        }
    }
}

fn orthonormal(count: usize, width: usize, seed: u64) -> Array2<f64> {
    let mut random = rng(seed, "backbone directions");
    let mut made: Array2<f64> = Array2::zeros((count, width));
    for at in 0..count {
        // Signs that depend on those before are drawn anew.
        loop {
            let mut drawn: Array1<f64> = (0..width)
                .map(|_| if random.random::<bool>() { 1.0 } else { -1.0 })
                .collect();
            for _ in 0..ORTHOGONAL_PASSES {
                for before in 0..at {
                    let row: ArrayView1<'_, f64> = made.row(before);
                    let share = row.dot(&drawn);
                    drawn.scaled_add(-share, &row);
                }
            }
            let length = drawn.dot(&drawn).sqrt();
            if length > LENGTH_MIN {
                made.row_mut(at).assign(&(drawn / length));
                break;
            }
        }
    }
    made
}

/// A second pass takes away what rounding left in the first.
const ORTHOGONAL_PASSES: usize = 2;
/// Drawn rows have a length of √width; what is left of one that the others span
/// is rounding.
const LENGTH_MIN: f64 = 1e-6;
/// Longest settings.
const SETTINGS_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::task::RawTask;

    fn text(more: &str) -> String {
        let model = "ab".repeat(32);
        format!(
            "name = \"t\"\n[input]\nshape = [8, 8]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\n\
             stage = \"onnx\"\nmodel = \"{model}\"\nwidth = 40\nbytes = 1000\n{more}"
        )
    }

    fn refused(more: &str) -> String {
        RawTask::parse(&text(more)).unwrap_err().to_string()
    }

    #[test]
    fn the_stage_behind_sees_a_list_of_the_models_width() {
        let task = RawTask::parse(&text("size = 32\nmean = [1.0, 2.0, 3.0]\n")).unwrap();
        let backbone = task.definition().backbone.clone().unwrap();
        assert_eq!(backbone.settings, "size = 32\nmean = [1.0, 2.0, 3.0]\n");
        assert_eq!(task.input_shape().sides(), [8, 8]);
        assert_eq!(task.stage_shape().sides(), [40]);
        assert_eq!(task.definition().features.to_string(), "lifted/1");
        assert_eq!(task.features(), 41);
        let again = Task::from_bytes(task.bytes()).unwrap();
        assert_eq!((again.hash(), &again), (task.hash(), &task));
        let fewer = RawTask::parse(&text("directions = 6\n")).unwrap();
        assert_eq!(fewer.stage_shape().sides(), [6]);
    }

    #[test]
    fn what_does_not_go_together_is_refused_with_its_key() {
        for (more, told) in [
            ("directions = 41", "features.directions"),
            ("scale = 0.0", "features.scale"),
            ("[normaliser]\nrange = [0.0, 1.0]", "normaliser.range"),
            ("sise = 3", "sise"),
            ("[student]\nkind = \"cnn\"", "student.kind"),
        ] {
            let error = refused(more);
            assert!(error.contains(told), "{more}: {error}");
        }
        let other = text("").replace("\"onnx\"", "\"raw\"");
        let error = RawTask::parse(&other).unwrap_err().to_string();
        assert!(error.contains("features.model"), "{error}");
        let open = text("").replace("width = 40\n", "");
        let error = RawTask::parse(&open).unwrap_err().to_string();
        assert!(error.contains("task create"), "{error}");
        let none = text("").replace("model = ", "front = ");
        let error = RawTask::parse(&none).unwrap_err().to_string();
        assert!(error.contains("features.model"), "{error}");
    }

    #[test]
    fn learnt_directions_come_after_the_models_values() {
        let learnt = |more: &str| {
            RawTask::parse(&text(&format!(
                "directions = 6\nlearn_directions = true\n{more}"
            )))
        };
        let task = learnt("").unwrap();
        assert_eq!((task.stage_features(), task.features()), (40, 6));
        assert_eq!(task.definition().features.to_string(), "raw");
        assert!(task.learns_normaliser() && !task.learns_quantiles());
        let row: Vec<f32> = (0..40).map(|at| at as f32).collect();
        assert_eq!(Condenser::of(&task).unwrap().row(row.clone()), row);
        let again = Task::from_bytes(task.bytes()).unwrap();
        assert_eq!((again.hash(), &again), (task.hash(), &task));
        let projection = task.learnt_projection().unwrap();
        assert_eq!((projection.features, projection.directions), (40, 6));
        assert_eq!((projection.classes_max, projection.columns_max), (2, 6));
        assert_eq!(projection.drawn().dim(), (40, 6));

        // Of 1,000 bytes half are the profile's: 384 of moments, 46 for each vector.
        let narrow = learnt("[budget]\nuplink_bytes_max = 1000").unwrap();
        let narrow = narrow.learnt_projection().unwrap();
        assert_eq!((narrow.classes_max, narrow.columns_max), (1, 1));
        assert!(narrow.profile_bytes() <= 500);
        for (more, told) in [
            ("[normaliser]\nquantiles = true", "normaliser.quantiles"),
            ("[student]\nkind = \"cnn\"", "student.kind"),
        ] {
            let error = learnt(more).unwrap_err().to_string();
            assert!(error.contains(told), "{more}: {error}");
        }
        let none = refused("learn_directions = true");
        assert!(none.contains("features.directions"), "{none}");
        let wide =
            text("learn_directions = true\ndirections = 4\n[budget]\nuplink_bytes_max = 1000")
                .replace("width = 40", "width = 70");
        let error = RawTask::parse(&wide).unwrap_err().to_string();
        assert!(error.contains("budget.uplink_bytes_max"), "{error}");
    }

    #[test]
    fn drawn_directions_are_orthonormal_and_the_same_again() {
        let made = orthonormal(40, 40, 3);
        let product = made.dot(&made.t());
        for ((row, column), value) in product.indexed_iter() {
            let expected = if row == column { 1.0 } else { 0.0 };
            assert!((value - expected).abs() < 1e-9, "{row} {column} {value}");
        }
        assert_eq!(made, orthonormal(40, 40, 3));
        assert_ne!(made, orthonormal(40, 40, 4));
    }

    #[test]
    fn square_roots_keep_their_sign() {
        let task = RawTask::parse(&text("square_root = true\n")).unwrap();
        let row = Condenser::of(&task).unwrap().row(vec![4.0, -9.0, 0.0]);
        assert_eq!(row, [2.0, -3.0, 0.0]);
        let all = RawTask::parse(&text("directions = 40\n")).unwrap();
        let row: Vec<f32> = (0..40).map(|at| at as f32 - 7.0).collect();
        let length = |row: &[f32]| row.iter().map(|value| value * value).sum::<f32>();
        let turned = Condenser::of(&all).unwrap().row(row.clone());
        assert!((length(&turned) - length(&row)).abs() < 0.1);
    }
}
