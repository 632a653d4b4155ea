//! Location and scale of what devices have, where some of them may lie.

/// The lower of the two in the middle where there is an even number; 0 of
/// none.
pub(super) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        count => values[(count - 1) / 2],
    }
}

/// The median of what other devices have, and how far they lie from it: 1.4826
/// of the median absolute deviation, which few devices may tell much too small.
pub(super) fn usual_and_deviation(values: &[f64]) -> (f64, f64) {
    let usual = median(values.to_vec());
    let apart = values.iter().map(|value| (value - usual).abs()).collect();
    let few = 1.0 + FEW / values.len() as f64;
    (usual, (few * CONSISTENT * median(apart)).max(DEVIATION_MIN))
}

/// The median absolute deviation times this is the standard deviation of normal
/// values (Rousseeuw & Croux 1993).
pub(super) const CONSISTENT: f64 = 1.4826;
/// With this many other devices, their deviation counts twice.
const FEW: f64 = 4.0;
/// Devices differ by so much by chance.
const DEVIATION_MIN: f64 = 0.05;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_the_values_may_be_anything() {
        assert_eq!(median(vec![3.0, 1.0, 2.0, 9.0]), 2.0);
        assert_eq!(median(Vec::new()), 0.0);
        let honest = [0.1, 0.2, 0.3, 0.2, 0.1];
        let mut values = honest.to_vec();
        values.extend([1e9, f64::INFINITY, 7.0, 5.0]);
        let (usual, deviation) = usual_and_deviation(&values);
        assert!(usual <= 0.3 && deviation < 1.0, "{usual} {deviation}");
        assert_eq!(usual_and_deviation(&[0.5; 4]).1, DEVIATION_MIN);
    }
}
