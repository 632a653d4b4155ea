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
    /// Of the released student, on the test set.
    pub student_accuracy: f64,
    /// Mean over the classes of the student's F1.
    pub student_macro_f1: f64,
    /// Of the global kernel teacher.
    pub teacher_accuracy: f64,
    /// How often the student gives the teacher's answer, on the test inputs.
    pub student_teacher_agreement: f64,
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

/// The same network without federation.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Baselines {
    /// Trained on one device's rows: mean over devices.
    pub alone_mean: f64,
    /// The worst device alone.
    pub alone_min: f64,
    /// The best device alone.
    pub alone_max: f64,
    /// Trained on all true labels in one place.
    pub pooled_student: f64,
}
