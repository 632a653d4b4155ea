//! The teacher's evidence: what devices sent, judged by what the others sent,
//! each weighed by the rows it counts for.

use std::collections::{BTreeMap, BTreeSet};

use common::ids::{BlobHash, DeviceId};
use common::labels::Labels;
use common::moments::Moments;
use common::round::Kind;
use common::teacher::RawTeacher;
use common::transfer::TransferSet;

use super::{ComputeError, Setting};
use crate::aggregate::{
    Basis, Directions, Evidence, Judge, Leverage, MomentSum, ROWS_OVER_MEDIAN_MAX, RowsCap,
    SolveError, Verdict, solve_teacher, weighed,
};
use crate::round::{Exclusion, ExclusionReason};
use crate::validation;

/// A device's moments or labels, by name.
pub(super) type Sent = (DeviceId, Kind, BlobHash);

/// How a device answers on the transfer set.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Answer {
    Labels,
    Moments,
}

impl Answer {
    /// The kinds that this teacher is solved from, and no others.
    const OF: [(Kind, Self); 2] = [(Kind::Labels, Self::Labels), (Kind::Moments, Self::Moments)];

    fn of(kind: Kind) -> Option<Self> {
        let of = Self::OF.iter().find(|(one, _)| *one == kind);
        of.map(|(_, answer)| *answer)
    }
}

/// A transfer set and all that stands on it.
pub(super) struct Solve<'a> {
    setting: &'a Setting<'a>,
    set: &'a TransferSet,
    basis: Basis,
    /// Moments of the devices that sent them, labels of the others.
    sent: Vec<Sent>,
    /// What each of these is.
    answers: Vec<Answer>,
}

impl<'a> Solve<'a> {
    pub(super) fn new(
        setting: &'a Setting<'a>,
        set: &'a TransferSet,
        inputs: &[Sent],
    ) -> Result<Self, ComputeError> {
        let moments = inputs.iter().filter(|(_, kind, _)| *kind == Kind::Moments);
        let exact: BTreeSet<DeviceId> = moments.map(|(device, ..)| *device).collect();
        let counting = |one: &Sent| {
            let answer = Answer::of(one.1)?;
            // Whose moments there are has said all that its labels say.
            let counts = answer == Answer::Moments || !exact.contains(&one.0);
            counts.then_some((*one, answer))
        };
        let (sent, answers) = inputs.iter().filter_map(counting).unzip();
        Ok(Self {
            setting,
            set,
            basis: Basis::of(setting.task, set).map_err(SolveError::from)?,
            sent,
            answers,
        })
    }

    /// The teacher of all devices that do not contradict the others, and those
    /// that do.
    pub(super) fn run(self) -> Result<(RawTeacher, Vec<Exclusion>), ComputeError> {
        let (rows, judge) = self.look()?;
        let (excluded, class_rows) = match judge {
            Some(judge) => self.judged(&judge, rows.cap(1.0))?,
            None => Default::default(),
        };
        let out: BTreeMap<DeviceId, ()> = excluded.iter().map(|one| (one.device, ())).collect();
        let cap = rows.cap(ROWS_OVER_MEDIAN_MAX);
        let kept = self.sent.iter().filter(|one| !out.contains_key(&one.0));
        let kept: Vec<&Sent> = kept.collect();
        let exact: Vec<&Sent> = kept
            .iter()
            .filter(|one| one.1 == Kind::Moments)
            .copied()
            .collect();
        let moments = self.held_sum(&exact, cap, &class_rows)?;
        let labels = kept.iter().filter(|one| one.1 == Kind::Labels);
        let labels = labels.map(|one| self.labels(one));
        let labels = labels.collect::<Result<Vec<_>, ComputeError>>()?;
        let evidence = Evidence {
            set: self.set,
            basis: &self.basis,
            moments: &moments,
            labels: &labels,
        };
        Ok((solve_teacher(self.setting.task, &evidence)?, excluded))
    }

    /// The sum of these moments, of which no device says more than its share in
    /// any direction. What is cut of one makes the others' shares larger, so it
    /// is cut twice.
    fn held_sum(
        &self,
        sent: &[&Sent],
        cap: RowsCap,
        class_rows: &ClassRows,
    ) -> Result<MomentSum, ComputeError> {
        let shares = class_shares(sent, class_rows);
        let mut cuts: Vec<Leverage> = Vec::new();
        loop {
            let mut sum = MomentSum::new(self.set.support(), self.setting.task.outputs());
            for (one, shares) in sent.iter().zip(&shares) {
                let mut moments = self.moments(one, cap)?;
                for cut in &cuts {
                    moments = cut
                        .held(&self.basis, moments, shares)
                        .map_err(SolveError::from)?;
                }
                sum.add(&moments)?;
            }
            // Whose a direction is, and so how much of it one device may say, is
            // told by classes.
            if cuts.len() == CUTS || !self.setting.task.target().is_class() {
                return Ok(sum);
            }
            let whitened = self
                .basis
                .whitened(&sum.system())
                .map_err(SolveError::from)?;
            let leverage = Leverage::of_system(&whitened, sent.len()).map_err(SolveError::from)?;
            match leverage {
                Some(leverage) => cuts.push(leverage),
                None => return Ok(sum),
            }
        }
    }

    /// A first reading, for what can only be known of all devices together: how
    /// many rows count of one, and in which directions they are judged. What a
    /// large fleet sent need not be in memory at once.
    fn look(&self) -> Result<(Rows, Option<Judge>), ComputeError> {
        let mut directions = Directions::new(self.set.support());
        let mut rows = Vec::with_capacity(self.sent.len());
        let mut labels = 0;
        for (one, answer) in self.sent.iter().zip(&self.answers) {
            match answer {
                Answer::Moments => {
                    let moments = self.moments(one, RowsCap::none())?;
                    rows.push(moments.rows);
                    directions.add(&moments);
                }
                Answer::Labels => {
                    rows.push(self.labels(one)?.rows);
                    labels += 1;
                }
            }
        }
        if self.sent.len() < DEVICES_MIN {
            return Ok((Rows(rows), None));
        }
        let judge = Judge::new(self.setting.task, &self.basis, self.set, directions, labels);
        Ok((Rows(rows), Some(judge.map_err(SolveError::from)?)))
    }

    fn judged(
        &self,
        judge: &Judge,
        cap: RowsCap,
    ) -> Result<(Vec<Exclusion>, ClassRows), ComputeError> {
        let sent = self.sent.iter().zip(&self.answers);
        let devices = sent.map(|(one, answer)| match answer {
            Answer::Moments => Ok(judge.moments(&self.moments(one, cap)?)),
            Answer::Labels => {
                let labels = self.labels(one)?;
                Ok(judge.labels(&labels, cap.rows(labels.rows) as f64))
            }
        });
        let devices = devices.collect::<Result<Vec<_>, ComputeError>>()?;
        let verdict = judge.verdict(&devices, None).map_err(SolveError::from)?;
        let names = self.sent.iter().map(|one| one.0);
        let class_rows = devices.into_iter().map(|one| one.class_rows);
        Ok((
            exclusions(&verdict, &self.sent),
            names.zip(class_rows).collect(),
        ))
    }

    fn moments(&self, one: &Sent, cap: RowsCap) -> Result<Moments, ComputeError> {
        let (device, _, blob) = *one;
        let support = self.set.support();
        let check = |bytes: &[u8]| validation::moments(self.setting.task, bytes, support);
        let moments = self.setting.contribution(device, blob, check)?;
        let share = cap.share(moments.rows);
        let held = self.basis.held_to_rows(moments).map_err(SolveError::from)?;
        Ok(weighed(held, share))
    }

    fn labels(&self, one: &Sent) -> Result<Labels, ComputeError> {
        let (device, _, blob) = *one;
        let points = self.set.points.len();
        let (task, read) = (self.setting.task, self.setting.read);
        let check = |bytes: &[u8]| validation::labels(task, bytes, points, read);
        self.setting.contribution(device, blob, check)
    }
}

/// Rows of each class that a device has, as its sums tell.
type ClassRows = BTreeMap<DeviceId, Vec<f64>>;

/// What each of these devices has of all their rows of each class.
fn class_shares(sent: &[&Sent], class_rows: &ClassRows) -> Vec<Vec<f64>> {
    let of = |one: &&Sent| class_rows.get(&one.0).cloned().unwrap_or_default();
    let rows: Vec<Vec<f64>> = sent.iter().map(of).collect();
    let classes = rows.first().map_or(0, Vec::len);
    let sum = |class: usize| rows.iter().filter_map(|one| one.get(class)).sum::<f64>();
    let all: Vec<f64> = (0..classes).map(sum).collect();
    let share = |(rows, all): (&f64, &f64)| if *all > 0.0 { rows / all } else { 0.0 };
    let shares = rows
        .iter()
        .map(|one| one.iter().zip(&all).map(share).collect());
    shares.collect()
}

/// Of fewer devices none can be told from the others.
pub(super) const DEVICES_MIN: usize = 4;

/// How often what one device says too much of is cut.
const CUTS: usize = 2;

/// The rows that devices claim, in any order.
struct Rows(Vec<u64>);

impl Rows {
    /// To judge each other, no device counts for more than the median one does
    /// (`times` 1), so that most of the devices are most of the weight.
    fn cap(&self, times: f64) -> RowsCap {
        RowsCap::of(&self.0, times)
    }
}

/// In the order of what was sent.
pub(super) fn exclusions(verdict: &Verdict, sent: &[Sent]) -> Vec<Exclusion> {
    let contradictions = verdict.contradictions.iter().map(|one| {
        let why = ExclusionReason::Contradicts {
            error: one.error as f32,
            usual: one.usual as f32,
        };
        (one.device, why)
    });
    let mislabelled = verdict.mislabelled.iter().map(|one| {
        let why = ExclusionReason::Mislabels {
            class: one.class as u16,
            taken_for: one.taken_for as u16,
            share: one.share as f32,
            usual: one.usual as f32,
        };
        (one.device, why)
    });
    let all: BTreeMap<usize, ExclusionReason> = contradictions.chain(mislabelled).collect();
    let told = all.into_iter().filter_map(|(at, why)| {
        let &(device, kind, _) = sent.get(at)?;
        Some(Exclusion { device, kind, why })
    });
    told.collect()
}
