//! Samples before they are cut into windows.

/// Samples of a file, in its order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in super::super) struct Samples {
    /// Samples × channels.
    pub(in super::super) values: Vec<f32>,
    pub(in super::super) labels: Vec<Option<u16>>,
    /// When each was measured, in nanoseconds; where the file does not say,
    /// its number within its group.
    pub(super) times: Vec<i64>,
    /// Rows a second of a file without times, if it is known.
    pub(super) rate_hz: Option<f64>,
    pub(super) timed: bool,
    pub(super) groups: Vec<u32>,
    pub(super) lines: Vec<u64>,
}

impl Samples {
    /// One more sample: its time, or else its number among the rows of its
    /// group, those included that are left out.
    pub(in super::super) fn push(
        &mut self,
        time: Option<i64>,
        number: i64,
        rate_hz: Option<f64>,
        group: u32,
        line: u64,
    ) {
        self.timed |= time.is_some();
        self.rate_hz = rate_hz;
        self.times.push(time.unwrap_or(number));
        self.groups.push(group);
        self.lines.push(line);
    }

    /// Those from a place on.
    pub(super) fn from(&self, first: usize) -> Self {
        let channels = self.values.len() / self.len().max(1);
        Self {
            values: self.values[first * channels..].to_vec(),
            labels: self.labels[first..].to_vec(),
            times: self.times[first..].to_vec(),
            rate_hz: self.rate_hz,
            timed: self.timed,
            groups: self.groups[first..].to_vec(),
            lines: self.lines[first..].to_vec(),
        }
    }

    /// How many.
    pub(in super::super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Forgets all samples.
    pub(in super::super) fn clear(&mut self) {
        self.values.clear();
        self.labels.clear();
        self.times.clear();
        self.groups.clear();
        self.lines.clear();
    }

    /// How times of a group follow one another.
    pub(super) fn order(&self, group: &[usize]) -> Order {
        let (mut rising, mut falling) = (0, 0);
        for pair in group.windows(2) {
            let (one, next) = (self.times[pair[0]], self.times[pair[1]]);
            rising += usize::from(next > one);
            falling += usize::from(next < one);
        }
        match falling > rising {
            true if rising == 0 => Order::NewestFirst,
            true => Order::MostlyFalling,
            false => Order::Rising,
        }
    }
}

/// How times of a group follow one another.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// As they were measured, or nearly so.
    Rising,
    /// Each before the one above it.
    NewestFirst,
    /// Most of them before the one above.
    MostlyFalling,
}
