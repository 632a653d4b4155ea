//! One pass of all inputs through a model, on every core.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use ndarray::{Array2, ArrayView1};

use onnx::{Model, OnnxError};

use super::source::Inputs;
use super::{BackboneError, cache};
use crate::progress::Progress;

/// A row of each input through a model, from the cache or anew, shape (inputs,
/// values). How the model's inputs are made is told first; `what` is what the
/// inputs are for.
///
/// # Errors
/// If the model or an input cannot be read, or do not fit one another.
pub fn outputs(
    open: &(impl Fn() -> Result<Model, OnnxError> + Sync),
    inputs: &Inputs,
    what: &str,
    progress: &mut Progress,
) -> Result<Array2<f32>, BackboneError> {
    let model = open()?;
    progress.stage(&model.conventions());
    let folder = cache::folder();
    through(
        open,
        (model.key(), folder.as_deref()),
        inputs,
        what,
        progress,
    )
}

/// A row of each input, from the cache or through the model of this key, shape
/// (inputs, values). `what` is what the inputs are for.
pub(super) fn through(
    open: &(impl Fn() -> Result<Model, OnnxError> + Sync),
    (model, folder): ([u8; 32], Option<&Path>),
    inputs: &Inputs,
    what: &str,
    progress: &mut Progress,
) -> Result<Array2<f32>, BackboneError> {
    let mut hasher = blake3::Hasher::new_derive_key("alambic laboratory features 1");
    hasher.update(&model).update(&inputs.key()?);
    let name = *hasher.finalize().as_bytes();
    let file = folder.map(|folder| cache::file(folder, name));
    if let Some(file) = &file
        && let Some(rows) = cache::read(file)
        && rows.nrows() == inputs.len()
    {
        progress.stage(&format!(
            "{what}: {} rows of {}",
            inputs.len(),
            file.display()
        ));
        return Ok(rows);
    }
    progress.stage(&format!(
        "{what}: {} inputs through the model",
        inputs.len()
    ));
    let rows = pass(open, inputs, progress)?;
    if let Some(file) = &file {
        match cache::write(file, &rows) {
            Ok(()) => progress.stage(&format!("{what}: kept in {}", file.display())),
            Err(error) => progress.stage(&format!(
                "{what}: cannot be kept in {} ({error}); ALAMBIC_CACHE names another folder",
                file.display()
            )),
        }
    }
    Ok(rows)
}

fn pass(
    open: &(impl Fn() -> Result<Model, OnnxError> + Sync),
    inputs: &Inputs,
    progress: &mut Progress,
) -> Result<Array2<f32>, BackboneError> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = cores.min(WORKERS_MAX).min(inputs.len().max(1));
    let (next, stop) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (sender, receiver) = mpsc::sync_channel(2 * workers);
    progress.bar(inputs.len() as u64);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            let (sender, next, stop) = (sender.clone(), &next, &stop);
            scope.spawn(move || {
                let mut model = match open() {
                    Ok(model) => model,
                    Err(error) => {
                        let _ = sender.send((0, Err(error.into())));
                        return;
                    }
                };
                while !stop.load(Ordering::Relaxed) {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= inputs.len() {
                        return;
                    }
                    let row = inputs.with(at, |input| model.row(input));
                    let row = row.and_then(|row| row.map_err(BackboneError::from));
                    // Nobody listens any more once a row has failed.
                    if sender.send((at, row)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        let mut rows: Option<Array2<f32>> = None;
        for (at, row) in receiver {
            let row: Vec<f32> = row.inspect_err(|_| stop.store(true, Ordering::Relaxed))?;
            let all = rows.get_or_insert_with(|| Array2::zeros((inputs.len(), row.len())));
            if row.len() != all.ncols() {
                stop.store(true, Ordering::Relaxed);
                return Err(BackboneError::Width {
                    row: at,
                    found: row.len(),
                    width: all.ncols(),
                });
            }
            all.row_mut(at).assign(&ArrayView1::from(&row));
            progress.advance();
        }
        Ok(rows.unwrap_or_default())
    })
}

/// Each has the model in memory.
const WORKERS_MAX: usize = 8;
