//! Clocks that are coarser than the samples: many samples of one time.

/// How a clock counts that gives several samples one time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Clock {
    /// Samples that have the same time, usually: two or more.
    pub(super) samples: usize,
    /// From one time to the next, usually.
    pub(super) step_ns: i64,
}

/// The clock that groups of samples, in the order of their times, were timed with, if
/// it is coarse.
pub(super) fn clock(times: &[i64], groups: &[Vec<usize>]) -> Option<Clock> {
    let (mut lengths, mut steps) = (Vec::new(), Vec::new());
    for group in groups {
        let runs = runs(times, group);
        lengths.extend(runs.iter().map(|run| run.len()));
        let next = runs.windows(2).map(|pair| (pair[0][0], pair[1][0]));
        steps.extend(next.map(|(one, next)| times[next].saturating_sub(times[one])));
    }
    steps.retain(|&step| step > 0);
    let clock = Clock {
        samples: median(&mut lengths)?,
        step_ns: median(&mut steps)?,
    };
    (clock.samples >= 2).then_some(clock)
}

/// The times of samples of a coarse clock, those of one time spread evenly from it to
/// the next. Where a recording begins or ends within a step, samples keep the distance
/// that `rate_hz` samples a second have, before the next time and after the last. Other
/// times stay what they are.
pub(super) fn spread(times: &[i64], groups: &[Vec<usize>], rate_hz: f64) -> Vec<i64> {
    let mut spread = times.to_vec();
    let Some(clock) = clock(times, groups) else {
        return spread;
    };
    let step = clock.step_ns as f64;
    for group in groups {
        let runs = runs(times, group);
        let follows = |one: &[usize], next: &[usize]| {
            let apart = times[next[0]].saturating_sub(times[one[0]]);
            apart > 0 && (apart as f64) < 1.5 * step
        };
        for (at, run) in runs.iter().enumerate() {
            let even = step / run.len() as f64;
            let own = (1e9 / rate_hz).min(even);
            let begins = at == 0 || !follows(runs[at - 1], run);
            let ends = runs.get(at + 1).is_none_or(|next| !follows(run, next));
            for (number, &sample) in run.iter().enumerate() {
                let after = match (begins, ends) {
                    (false, false) => number as f64 * even,
                    (_, true) => number as f64 * own,
                    (true, false) => step - (run.len() - number) as f64 * own,
                };
                spread[sample] = times[sample].saturating_add(after.round() as i64);
            }
        }
    }
    spread
}

/// The samples of a group by their times: those that follow one another at the same one.
fn runs<'a>(times: &[i64], group: &'a [usize]) -> Vec<&'a [usize]> {
    let same = |one: &usize, next: &usize| times[*one] == times[*next];
    group.chunk_by(same).collect()
}

fn median<T: Ord + Copy>(values: &mut [T]) -> Option<T> {
    let middle = values.len() / 2;
    (!values.is_empty()).then(|| *values.select_nth_unstable(middle).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_second_are_spread_over_it() {
        const SECOND: i64 = 1_000_000_000;
        // Two samples, then five a second, then one.
        let mut times = vec![SECOND; 2];
        times.extend([2 * SECOND; 5].iter().chain(&[3 * SECOND; 5]));
        times.push(4 * SECOND);
        let groups = [(0..times.len()).collect()];
        let found = clock(&times, &groups);
        let expected = Clock {
            samples: 5,
            step_ns: SECOND,
        };
        assert_eq!(found, Some(expected));
        let spread = spread(&times, &groups, 5.0);
        let evenly: Vec<i64> = (0..13).map(|at| SECOND * (8 + at) / 5).collect();
        assert_eq!(spread, evenly);
        assert_eq!(clock(&evenly, &groups), None);
    }
}
