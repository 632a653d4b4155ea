//! What an attack found, of one seed and of several.

use serde::Serialize;

/// What one seed found; what does not apply to an attack is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Finding {
    /// Of the released student, on the honest test set; 0 if none was
    /// released.
    pub student_accuracy: Option<f64>,
    /// The same of the fleet in which every device is honest.
    pub honest_accuracy: Option<f64>,
    /// Share of the rows aimed at that are taken for the class that liars
    /// want.
    pub success: Option<f64>,
    /// Area under the ROC curve of the question whether a row was described.
    pub auc: Option<f64>,
    /// Share of the described rows that are found where 1 % of the others
    /// are taken for such.
    pub true_positives_at_1_percent: Option<f64>,
    /// Share of the rows rebuilt nearer than half the typical distance
    /// between neighbours.
    pub rebuilt_half: Option<f64>,
    /// Share rebuilt nearer than a tenth of it.
    pub rebuilt_tenth: Option<f64>,
    /// Devices that the coordinator left out.
    pub excluded: Option<Excluded>,
    /// UDP bytes of the device that sent most.
    pub uplink_bytes_max: u64,
    /// What else there is to know: a name and a text each.
    pub notes: Vec<(String, String)>,
}

/// Devices whose data is in the student of an honest fleet, and not in this
/// one: their mean number over the seeds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Excluded {
    /// That lied.
    pub liars: f64,
    /// That did not.
    pub honest: f64,
}

/// Means over the seeds, in the form that scripts read; bytes are the most of
/// any seed. What does not apply to the attack is null.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// The attack.
    pub attack: String,
    /// Share of the devices that lie.
    pub liars: Option<f64>,
    /// The seeds.
    pub seeds: Vec<u64>,
    /// [`Finding::student_accuracy`].
    pub student_accuracy: Option<f64>,
    /// [`Finding::honest_accuracy`].
    pub honest_accuracy: Option<f64>,
    /// [`Finding::success`].
    pub success: Option<f64>,
    /// [`Finding::auc`].
    pub auc: Option<f64>,
    /// [`Finding::true_positives_at_1_percent`].
    pub true_positives_at_1_percent: Option<f64>,
    /// [`Finding::rebuilt_half`].
    pub rebuilt_half: Option<f64>,
    /// [`Finding::rebuilt_tenth`].
    pub rebuilt_tenth: Option<f64>,
    /// [`Finding::excluded`].
    pub excluded: Option<Excluded>,
    /// [`Finding::uplink_bytes_max`].
    pub uplink_bytes_max: u64,
}

impl Finding {
    pub(super) fn note(&mut self, name: &str, text: String) {
        self.notes.push((name.to_owned(), text));
    }
}

impl Outcome {
    /// Of the seeds that were run.
    pub fn of(attack: &str, liars: Option<f64>, found: &[(u64, Finding)]) -> Self {
        let over = |value: fn(&Finding) -> Option<f64>| {
            let values: Vec<f64> = found.iter().filter_map(|(_, one)| value(one)).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        };
        let liars_out = over(|one| one.excluded.map(|excluded| excluded.liars));
        let honest_out = over(|one| one.excluded.map(|excluded| excluded.honest));
        Self {
            attack: attack.to_owned(),
            liars,
            seeds: found.iter().map(|(seed, _)| *seed).collect(),
            student_accuracy: over(|one| one.student_accuracy),
            honest_accuracy: over(|one| one.honest_accuracy),
            success: over(|one| one.success),
            auc: over(|one| one.auc),
            true_positives_at_1_percent: over(|one| one.true_positives_at_1_percent),
            rebuilt_half: over(|one| one.rebuilt_half),
            rebuilt_tenth: over(|one| one.rebuilt_tenth),
            excluded: liars_out
                .zip(honest_out)
                .map(|(liars, honest)| Excluded { liars, honest }),
            uplink_bytes_max: { found.iter() }
                .map(|(_, one)| one.uplink_bytes_max)
                .max()
                .unwrap_or(0),
        }
    }

    /// Its figures as people read them: a name and a text each, those that do
    /// not apply left out.
    pub fn figures(&self) -> Vec<(&'static str, String)> {
        let percent = |value: f64| format!("{:.2} %", 100.0 * value);
        let plain = |value: f64| format!("{value:.3}");
        let rows = [
            ("devices that lie", self.liars.map(percent)),
            (
                "student on the test set",
                self.student_accuracy.map(percent),
            ),
            (
                "the same, every device honest",
                self.honest_accuracy.map(percent),
            ),
            ("rows aimed at that are taken so", self.success.map(percent)),
            ("membership: area under the ROC curve", self.auc.map(plain)),
            (
                "membership: found at 1 % false alarms",
                self.true_positives_at_1_percent.map(percent),
            ),
            (
                "rows rebuilt within half a neighbour's distance",
                self.rebuilt_half.map(percent),
            ),
            (
                "rows rebuilt within a tenth of it",
                self.rebuilt_tenth.map(percent),
            ),
            (
                "liars left out, mean",
                self.excluded.map(|out| format!("{:.1}", out.liars)),
            ),
            (
                "honest devices left out, mean",
                self.excluded.map(|out| format!("{:.1}", out.honest)),
            ),
            (
                "bytes up, most of any device",
                Some(self.uplink_bytes_max.to_string()),
            ),
        ];
        let some = |(name, value): (_, Option<String>)| value.map(|value| (name, value));
        rows.into_iter().filter_map(some).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_json_has_every_key_and_null_for_what_does_not_apply() {
        let finding = Finding {
            auc: Some(0.5),
            uplink_bytes_max: 7,
            ..Finding::default()
        };
        let other = Finding {
            auc: Some(1.0),
            uplink_bytes_max: 9,
            ..Finding::default()
        };
        let outcome = Outcome::of("membership", None, &[(0, finding), (4, other)]);
        let json = serde_json::to_value(outcome).unwrap();
        let expected = serde_json::json!({
            "attack": "membership", "liars": null, "seeds": [0, 4],
            "student_accuracy": null, "honest_accuracy": null, "success": null,
            "auc": 0.75, "true_positives_at_1_percent": null, "rebuilt_half": null,
            "rebuilt_tenth": null, "excluded": null, "uplink_bytes_max": 9,
        });
        assert_eq!(json, expected);
    }
}
