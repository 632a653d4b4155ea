//! A projection for all devices, from the sketches in their profiles.

use ndarray::{Array1, Array2, ArrayView1, Axis};
use rand_distr::{Distribution as _, StandardNormal};

use common::features::{FeatureError, Normaliser, NormaliserError, Projection};
use common::math::random::rng;
use common::math::subspace::{Subspace, class_means};
use common::profile::RawFeatureMoments;
use common::sketch::Sketch;
use common::task::{LearntProjection, Task};

/// What a device says of its rows, and what that counts for.
pub(super) struct DeviceSketch<'a> {
    pub(super) moments: &'a RawFeatureMoments,
    pub(super) sketch: &'a Sketch,
    /// Rows it counts for.
    pub(super) rows: f64,
    /// The same of each class.
    pub(super) class_rows: Vec<f64>,
    /// Which of its features count.
    pub(super) counts: Vec<bool>,
}

/// The projection behind a normaliser: discriminants and principal components of all
/// devices' rows together, as [`Subspace::filled_directions`] says, and directions that
/// are drawn where devices told of too few.
///
/// Every device tells mean m_d and covariance C_d of its own rows; with the fleet's mean
/// m all rows have Σ w_d(C_d + (m_d − m)(m_d − m)ᵀ), w_d being its share. A column is taken
/// that devices with half of the rows tell, as the mean over those: one of few
/// devices is of other rows than the rest. Cost: features · columns for each device.
///
/// # Errors
/// If directions cannot be computed.
pub(super) fn learn_projection(
    task: &Task,
    projection: &LearntProjection,
    normaliser: &Normaliser,
    devices: &[DeviceSketch<'_>],
) -> Result<Projection, FeatureError> {
    let scales = Scales::of(normaliser);
    let drawn = projection.drawn();
    let all: f64 = devices.iter().map(|device| device.rows).sum();
    let mut sums = Array2::<f64>::zeros(drawn.dim());
    let mut told = Array1::<f64>::zeros(drawn.ncols());
    let mut classes = Vec::new();
    for device in devices {
        let own = Own::of(device, &scales);
        for (at, products) in device.sketch.products().rows().into_iter().enumerate() {
            let mut sum = sums.column_mut(at);
            sum.scaled_add(device.rows, &(&products.mapv(f64::from) * &own.deviation));
            let along = own.apart.dot(&(&drawn.column(at) * &scales.deviation));
            sum.scaled_add(device.rows * along, &own.apart);
            told[at] += device.rows;
        }
        let means = device.sketch.class_means();
        for (class, mean) in device.sketch.classes().zip(means.rows()) {
            let (class, mean) = (usize::from(class), mean.mapv(f64::from));
            let mean = mean * &own.deviation + &own.apart;
            classes.push((class, device.class_rows[class], mean));
        }
    }
    let known: Vec<usize> = (0..told.len())
        .filter(|&at| all > 0.0 && told[at] >= all / 2.0)
        .collect();
    let products = sums.select(Axis(1), &known) / told.select(Axis(0), &known);
    let sketch = drawn.select(Axis(1), &known) * scales.deviation.view().insert_axis(Axis(1));

    // Everything is standardised from here on.
    let (nothing, one) = (Array1::zeros(sketch.nrows()), Array1::ones(sketch.nrows()));
    let classes = classes
        .iter()
        .map(|(class, rows, mean)| (*class, *rows, mean.view()));
    let classes = classes.filter(|(_, rows, _)| *rows > 0.0);
    let means = class_means(classes, task.classes(), nothing.view(), one.view());
    let mut random = rng(task.definition().distillation.seed, "directions that fill");
    let shape = (projection.features, projection.directions);
    let fill =
        Array2::from_shape_simple_fn(shape, || -> f64 { StandardNormal.sample(&mut random) });
    let directions = Subspace::of_sketch(means, &sketch, &products)?;
    let (directions, _) =
        directions.filled_directions(task.classes(), fill.view(), scales.varies.view())?;
    let projection = Projection::of(directions.view());
    Ok(projection.map_err(NormaliserError::from)?)
}

/// The fleet's, of each feature.
struct Scales {
    mean: Array1<f64>,
    /// 0 of one that does not vary.
    deviation: Array1<f64>,
    /// 1, or 0 of one that does not vary.
    varies: Array1<f64>,
}

impl Scales {
    fn of(normaliser: &Normaliser) -> Self {
        let parts = normaliser.parts();
        let wide = |values: &[f32]| ArrayView1::from(values).mapv(f64::from);
        let deviation = wide(parts.scale);
        Self {
            mean: wide(parts.mean),
            varies: deviation.mapv(|one| if one > 0.0 { 1.0 } else { 0.0 }),
            deviation,
        }
    }

    /// Differences in the fleet's deviations; 0 of a feature that does not vary.
    fn standard(&self, apart: Array1<f64>) -> Array1<f64> {
        let inverse = { self.deviation.iter() }.map(|&one| if one > 0.0 { 1.0 / one } else { 0.0 });
        apart * &Array1::from_iter(inverse)
    }
}

/// A device's mean from the fleet's, and its deviations, in the fleet's; both 0 of
/// features in which it does not count.
struct Own {
    apart: Array1<f64>,
    deviation: Array1<f64>,
}

impl Own {
    fn of(device: &DeviceSketch<'_>, scales: &Scales) -> Self {
        let wide = |values: &[f32]| ArrayView1::from(values).mapv(f64::from);
        let counts = device
            .counts
            .iter()
            .map(|&counts| f64::from(u8::from(counts)));
        let counts = Array1::from_iter(counts);
        let variance = wide(&device.moments.variance);
        let apart = wide(&device.moments.mean) - &scales.mean;
        Self {
            apart: scales.standard(apart) * &counts,
            deviation: scales.standard(variance.mapv(f64::sqrt)) * &counts,
        }
    }
}

#[cfg(test)]
mod tests;
