//! A task's frozen model: rows go through it once, and from then on a row is what
//! it made of it. Only processes that end with their work open it.

mod known;
#[cfg(not(feature = "onnx"))]
mod no_runtime;
pub mod process;
#[cfg(feature = "onnx")]
mod runtime;

use common::ids::BlobHash;
use common::limits::BLOB_BYTES_MAX;
use common::task::{Backbone, Condenser, Task};
use ndarray::{Array2, ArrayView1, ArrayView2};

use crate::cache::{Cache, CacheError};
use crate::policy::RowHash;
use crate::state::{StateDir, StateError};

pub use known::KnownOutputs;
#[cfg(not(feature = "onnx"))]
pub use no_runtime::FrozenModel;
#[cfg(feature = "onnx")]
pub use runtime::FrozenModel;

/// Why rows cannot go through a task's model.
#[derive(Debug, thiserror::Error)]
pub enum BackboneError {
    /// The owner does not want models of this size.
    #[error(
        "the model of task {task} has {bytes} bytes, and policy.model_bytes_max is {bytes_max}"
    )]
    TooLarge {
        /// The task's name.
        task: String,
        /// Bytes of its model.
        bytes: u64,
        /// The most that the owner allows.
        bytes_max: u64,
    },
    /// Its bytes are not at hand: they are to be fetched.
    #[error("the model {0} of the task is not at hand; the agent fetches it when it runs")]
    NotAtHand(BlobHash),
    /// The disk.
    #[error(transparent)]
    Cache(CacheError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// The model, or a row in it.
    #[cfg(feature = "onnx")]
    #[error("the model of the task cannot be run: {0}")]
    Model(#[from] onnx::OnnxError),
    /// The model makes other than the task says.
    #[error("the model of the task makes {found} values of an input, the task says {expected}")]
    Width {
        /// As the task says.
        expected: u32,
        /// As it does.
        found: usize,
    },
    /// This program was built without what runs models.
    #[error(
        "task {0} sends its inputs through a model, and this alambic-agent was built without the \
         feature onnx"
    )]
    Absent(String),
}

impl BackboneError {
    /// What a person can do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => {
                "raise policy.model_bytes_max in agent.toml, and MemoryHigh and MemoryMax of the \
                 service by five times as much, or leave it: the device has no part in this task then"
            }
            Self::NotAtHand(_) => {
                "let the agent run (`alambic-agent run`), or `alambic-agent pull`"
            }
            Self::Cache(_) | Self::State(_) => "check the disk of the state directory",
            #[cfg(feature = "onnx")]
            Self::Model(_) => "tell the operator; an older agent may lack an operator: update it",
            Self::Width { .. } => "update the older of the two programs",
            Self::Absent(_) => {
                "install an alambic-agent that was built with it, as the packages are"
            }
        }
    }
}

/// Whether the owner lets this device have the task's model, and this program can
/// run it.
///
/// # Errors
/// [`BackboneError::TooLarge`] and [`BackboneError::Absent`].
pub fn permitted(task: &Task, bytes_max: u64) -> Result<(), BackboneError> {
    let Some(backbone) = &task.definition().backbone else {
        return Ok(());
    };
    if backbone.bytes > bytes_max {
        return Err(BackboneError::TooLarge {
            task: task.definition().name.clone(),
            bytes: backbone.bytes,
            bytes_max,
        });
    }
    match cfg!(feature = "onnx") {
        true => Ok(()),
        false => Err(BackboneError::Absent(task.definition().name.clone())),
    }
}

/// A task's model that is ready for rows.
#[derive(Debug)]
pub struct Opened {
    model: FrozenModel,
    condenser: Condenser,
}

impl Opened {
    /// Opens the model of a task; none if it has none. Memory: some four times its
    /// files at first, twice from then on.
    ///
    /// # Errors
    /// [`BackboneError::NotAtHand`] if a file has to be fetched, and why the model
    /// cannot be run.
    pub fn of(state: &StateDir, task: &Task) -> Result<Option<Self>, BackboneError> {
        let definition = task.definition();
        let (Some(backbone), Some(condenser)) = (&definition.backbone, Condenser::of(task)) else {
            return Ok(None);
        };
        permitted(task, u64::MAX)?;
        let model = FrozenModel::open(task, backbone, files(state, backbone)?)?;
        if model.width() != backbone.width as usize {
            return Err(BackboneError::Width {
                expected: backbone.width,
                found: model.width(),
            });
        }
        Ok(Some(Self { model, condenser }))
    }

    /// What the feature stage sees of rows (rows, values), shape (rows, width).
    ///
    /// # Errors
    /// If the model fails on a row.
    pub fn rows(&mut self, rows: ArrayView2<'_, f32>) -> Result<Array2<f32>, BackboneError> {
        self.rows_known(rows, &mut KnownOutputs::default())
    }

    /// The same, where what was made of a row before is taken as it was.
    fn rows_known(
        &mut self,
        rows: ArrayView2<'_, f32>,
        known: &mut KnownOutputs,
    ) -> Result<Array2<f32>, BackboneError> {
        let names = RowHash::of_inputs(rows);
        let mut made: Option<Array2<f32>> = None;
        for (at, (row, name)) in rows.rows().into_iter().zip(names).enumerate() {
            let outputs = known.of_row(name, || -> Result<_, BackboneError> {
                let outputs = self.model.row(&row.to_vec())?;
                Ok(self.condenser.row(outputs))
            })?;
            let all = made.get_or_insert_with(|| Array2::zeros((rows.nrows(), outputs.len())));
            all.row_mut(at).assign(&ArrayView1::from(outputs));
            common::liveness::heartbeat();
        }
        Ok(made.unwrap_or_default())
    }
}

/// What a task's feature stage sees of several sets of rows, each shape (rows, width);
/// none if it has no model. What is made of a row is kept in the state directory for
/// the next time. The model is opened if a row is new.
///
/// # Errors
/// As [`Opened::of`] and [`Opened::rows`].
pub fn seen(
    state: &StateDir,
    task: &Task,
    sets: &[ArrayView2<'_, f32>],
) -> Result<Option<Vec<Array2<f32>>>, BackboneError> {
    let Some(backbone) = &task.definition().backbone else {
        return Ok(None);
    };
    let width = backbone.values() as usize;
    let file = kept_rows(task);
    let mut known = KnownOutputs::load(state, &file).keyed(key_of(task));
    let mut opened = None;
    let mut made = Vec::with_capacity(sets.len());
    for &rows in sets {
        if let Some(all) = known.of_rows(rows, width) {
            made.push(all);
            continue;
        }
        if opened.is_none() {
            opened = Opened::of(state, task)?;
        }
        let Some(opened) = &mut opened else {
            return Ok(None);
        };
        made.push(opened.rows_known(rows, &mut known)?);
    }
    known.keep(state, &file, VALUES_KEPT_MAX)?;
    Ok(Some(made))
}

/// That the files of a task's model are at hand and whole.
///
/// # Errors
/// [`BackboneError::NotAtHand`] with the one that is to be fetched.
pub fn at_hand(state: &StateDir, task: &Task) -> Result<(), BackboneError> {
    match &task.definition().backbone {
        Some(backbone) => files(state, backbone).map(drop),
        None => Ok(()),
    }
}

/// Removes what was kept for tasks that are not among these: models, and what they
/// made of rows.
///
/// # Errors
/// If the disk does not let it.
pub fn keep_only(state: &StateDir, cache: &Cache, tasks: &[Task]) -> Result<(), BackboneError> {
    let backbones = tasks
        .iter()
        .filter_map(|task| task.definition().backbone.as_ref());
    let needed = backbones.flat_map(Backbone::blobs).collect();
    cache.keep_only(&needed).map_err(BackboneError::Cache)?;
    let rows: Vec<String> = tasks.iter().map(kept_rows).collect();
    let entries = std::fs::read_dir(state.path());
    for entry in entries.into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(ROWS_PREFIX) && !rows.contains(&name) {
            state.remove(&name)?;
        }
    }
    Ok(())
}

/// The bytes of the model's files.
fn files(state: &StateDir, backbone: &Backbone) -> Result<Vec<Vec<u8>>, BackboneError> {
    let cache = Cache::open(&state.file(crate::cache::FOLDER), 0).map_err(BackboneError::Cache)?;
    let read = |blob| {
        cache.read(blob).map_err(|error| match error {
            CacheError::Missing(_) | CacheError::Damaged { .. } => BackboneError::NotAtHand(blob),
            other => BackboneError::Cache(other),
        })
    };
    backbone.blobs().map(read).collect()
}

/// A name for what the feature stage sees of a row: of the task's model with all that
/// is said of it, and of this program, whose arithmetic may change.
fn key_of(task: &Task) -> [u8; 32] {
    let definition = task.definition();
    let mut hasher = blake3::Hasher::new_derive_key("alambic backbone rows 1");
    hasher.update(&common::wire::codec::encode(&definition.backbone));
    hasher.update(&common::wire::codec::encode(&definition.input));
    hasher.update(&[u8::from(definition.learns_directions)]);
    hasher.update(&definition.distillation.seed.to_le_bytes());
    hasher.update(env!("CARGO_PKG_VERSION").as_bytes());
    *hasher.finalize().as_bytes()
}

fn kept_rows(task: &Task) -> String {
    format!("{ROWS_PREFIX}{}", task.hash().short())
}

/// How the names of files begin that hold what models made of rows.
const ROWS_PREFIX: &str = "backbone-rows-";
/// Most values that are kept of that: 48 MiB.
const VALUES_KEPT_MAX: usize = 12 << 20;
const _: () = assert!(5 * VALUES_KEPT_MAX as u64 <= BLOB_BYTES_MAX);

#[cfg(all(test, feature = "onnx"))]
mod tests;
