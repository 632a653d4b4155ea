//! How rows are spread over devices.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use rand::Rng;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, Gamma};

use common::math::random::rng;

use super::dataset::Part;

/// A way to spread rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Partition {
    /// One device a person, as `user_train` says.
    Natural,
    /// At random, equally many each.
    Iid,
    /// Each class over devices by proportions from a Dirichlet distribution;
    /// small or empty devices are kept.
    Dirichlet(f64),
    /// Every device holds this many classes.
    Shards(usize),
    /// Groups of rows at random, as equally many rows each as whole groups
    /// allow, as `group_train` says.
    Group,
}

/// Why rows cannot be spread that way.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum PartitionError {
    /// The text names no partition.
    #[error("partition {0:?} is not one of natural, iid, group, dirichlet:ALPHA, shards:CLASSES")]
    Unknown(String),
    /// A number that spreads nothing.
    #[error("partition {0:?}: {1}")]
    Number(String, &'static str),
    /// The data set does not say whose rows they are.
    #[error("the data set has no user_train, which partition `natural` needs; try dirichlet:0.1")]
    NoUsers,
    /// The data set does not say which rows belong together.
    #[error("the data set has no group_train, which partition `group` needs; try iid")]
    NoGroups,
    /// No device to spread to.
    #[error("at least one device is needed")]
    NoDevices,
}

impl Partition {
    /// How rows are spread where nobody says: by person where the data says whose
    /// they are, by group where it says which belong together, else skewed.
    pub fn usual(part: &Part) -> Self {
        match (&part.users, &part.groups) {
            (Some(_), _) => Self::Natural,
            (None, Some(_)) => Self::Group,
            (None, None) => Self::Dirichlet(0.1),
        }
    }
}

impl FromStr for Partition {
    type Err = PartitionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || PartitionError::Unknown(text.to_owned());
        match text.split_once(':') {
            None if text == "natural" => Ok(Self::Natural),
            None if text == "iid" => Ok(Self::Iid),
            None if text == "group" => Ok(Self::Group),
            Some(("dirichlet", alpha)) => match alpha.parse() {
                Ok(alpha) if alpha > 0.0 && f64::is_finite(alpha) => Ok(Self::Dirichlet(alpha)),
                _ => Err(PartitionError::Number(
                    text.to_owned(),
                    "ALPHA is above 0, such as 0.1 (skewed) or 100 (nearly alike)",
                )),
            },
            Some(("shards", classes)) => match classes.parse() {
                Ok(classes) if classes > 0 => Ok(Self::Shards(classes)),
                _ => Err(PartitionError::Number(
                    text.to_owned(),
                    "CLASSES is how many each device has, 1 or more",
                )),
            },
            _ => Err(unknown()),
        }
    }
}

impl fmt::Display for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Natural => f.write_str("natural"),
            Self::Iid => f.write_str("iid"),
            Self::Group => f.write_str("group"),
            Self::Dirichlet(alpha) => write!(f, "dirichlet:{alpha}"),
            Self::Shards(classes) => write!(f, "shards:{classes}"),
        }
    }
}

/// The rows of each device. Every row goes to exactly one. Where rows are
/// labelled with numbers, the tenths of the rows in order of the first number
/// stand for classes.
///
/// # Errors
/// If the data does not allow it.
pub fn partition(
    part: &Part,
    classes: usize,
    how: Partition,
    agents: usize,
    seed: u64,
) -> Result<Vec<Vec<usize>>, PartitionError> {
    if agents == 0 && how != Partition::Natural {
        return Err(PartitionError::NoDevices);
    }
    let classes = match part.numbers {
        Some(_) => NUMBER_CLASSES,
        None => classes,
    };
    let mut random = rng(seed, "partition");
    match how {
        Partition::Natural => {
            let users = part.users.as_ref().ok_or(PartitionError::NoUsers)?;
            let mut devices: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
            for (row, &user) in users.iter().enumerate() {
                devices.entry(user).or_default().push(row);
            }
            Ok(devices.into_values().collect())
        }
        Partition::Iid => {
            let mut rows: Vec<usize> = (0..part.len()).collect();
            rows.shuffle(&mut random);
            let device = |index| rows.iter().copied().skip(index).step_by(agents).collect();
            Ok((0..agents).map(device).collect())
        }
        Partition::Group => {
            let groups = part.groups.as_ref().ok_or(PartitionError::NoGroups)?;
            Ok(whole_groups(groups, agents, &mut random))
        }
        Partition::Dirichlet(alpha) => {
            let proportions = |random: &mut _| dirichlet(alpha, agents, random);
            Ok(by_class(part, classes, agents, &mut random, proportions))
        }
        Partition::Shards(each) => Ok(shards(part, classes, each, agents, &mut random)),
    }
}

/// Each group to the device with the fewest rows so far, the largest first;
/// groups of one size in random order.
fn whole_groups(groups: &[u32], agents: usize, random: &mut impl Rng) -> Vec<Vec<usize>> {
    let mut rows: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
    for (row, &group) in groups.iter().enumerate() {
        rows.entry(group).or_default().push(row);
    }
    let mut groups: Vec<Vec<usize>> = rows.into_values().collect();
    groups.shuffle(random);
    groups.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let mut devices = vec![Vec::new(); agents];
    for group in groups {
        if let Some(device) = devices
            .iter_mut()
            .min_by_key(|rows: &&mut Vec<usize>| rows.len())
        {
            device.extend(group);
        }
    }
    devices
}

fn dirichlet(alpha: f64, agents: usize, random: &mut impl Rng) -> Vec<f64> {
    let Ok(gamma) = Gamma::new(alpha, 1.0) else {
        return vec![1.0 / agents as f64; agents];
    };
    let draws: Vec<f64> = (0..agents).map(|_| gamma.sample(random)).collect();
    let total: f64 = draws.iter().sum();
    if total > 0.0 {
        draws.iter().map(|draw| draw / total).collect()
    } else {
        // So small an alpha that every draw vanished: one device gets it all.
        let mut all = vec![0.0; agents];
        all[random.random_range(0..agents)] = 1.0;
        all
    }
}

fn by_class<R: Rng>(
    part: &Part,
    classes: usize,
    agents: usize,
    random: &mut R,
    proportions: impl Fn(&mut R) -> Vec<f64>,
) -> Vec<Vec<usize>> {
    let mut devices = vec![Vec::new(); agents];
    for mut rows in rows_by_class(part, classes) {
        rows.shuffle(random);
        let shares = proportions(random);
        let (mut start, mut cumulated) = (0, 0.0);
        for (device, share) in devices.iter_mut().zip(&shares) {
            cumulated += share;
            let end = ((cumulated * rows.len() as f64).round() as usize).clamp(start, rows.len());
            device.extend_from_slice(&rows[start..end]);
            start = end;
        }
        if let Some(last) = devices.last_mut() {
            last.extend_from_slice(&rows[start..]);
        }
    }
    devices
}

/// Every device gets `each` classes, every class to as equally many devices
/// as possible.
fn shards(
    part: &Part,
    classes: usize,
    each: usize,
    agents: usize,
    random: &mut impl Rng,
) -> Vec<Vec<usize>> {
    let each = each.min(classes);
    let mut holders: Vec<Vec<usize>> = vec![Vec::new(); classes];
    let mut order: Vec<usize> = (0..classes).collect();
    let mut next = classes;
    for device in 0..agents {
        let mut mine: Vec<usize> = Vec::new();
        while mine.len() < each {
            if next == classes {
                order.shuffle(random);
                next = 0;
            }
            // A class drawn twice for one device is swapped with a later one.
            let fresh = (next..classes).find(|&index| !mine.contains(&order[index]));
            match fresh {
                Some(index) => {
                    order.swap(next, index);
                    mine.push(order[next]);
                    next += 1;
                }
                None => next = classes,
            }
        }
        for class in mine {
            holders[class].push(device);
        }
    }
    let mut devices = vec![Vec::new(); agents];
    for (mut rows, holders) in rows_by_class(part, classes).into_iter().zip(holders) {
        rows.shuffle(random);
        if holders.is_empty() {
            let device = random.random_range(0..agents);
            devices[device].extend(rows);
            continue;
        }
        for (index, row) in rows.into_iter().enumerate() {
            devices[holders[index % holders.len()]].push(row);
        }
    }
    devices
}

fn rows_by_class(part: &Part, classes: usize) -> Vec<Vec<usize>> {
    if let Some(numbers) = &part.numbers {
        let mut order: Vec<usize> = (0..part.len()).collect();
        order.sort_by(|&one, &other| numbers[[one, 0]].total_cmp(&numbers[[other, 0]]));
        let tenth = order.len().div_ceil(classes.max(1)).max(1);
        return order.chunks(tenth).map(<[usize]>::to_vec).collect();
    }
    let mut rows = vec![Vec::new(); classes];
    for (row, &label) in part.labels.iter().enumerate() {
        rows[usize::from(label)].push(row);
    }
    rows
}

/// Parts of the rows in order of their number that stand for classes.
const NUMBER_CLASSES: usize = 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use ndarray::Array2;

    fn part() -> Part {
        Part {
            inputs: Array2::zeros((1_000, 1)),
            labels: (0..1_000).map(|row| (row % 10) as u16).collect(),
            numbers: None,
            users: None,
            groups: None,
        }
    }

    #[test]
    fn a_group_is_on_one_device_and_devices_are_alike_in_size() {
        let groups: Vec<u32> = (0..1_000).map(|row| row * row / 12_000).collect();
        let part = Part {
            groups: Some(groups.clone()),
            ..part()
        };
        let devices = partition(&part, 10, Partition::Group, 5, 3).unwrap();
        let of = |rows: &Vec<usize>| -> std::collections::BTreeSet<u32> {
            rows.iter().map(|&row| groups[row]).collect()
        };
        let all: usize = devices.iter().map(|rows| of(rows).len()).sum();
        let distinct: std::collections::BTreeSet<&u32> = groups.iter().collect();
        assert_eq!(all, distinct.len(), "no group is on two devices");
        assert!(devices.iter().all(|rows| (150..=250).contains(&rows.len())));
        let none = Part {
            groups: None,
            ..part
        };
        assert_eq!(
            partition(&none, 10, Partition::Group, 5, 3),
            Err(PartitionError::NoGroups)
        );
    }

    #[test]
    fn numbers_in_order_stand_for_classes() {
        let part = Part {
            labels: vec![0; 1_000],
            numbers: Some(Array2::from_shape_fn((1_000, 1), |(row, _)| row as f32)),
            ..part()
        };
        let devices = partition(&part, 1, Partition::Shards(1), 10, 1).unwrap();
        for rows in devices {
            assert_eq!(rows.len(), 100);
            assert_eq!(
                rows.iter().min().unwrap() / 100,
                rows.iter().max().unwrap() / 100
            );
        }
    }

    #[test]
    fn every_row_goes_to_exactly_one_device() {
        for how in [
            "iid",
            "dirichlet:0.1",
            "dirichlet:0.001",
            "shards:2",
            "shards:3",
        ] {
            let devices = partition(&part(), 10, how.parse().unwrap(), 7, 3).unwrap();
            assert_eq!(devices.len(), 7, "{how}");
            let mut rows: Vec<usize> = devices.concat();
            rows.sort_unstable();
            assert_eq!(rows, (0..1_000).collect::<Vec<_>>(), "{how}");
        }
    }

    #[test]
    fn shards_give_every_device_its_number_of_classes() {
        let devices = partition(&part(), 10, Partition::Shards(2), 10, 5).unwrap();
        for rows in devices {
            let mut classes: Vec<usize> = rows.iter().map(|row| row % 10).collect();
            classes.sort_unstable();
            classes.dedup();
            assert_eq!(classes.len(), 2);
        }
    }

    #[test]
    fn natural_needs_users_and_nonsense_is_refused() {
        assert_eq!(
            partition(&part(), 10, Partition::Natural, 3, 0),
            Err(PartitionError::NoUsers)
        );
        for text in ["dirichlet:-1", "shards:0", "shard:2", "dirichlet:x"] {
            assert!(text.parse::<Partition>().is_err(), "{text}");
        }
    }
}
