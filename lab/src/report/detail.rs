//! What a page shows beyond a run's figures: its devices, its mistakes, its
//! distilled points.

use std::collections::BTreeMap;

use ndarray::{Array2, ArrayView2, Axis};

use common::features::{Drawing, Normaliser};
use common::round::{Kind, Reason};
use common::summary::Points;
use coordinator::validation;
use draw::Look;

use super::influence::{Influence, Trial, leave_one_out};
use crate::data::Dataset;
use crate::simulation::{RoundResult, Simulation};
use crate::stage::look;

/// Everything a page shows of one seed.
#[derive(Clone, Debug)]
pub struct Detail {
    /// Class names.
    pub classes: Vec<String>,
    /// Every device.
    pub devices: Vec<DeviceRow>,
    /// Test rows by true class (row) and the student's answer (column).
    pub confusion: Vec<Vec<u32>>,
    /// The distilled points, by class and then by the rows they stand for.
    pub points: Vec<PointPicture>,
    /// What the pictures are.
    pub pictured: &'static str,
}

/// One device.
#[derive(Clone, Debug)]
pub struct DeviceRow {
    /// Its number.
    pub device: usize,
    /// Rows it holds of each class.
    pub rows: Vec<u32>,
    /// Points it sent.
    pub points: usize,
    /// UDP bytes it sent and received.
    pub bytes: [u64; 2],
    /// Its influence, where it was left out in turn.
    pub influence: Option<Influence>,
}

/// One distilled point.
#[derive(Clone, Debug)]
pub struct PointPicture {
    /// Its class.
    pub class: u16,
    /// Rows it stands for.
    pub count: u32,
    /// HTML that shows it.
    pub html: String,
}

/// Why a page's contents could not be gathered.
#[derive(Debug, thiserror::Error)]
pub enum DetailError {
    /// A blob of this very run does not check out.
    #[error("a contribution of this run is refused: {0}")]
    Contribution(Reason),
    /// The student cannot be tried.
    #[error(transparent)]
    Release(#[from] common::model::ReleaseError),
    /// The test inputs have no features.
    #[error(transparent)]
    Features(#[from] common::features::FeatureError),
    /// A teacher cannot be solved.
    #[error(transparent)]
    Regression(#[from] common::math::regression::RegressionError),
    /// The kernel refused its inputs.
    #[error(transparent)]
    Kernel(#[from] common::math::kernel::KernelError),
    /// A device cannot be left out.
    #[error(transparent)]
    Influence(#[from] coordinator::aggregate::InfluenceError),
}

impl Detail {
    /// Looks at what a run left behind. `parts` are the rows of each device.
    /// Cost: a solve for each of the devices left out in turn.
    ///
    /// # Errors
    /// If what the run left does not hold together.
    pub fn gather(
        simulation: &Simulation,
        result: &RoundResult,
        data: &Dataset,
        parts: &[Vec<usize>],
    ) -> Result<Self, DetailError> {
        let task = simulation.task();
        let [_, transfer, normaliser] = result
            .teacher
            .map(|name| simulation.blob(name).unwrap_or_default());
        let set = validation::transfer_set(task, &transfer).map_err(DetailError::Contribution)?;
        let normaliser =
            validation::normaliser(task, &normaliser).map_err(DetailError::Contribution)?;
        let feature_view = FeatureView {
            simulation,
            normaliser,
        };
        let view = feature_view.view(data.test.inputs.view())?;
        let trial = Trial {
            set: &set,
            view: view.view(),
            labels: &data.test.labels,
        };
        let influences = leave_one_out(simulation, trial)?;
        let said = result.release.predict(data.test.inputs.view())?;
        let (pictured, pictures) = pictures(data, &feature_view, &set.points)?;
        Ok(Self {
            classes: data.classes.clone(),
            devices: devices(simulation, result, data, parts, &influences),
            confusion: confusion(&data.test.labels, &said, data.classes.len()),
            points: pictures,
            pictured,
        })
    }
}

/// The way from raw inputs to what kernels see.
struct FeatureView<'a> {
    simulation: &'a Simulation,
    normaliser: Normaliser,
}

impl FeatureView<'_> {
    fn view(&self, inputs: ArrayView2<'_, f32>) -> Result<Array2<f32>, DetailError> {
        let task = self.simulation.task();
        let features = task
            .definition()
            .features
            .compute(task.input_shape(), inputs)?;
        Ok(self.normaliser.apply(features.view())?)
    }
}

fn devices(
    simulation: &Simulation,
    result: &RoundResult,
    data: &Dataset,
    parts: &[Vec<usize>],
    influences: &BTreeMap<usize, Influence>,
) -> Vec<DeviceRow> {
    let mut points = vec![0; parts.len()];
    for contribution in simulation.contributions(Kind::Summary) {
        let bytes = simulation.blob(contribution.blob).unwrap_or_default();
        if let Ok(summary) = validation::summary(simulation.task(), &bytes) {
            points[contribution.device] = summary.len();
        }
    }
    parts
        .iter()
        .enumerate()
        .map(|(device, part)| {
            let mut rows = vec![0; data.classes.len()];
            for &row in part {
                rows[usize::from(data.train.labels[row])] += 1;
            }
            let wire = result.bytes[device];
            DeviceRow {
                device,
                rows,
                points: points[device],
                bytes: [wire.up.udp_bytes(), wire.down.udp_bytes()],
                influence: influences.get(&device).copied(),
            }
        })
        .collect()
}

fn confusion(truth: &[u16], said: &[u16], classes: usize) -> Vec<Vec<u32>> {
    let mut counts = vec![vec![0; classes]; classes];
    for (&truth, &said) in truth.iter().zip(said) {
        // A label that is no class has no row.
        if let Some(row) = counts.get_mut(usize::from(truth)) {
            row[usize::from(said)] += 1;
        }
    }
    counts
}

/// What of a point can be shown, and what that is.
fn pictures(
    data: &Dataset,
    feature_view: &FeatureView<'_>,
    points: &Points,
) -> Result<(&'static str, Vec<PointPicture>), DetailError> {
    let task = feature_view.simulation.task();
    let stage = &task.definition().features;
    let (pictured, html): (&str, Vec<String>) = match stage.drawing(task.input_shape())? {
        Drawing::Input => {
            let rows = points.inputs.rows().into_iter();
            let draw = |row: ndarray::ArrayView1<'_, f32>| show(data, &row.to_vec());
            (RAW, rows.map(draw).collect())
        }
        // Cells in two directions are an image of their own.
        Drawing::Filters(filters) if filters.sides[0] > 1 => {
            let nearest = nearest(data, feature_view, points)?;
            let names = stage.names(task.input_shape())?;
            let pairs = points.inputs.rows().into_iter().zip(nearest);
            let draw = |(row, near): (ndarray::ArrayView1<'_, f32>, Option<usize>)| {
                energy(&names, &row.to_vec())
                    + &near.map_or(String::new(), |row| train_row(data, row))
            };
            (PATCHES, pairs.map(draw).collect())
        }
        Drawing::Filters(_) | Drawing::Bars => {
            let draw = |near: Option<usize>| near.map_or(String::new(), |row| train_row(data, row));
            (
                NEAREST,
                nearest(data, feature_view, points)?
                    .into_iter()
                    .map(draw)
                    .collect(),
            )
        }
    };
    let mut all: Vec<PointPicture> = html
        .into_iter()
        .enumerate()
        .map(|(at, html)| PointPicture {
            class: points.classes[at],
            count: points.counts[at],
            html,
        })
        .collect();
    all.sort_by_key(|point| (point.class, std::cmp::Reverse(point.count)));
    Ok((pictured, all))
}

/// The training row of the same class that looks most like each point.
fn nearest(
    data: &Dataset,
    feature_view: &FeatureView<'_>,
    points: &Points,
) -> Result<Vec<Option<usize>>, DetailError> {
    let step = data.train.len().div_ceil(SEARCHED_MAX).max(1);
    let rows: Vec<usize> = (0..data.train.len()).step_by(step).collect();
    let view = feature_view.view(data.train.inputs.select(Axis(0), &rows).view())?;
    let squares: Vec<f32> = view.rows().into_iter().map(|row| row.dot(&row)).collect();
    let products = view.dot(&points.inputs.t());
    let best = |point: usize| {
        let distance = |at: usize| squares[at] - 2.0 * products[[at, point]];
        (0..rows.len())
            .filter(|&at| data.train.labels[rows[at]] == points.classes[point])
            .min_by(|&one, &other| distance(one).total_cmp(&distance(other)))
            .map(|at| rows[at])
    };
    Ok((0..points.len()).map(best).collect())
}

fn train_row(data: &Dataset, row: usize) -> String {
    show(data, &data.train.inputs.row(row).to_vec())
}

/// A raw input.
fn show(data: &Dataset, values: &[f32]) -> String {
    look(data).draw(values, "").unwrap_or_default()
}

/// How strongly the filters answer in each cell of the image; a feature's
/// name begins with its cell's.
fn energy(names: &[String], features: &[f32]) -> String {
    let cell = |name: &String| name.split(':').next().unwrap_or_default().to_owned();
    let mut energies: Vec<f32> = Vec::new();
    let mut last = None;
    for (name, value) in names.iter().zip(features) {
        let cell = Some(cell(name));
        if cell != last {
            energies.push(0.0);
            last = cell;
        }
        if let Some(energy) = energies.last_mut() {
            *energy += value * value;
        }
    }
    let side = energies.len().isqrt();
    let drawn = Look::Image([side, side, 1]).draw(&energies, "");
    drawn.unwrap_or_default()
}

/// Training rows among which the nearest to a point is looked for.
const SEARCHED_MAX: usize = 8_000;
const RAW: &str = "Each picture is a distilled point as it was sent.";
const PATCHES: &str = "Left, what was sent: how strongly the filters answer in each cell of the \
    image. Right, for orientation, the training image of the same class that is nearest to it; it \
    never left its device.";
const NEAREST: &str = "A point lives among features and cannot be drawn. Shown is the training \
    input of the same class that is nearest to it; it never left its device.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_is_summed_by_cell() {
        let names: Vec<String> = ["0,0", "0,0", "0,1", "1,0", "1,1"]
            .map(|cell| format!("cell {cell}: filter"))
            .to_vec();
        assert!(energy(&names, &[1.0, 2.0, 0.0, 1.0, 3.0]).contains("data:image/png"));
        assert_eq!(energy(&names[..3], &[1.0, 2.0, 0.0]), "");
    }

    #[test]
    fn confusion_counts_every_row_of_a_known_class_once() {
        let counts = confusion(&[0, 0, 1, 1, 2], &[0, 1, 1, 1, 0], 2);
        assert_eq!(counts, [[1, 1], [0, 2]]);
    }
}
