//! How well scores tell rows that were described from others.

/// Area under the ROC curve: how often a described row scores higher than
/// another, ties by half. None if there are none of either.
pub(super) fn area(members: &[f64], others: &[f64]) -> Option<f64> {
    if members.is_empty() || others.is_empty() {
        return None;
    }
    let mut all: Vec<(f64, bool)> = { members.iter().map(|&score| (score, true)) }
        .chain(others.iter().map(|&score| (score, false)))
        .collect();
    all.sort_by(|one, other| one.0.total_cmp(&other.0));
    let (mut area, mut below, mut start) = (0.0, 0usize, 0);
    while start < all.len() {
        let level = all[start].0;
        let ties = all[start..].iter().take_while(|one| one.0 == level).count();
        let tied = &all[start..start + ties];
        let positive = tied.iter().filter(|one| one.1).count();
        let negative = ties - positive;
        area += positive as f64 * (below as f64 + 0.5 * negative as f64);
        below += negative;
        start += ties;
    }
    Some(area / (members.len() as f64 * others.len() as f64))
}

/// Share of the members that score above all but this share of the others.
pub(super) fn true_positives(members: &[f64], others: &[f64], false_positives: f64) -> f64 {
    let mut sorted = others.to_vec();
    sorted.sort_by(|one, other| other.total_cmp(one));
    let allowed = (false_positives * sorted.len() as f64).floor() as usize;
    let Some(&threshold) = sorted.get(allowed) else {
        return 1.0;
    };
    let found = members.iter().filter(|&&score| score > threshold).count();
    found as f64 / members.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_those_of_counted_pairs() {
        assert_eq!(area(&[3.0, 2.0], &[1.0, 0.0]), Some(1.0));
        assert_eq!(area(&[0.0], &[1.0]), Some(0.0));
        assert_eq!(area(&[1.0, 1.0], &[1.0]), Some(0.5));
        assert_eq!(area(&[2.0, 0.0], &[1.0]), Some(0.5));
        assert_eq!(area(&[], &[1.0]), None);
    }

    #[test]
    fn few_others_allow_no_false_positive() {
        let others: Vec<f64> = (0..50).map(f64::from).collect();
        assert_eq!(true_positives(&[49.0, 50.0], &others, 0.01), 0.5);
        let more: Vec<f64> = (0..200).map(f64::from).collect();
        assert_eq!(true_positives(&[197.5, 199.0], &more, 0.01), 1.0);
        assert_eq!(true_positives(&[197.0, 199.0], &more, 0.01), 0.5);
    }
}
