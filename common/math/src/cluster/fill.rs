//! Filling up clusters of too few rows, so that they need not be dissolved.

use ndarray::Array2;

use super::data::{Data, squared_distance};
use super::kmeans::Fitted;

/// Goes on with Lloyd's iteration, but gives each cluster at least `size_min`
/// rows: those of other clusters that can spare them and that come least
/// farther from their centre by moving. There must be as many rows as that
/// takes; rows count the same whatever they weigh.
///
/// The best such assignment is a flow problem (Bradley, Bennett & Demiriz
/// 2000); this greedy one costs less than an iteration for all clusters that
/// are filled together, and no memory beyond a few numbers a row.
pub(super) fn fill(data: &Data<'_>, mut fitted: Fitted, size_min: usize) -> Fitted {
    for _ in 0..ITERATIONS {
        let mut assignment = fitted.assignment.clone();
        data.assign(&fitted.centres, &mut assignment);
        share_out(data, &fitted.centres, &mut assignment, size_min);
        crate::liveness::heartbeat();
        let moved = assignment != fitted.assignment;
        let (centres, members) = data.means(&assignment, fitted.centres.nrows());
        fitted = Fitted {
            centres,
            members,
            assignment,
        };
        if !moved {
            break;
        }
    }
    fitted
}

/// Moves rows until no cluster has fewer than `size_min`, the fullest of the
/// small ones first.
fn share_out(data: &Data<'_>, centres: &Array2<f32>, assignment: &mut [u32], size_min: usize) {
    let distance = |row: usize, cluster: usize| {
        let centre = centres.row(cluster);
        let centre = centre.as_slice().expect("centres are in standard layout");
        squared_distance(data.row(row), centre)
    };
    let mut sizes = vec![0; centres.nrows()];
    for &cluster in assignment.iter() {
        sizes[cluster as usize] += 1;
    }
    let mut small: Vec<usize> = (0..sizes.len())
        .filter(|&cluster| sizes[cluster] < size_min)
        .collect();
    small.sort_by_key(|&cluster| std::cmp::Reverse(sizes[cluster]));
    for cluster in small {
        let mut farther: Vec<(f32, usize)> = (0..data.len())
            .filter(|&row| sizes[assignment[row] as usize] > size_min)
            .map(|row| {
                let now = distance(row, assignment[row] as usize);
                (distance(row, cluster) - now, row)
            })
            .collect();
        farther.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)));
        for (_, row) in farther {
            if sizes[cluster] >= size_min {
                break;
            }
            let from = assignment[row] as usize;
            if sizes[from] > size_min {
                sizes[from] -= 1;
                sizes[cluster] += 1;
                assignment[row] = cluster as u32;
            }
        }
    }
}

/// Iterations at most; the assignment hardly changes after the first few.
const ITERATIONS: usize = 6;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use ndarray::array;

    use super::*;

    #[test]
    fn a_small_cluster_takes_the_nearest_spare_rows() {
        let rows = array![[0.0_f32], [1.0], [2.0], [3.0], [9.0], [20.0], [21.0]];
        let data = Data::new(rows.view(), None).unwrap();
        let centres = array![[1.5_f32], [9.0], [20.5]];
        let mut assignment = [0, 0, 0, 0, 1, 2, 2];
        share_out(&data, &centres, &mut assignment, 2);
        assert_eq!(assignment, [0, 0, 0, 1, 1, 2, 2]);
    }

    #[test]
    fn filled_clusters_are_the_means_of_their_rows() {
        let rows = array![[0.0_f32], [1.0], [2.0], [3.0], [9.0], [20.0], [21.0]];
        let data = Data::new(rows.view(), None).unwrap();
        let start = Fitted {
            centres: array![[1.5_f32], [9.0], [20.5]],
            members: Vec::new(),
            assignment: vec![0, 0, 0, 0, 1, 2, 2],
        };
        let filled = fill(&data, start, 2);
        assert_eq!(filled.centres, array![[1.0_f32], [6.0], [20.5]]);
        let sizes: Vec<u32> = filled.members.iter().map(|members| members.rows).collect();
        assert_eq!(sizes, [3, 2, 2]);
    }
}
