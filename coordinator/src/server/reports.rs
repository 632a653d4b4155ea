//! What single devices reported of the students that they run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use common::ids::BlobHash;
use common::report::RawReport;

use crate::aggregate::{Found, pooled};
use crate::server::handle::{Shared, from_store_handle};
use crate::status::{DeviceStatus, DeviceStudent, ErrorSummary, Reached};
use crate::store::StoreError;

/// The newest reports of devices, each read once.
#[derive(Debug, Default)]
pub(crate) struct Reports {
    known: Mutex<BTreeMap<BlobHash, Option<RawReport>>>,
}

impl Reports {
    /// Fills in what the students of these devices reach. Linear in the devices;
    /// reads what is new since the last time.
    pub(crate) async fn fill(&self, shared: &Shared, devices: &mut [DeviceStatus]) {
        let students = devices.iter().flat_map(|device| &device.students);
        let wanted: BTreeSet<BlobHash> = students.filter_map(|one| one.report).collect();
        let lacking: Vec<BlobHash> = {
            let known = self.lock();
            let lacking = wanted.iter().filter(|blob| !known.contains_key(blob));
            lacking.copied().collect()
        };
        if !lacking.is_empty() {
            let compute = shared.compute.clone();
            let read = from_store_handle(shared, move |store| {
                let mut read = Vec::new();
                for blob in lacking {
                    let bytes = store.with(|store| store.blob(blob))?;
                    read.push((blob, bytes.and_then(|bytes| compute.scored(&bytes))));
                }
                Ok::<_, StoreError>(read)
            });
            // What cannot be read now is read the next time.
            if let Ok(read) = read.await {
                self.lock().extend(read);
            }
        }
        let mut known = self.lock();
        known.retain(|blob, _| wanted.contains(blob));
        for student in devices.iter_mut().flat_map(|one| &mut one.students) {
            let report = student.report.and_then(|blob| known.get(&blob));
            if let Some(Some(report)) = report {
                tell(student, report);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<BlobHash, Option<RawReport>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A report counts for the student that it is about.
fn tell(student: &mut DeviceStudent, report: &RawReport) {
    if report.version != student.version {
        student.not_reported = Some(format!("its last report is of student {}", report.version));
        return;
    }
    let Some(found) = pooled(std::slice::from_ref(report)) else {
        return;
    };
    let (accuracy, error) = match found.found {
        Found::Accuracy(accuracy) => (Some(accuracy), None),
        Found::Error { rmse, mae } => (None, Some(ErrorSummary { rmse, mae })),
    };
    student.not_reported = None;
    student.reached = Some(Reached {
        rows: report.rows,
        accuracy,
        error,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ids::Version;
    use common::report::RawErrors;
    use common::wire::codec::Trailing;

    const VERSION: Version = Version {
        epoch: 1,
        number: 2,
    };

    fn told(report: &RawReport) -> DeviceStudent {
        let mut student = DeviceStudent {
            task: "one".to_owned(),
            version: VERSION,
            evaluation: None,
            reached: None,
            not_reported: Some("no report".to_owned()),
            report: None,
        };
        tell(&mut student, report);
        student
    }

    fn report(errors: Option<RawErrors>) -> RawReport {
        RawReport {
            version: VERSION,
            rows: 40,
            correct: if errors.is_some() { 0 } else { 39 },
            previous_correct: None,
            installed: true,
            errors: Trailing(errors),
        }
    }

    #[test]
    fn a_report_says_what_a_devices_student_reaches() {
        let student = told(&report(None));
        let reached = student.reached.map(|one| (one.rows, one.short()));
        assert_eq!(reached, Some((40, "97.5 %".to_owned())));
        assert_eq!(student.not_reported, None);
    }

    #[test]
    fn errors_of_numbers_are_told_by_their_root() {
        let errors = RawErrors {
            squared: vec![160.0],
            absolute: vec![40.0],
            previous_squared: None,
        };
        let reached = told(&report(Some(errors))).reached;
        assert_eq!(
            reached.map(|one| one.short()),
            Some("RMSE 2.000".to_owned())
        );
    }

    #[test]
    fn a_report_of_another_student_is_only_named() {
        let older = RawReport {
            version: Version {
                number: 1,
                ..VERSION
            },
            ..report(None)
        };
        let student = told(&older);
        assert_eq!(student.reached, None);
        let why = student.not_reported.unwrap_or_default();
        assert!(why.ends_with("student 1.1"), "{why}");
    }
}
