//! Below how many rows a simulated device keeps back what it has.

use edge_agent::data::{Resolution, originals};
use edge_agent::work::Privacy;
use ndarray::{ArrayView2, Axis};

/// What an agent without a policy of its own keeps to.
const DEFAULT: Privacy = Privacy {
    rows_min: 20,
    cluster_size_min: 5,
    rows_per_direction: 15,
};
/// Kept to where the default would keep back more than a tenth of the rows.
const SMALL: u64 = 5;
const SMALL_CLUSTER: u32 = 3;
/// Fewest of all rows that the default must let take part.
const SHARE_MIN: f64 = 0.9;
/// Of a device's rows, about those it learns from; it judges by the rest.
const LEARNT: f64 = 0.75;

/// What was asked for; the rest is chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// Nothing leaves that describes fewer rows.
    pub rows_min: Option<u64>,
    /// Fewest rows behind a distilled sample.
    pub cluster_size_min: Option<u32>,
    /// Rows for each direction that a device tells of them.
    pub rows_per_direction: Option<u32>,
}

/// The policy of every device of a fleet, and why. `parts` holds the rows of
/// each device, `labels` the class of each row of `inputs` (rows, values). A device says nothing of a
/// class of which it has fewer than `rows_min` rows; where small devices would
/// so keep back much of what there is, the fleet's owners would have to allow
/// less.
pub fn choose(
    (inputs, labels): (ArrayView2<'_, f32>, &[u16]),
    parts: &[Vec<usize>],
    asked: Asked,
) -> (Privacy, String) {
    let (mut privacy, reason) = chosen((inputs, labels), parts, asked.rows_min);
    if let Some(rows) = asked.rows_per_direction {
        privacy.rows_per_direction = rows;
    }
    if let Some(rows) = asked.cluster_size_min {
        privacy.cluster_size_min = rows;
    }
    (privacy, reason)
}

/// Directions that moments may tell of a device of `rows` rows, some of which it
/// holds out.
pub fn directions(rows: usize, asked: Asked) -> usize {
    let mut privacy = DEFAULT;
    if let Some(rows) = asked.rows_per_direction {
        privacy.rows_per_direction = rows;
    }
    privacy.directions((rows - rows / HELD_OUT) as u64)
}

/// One row in so many is held out.
const HELD_OUT: usize = 10;

fn chosen(
    (inputs, labels): (ArrayView2<'_, f32>, &[u16]),
    parts: &[Vec<usize>],
    asked: Option<u64>,
) -> (Privacy, String) {
    if let Some(rows_min) = asked {
        let policy = Privacy {
            rows_min,
            cluster_size_min: DEFAULT
                .cluster_size_min
                .min(u32::try_from(rows_min).unwrap_or(u32::MAX)),
            ..DEFAULT
        };
        return (policy, "asked for".to_owned());
    }
    let mut share = share_that_takes_part(labels, parts, DEFAULT.rows_min);
    if share >= SHARE_MIN {
        // Copies count once.
        let distinct: Vec<Vec<usize>> = parts
            .iter()
            .map(|part| without_copies(inputs, labels, part))
            .collect();
        share = share_that_takes_part(labels, &distinct, DEFAULT.rows_min);
    }
    if share >= SHARE_MIN {
        return (DEFAULT, "the default of an agent's policy".to_owned());
    }
    let policy = Privacy {
        rows_min: SMALL,
        cluster_size_min: SMALL_CLUSTER,
        ..DEFAULT
    };
    let reason = format!(
        "of classes with fewer than {} rows, copies counted once, a device says nothing by default, which would keep \
         back {:.0} % of all rows: real agents need `rows_min = {SMALL}` and `cluster_size_min = \
         {SMALL_CLUSTER}` in their policy",
        DEFAULT.rows_min,
        100.0 * (1.0 - share)
    );
    (policy, reason)
}

/// The rows of a device that are no copies of others, as an agent finds them.
fn without_copies(inputs: ArrayView2<'_, f32>, labels: &[u16], part: &[usize]) -> Vec<usize> {
    let rows = inputs.select(Axis(0), part);
    let labels: Vec<Option<u16>> = part.iter().map(|&row| Some(labels[row])).collect();
    let kept = originals(rows.view(), &labels, &Resolution::of(rows.view()));
    kept.into_iter().map(|at| part[at]).collect()
}

fn share_that_takes_part(labels: &[u16], parts: &[Vec<usize>], rows_min: u64) -> f64 {
    let classes = labels.iter().max().map_or(0, |&most| usize::from(most) + 1);
    let (mut all, mut part) = (0usize, 0usize);
    for rows in parts {
        let mut counts = vec![0usize; classes];
        for &row in rows {
            counts[usize::from(labels[row])] += 1;
        }
        all += rows.len();
        let speaks = |count: &&usize| **count as f64 * LEARNT >= rows_min as f64;
        part += counts.iter().filter(speaks).sum::<usize>();
    }
    part as f64 / all.max(1) as f64
}

#[cfg(test)]
mod tests {
    use common::math::random::rng;
    use ndarray::Array2;
    use rand::Rng;

    use super::*;

    fn fleet(rows_of_a_class: usize) -> (Vec<u16>, Vec<Vec<usize>>) {
        let rows = 4 * 3 * rows_of_a_class;
        let labels = (0..rows).map(|row| (row % 3) as u16).collect();
        let each = 3 * rows_of_a_class;
        let parts = (0..4).map(|device| (device * each..(device + 1) * each).collect());
        (labels, parts.collect())
    }

    /// Rows of which none is a copy of another.
    fn apart(rows: usize) -> Array2<f32> {
        let mut random = rng(1, "rows");
        Array2::from_shape_simple_fn((rows, 6), || random.random_range(-1.0..1.0))
    }

    #[test]
    fn copies_do_not_make_a_device_large() {
        let (labels, parts) = fleet(40);
        // Readings of one sensor, of which each class has five.
        let rows = Array2::from_shape_fn((labels.len(), 1), |(row, _)| (row / 3 % 5) as f32);
        let (policy, reason) = choose((rows.view(), &labels), &parts, Asked::default());
        assert_eq!(policy.rows_min, 5, "{reason}");
        assert!(reason.contains("copies"), "{reason}");
    }

    #[test]
    fn devices_with_enough_rows_keep_to_the_default() {
        let (labels, parts) = fleet(30);
        let rows = apart(labels.len());
        let (policy, reason) = choose((rows.view(), &labels), &parts, Asked::default());
        assert_eq!((policy.rows_min, policy.cluster_size_min), (20, 5));
        assert!(reason.contains("default"), "{reason}");
    }

    #[test]
    fn small_devices_lower_the_limit_of_rows() {
        let (labels, parts) = fleet(14);
        let rows = apart(labels.len());
        let (policy, reason) = choose((rows.view(), &labels), &parts, Asked::default());
        assert_eq!(policy.rows_min, 5);
        assert!(reason.contains("100 %"), "{reason}");
        assert!(reason.contains("rows_min = 5"), "{reason}");
    }

    #[test]
    fn what_is_asked_for_is_kept_to() {
        let (labels, parts) = fleet(14);
        let asked = Asked {
            rows_min: Some(3),
            rows_per_direction: Some(7),
            cluster_size_min: None,
        };
        let rows = apart(labels.len());
        let (policy, _) = choose((rows.view(), &labels), &parts, asked);
        assert_eq!((policy.rows_min, policy.cluster_size_min), (3, 3));
        assert_eq!(policy.rows_per_direction, 7);
    }
}
