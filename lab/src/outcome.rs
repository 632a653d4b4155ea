//! What a run found, in the stable form that scripts read. Accuracies are
//! fractions, sizes bytes, times milliseconds.

use serde::Serialize;

/// A whole run.
#[derive(Clone, Debug, Serialize)]
pub struct RunOutcome {
    /// What was run.
    pub config: serde_json::Value,
    /// Every round.
    pub rounds: Vec<RoundOutcome>,
    /// What the student is held against.
    pub baselines: Option<Baselines>,
}

/// One round.
#[derive(Clone, Debug, Serialize)]
pub struct RoundOutcome {
    /// Its number.
    pub round: u64,
    /// How right student and teacher are on the test set.
    #[serde(flatten)]
    pub reached: Reached,
    /// Share of test rows that the student got right before it was refined, and after
    /// each step, where it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub accuracy_by_refinement: Vec<f64>,
    /// The root mean squared error on the test rows likewise, of numbers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rmse_by_refinement: Vec<f64>,
    /// Classes of which no device sent a sample, so that no student answers them.
    pub classes_untold: usize,
    /// How well rows of a class that was left out are told from the others by
    /// the student's score of novelty: the area under the ROC curve.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub novelty_auc: Option<f64>,
    /// UDP payload bytes a device sent after the handshake, profile and all
    /// rounds so far: mean over devices.
    pub uplink_bytes_mean: f64,
    /// The same of the device that sent most.
    pub uplink_bytes_max: u64,
    /// UDP payload bytes a device received after the handshake: mean.
    pub downlink_bytes_mean: f64,
    /// Bytes of enrolment and handshakes, both directions: mean.
    pub handshake_bytes_mean: f64,
    /// From the round's start to its end.
    pub wall_ms: u64,
}

/// How right student and teacher are on the test set.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Reached {
    /// Classes.
    Classes {
        /// Of the released student.
        student_accuracy: f64,
        /// Mean over the classes of the student's F1.
        student_macro_f1: f64,
        /// Of the global kernel teacher.
        teacher_accuracy: f64,
        /// How often the student gives the teacher's answer.
        student_teacher_agreement: f64,
    },
    /// Rows without labels: nothing but `novelty_auc`.
    Nothing {},
    /// Numbers, all of a row together, in their units.
    Numbers {
        /// Root of the released student's mean squared error.
        student_rmse: f64,
        /// Its mean absolute error.
        student_mae: f64,
        /// The root mean squared error of each number.
        student_rmse_each: Vec<f64>,
        /// Root of the global kernel teacher's mean squared error.
        teacher_rmse: f64,
        /// Root of the mean squared difference of student and teacher.
        student_teacher_rmse: f64,
    },
}

/// The same network without federation.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(untagged)]
pub enum Baselines {
    /// Accuracies.
    Classes {
        /// Trained on one device's rows: mean over devices.
        alone_mean: f64,
        /// The worst device alone.
        alone_min: f64,
        /// The best device alone.
        alone_max: f64,
        /// Trained on all true labels in one place.
        pooled_student: f64,
    },
    /// Roots of mean squared errors of numbers.
    Numbers {
        /// Trained on one device's rows: mean over devices.
        alone_rmse_mean: f64,
        /// The best device alone.
        alone_rmse_min: f64,
        /// The worst device alone.
        alone_rmse_max: f64,
        /// Trained on all true numbers in one place.
        pooled_student_rmse: f64,
    },
}
