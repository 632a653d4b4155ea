//! A simulated fleet that sleeps, and a task that stands.

use serde_json::{Value, json};

use common::ids::Time;
use common::task::{StandingRounds, Task, TaskFileError};

use super::SimulateError;
use crate::outcome::RoundOutcome;
use crate::progress::Progress;
use crate::simulation::{RoundResult, Simulation, SimulationError, Sleep, Visits};

/// When devices are awake.
pub type Standing = Sleep;

/// A run that goes on.
pub(super) struct Stood {
    visits: Visits,
    begin: Time,
    devices: usize,
    students: Vec<Value>,
}

/// A tenth of the fleet's rows are enough for a student.
const ROWS_NEW_SHARE: usize = 10;
/// Fewer are enough after a quarter of a period.
const INTERVALS_A_PERIOD: u64 = 4;

impl Sleep {
    /// The same task, standing; `rows` are those of the whole fleet.
    pub(super) fn task(self, task: &Task, rows: usize) -> Result<Task, SimulateError> {
        let mut definition = task.definition().clone();
        definition.standing = Some(StandingRounds {
            rows_new: (rows / ROWS_NEW_SHARE).max(1) as u64,
            interval_ms: (self.period_ms / INTERVALS_A_PERIOD).max(100),
        });
        let checked = Task::check(definition);
        checked.map_err(|error| SimulateError::Task(TaskFileError::from(error)))
    }

    pub(super) fn begin(self, simulation: &mut Simulation, devices: usize, seed: u64) -> Stood {
        simulation.start();
        let begin = simulation.now();
        Stood {
            visits: Visits::drawn(devices, self, begin, seed),
            begin,
            devices,
            students: Vec::new(),
        }
    }
}

impl Stood {
    /// The next student; none once the visits are over.
    pub(super) fn next(
        &mut self,
        simulation: &mut Simulation,
        progress: &mut Progress,
    ) -> Result<Option<RoundResult>, SimulationError> {
        let (students, seen) = (self.students.len(), self.visits.seen());
        let devices = self.devices;
        progress.stage(&format!(
            "  {students} students, {seen} of {devices} devices came"
        ));
        simulation.next_student(&mut self.visits)
    }

    /// Notes when a student came and how good it is.
    pub(super) fn note(
        &mut self,
        simulation: &Simulation,
        measured: &RoundOutcome,
    ) -> Result<(), serde_json::Error> {
        let measured = serde_json::to_value(measured)?;
        self.students.push(json!({
            "hours": simulation.now().since_ms(self.begin) as f64 / 3_600_000.0,
            "devices": simulation.lineage(),
            "student_accuracy": measured.get("student_accuracy").cloned(),
        }));
        Ok(())
    }

    /// What came of it, for programs.
    pub(super) fn told(mut self, sleep: Sleep) -> Value {
        let mut trips = self.visits.round_trips().to_vec();
        trips.sort_unstable();
        json!({
            "awake_s": sleep.awake_ms as f64 / 1000.0,
            "period_s": sleep.period_ms as f64 / 1000.0,
            "periods": sleep.periods,
            "students": std::mem::take(&mut self.students),
            "round_trips_median": trips.get(trips.len() / 2),
            "round_trips_max": trips.last(),
        })
    }
}

/// How long devices are awake and how often, `120s/day` for two minutes a day,
/// both in milliseconds.
///
/// # Errors
/// What it should look like.
pub fn parse_awake(text: &str) -> Result<(u64, u64), String> {
    let wrong = || {
        format!(
            "{text:?} is not a span and a period like 120s/day, 2m/6h or 30s/hour, the span the \
             shorter one"
        )
    };
    let (awake, period) = text.split_once('/').ok_or_else(wrong)?;
    let (awake, period) = (
        span(awake).ok_or_else(wrong)?,
        span(period).ok_or_else(wrong)?,
    );
    match (1..=period).contains(&awake) {
        true => Ok((awake, period)),
        false => Err(wrong()),
    }
}

/// Milliseconds of `90s`, `2m`, `1h`, `1d`, `hour` or `day`.
fn span(text: &str) -> Option<u64> {
    let text = match text {
        "day" => "1d",
        "hour" => "1h",
        other => other,
    };
    let unit = text.chars().last()?;
    let number: u64 = text.strip_suffix(unit)?.parse().ok()?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return None,
    };
    number.checked_mul(seconds * 1_000)
}

#[cfg(test)]
mod tests {
    use super::parse_awake;

    #[test]
    fn spans_of_being_awake_are_read() {
        assert_eq!(parse_awake("120s/day"), Ok((120_000, 86_400_000)));
        assert_eq!(parse_awake("2m/6h"), Ok((120_000, 21_600_000)));
        for wrong in ["", "120", "120s", "day/120s", "0s/day", "5x/day", "1d/hour"] {
            assert!(parse_awake(wrong).is_err(), "{wrong}");
        }
    }
}
