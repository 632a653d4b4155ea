//! A release against what devices had before, from their reports.

use common::ids::{BlobHash, DeviceId, Version};
use common::report::RawReport;
use common::wire::codec::decode_blob;

use super::{Made, Setting};
use crate::aggregate::pooled;
use crate::round::{Comparison, JobOutput};

impl Setting<'_> {
    /// Reports that cannot be read, or are of another release, say nothing.
    pub(super) fn compare(&self, version: Version, reports: &[(DeviceId, BlobHash)]) -> Made {
        let read = |(_, blob): &(DeviceId, BlobHash)| {
            let report: RawReport = decode_blob(&(self.read)(*blob)?).ok()?;
            (report.version == version).then_some(report)
        };
        let reports: Vec<RawReport> = reports.iter().filter_map(read).collect();
        let compared = pooled(&reports).and_then(|found| found.compared);
        Made {
            bytes: Vec::new(),
            output: JobOutput::Compared(
                compared.map_or(Comparison::NoBetter, |one| one.comparison()),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use common::ids::{RoundId, Time};
    use common::task::RawTask;
    use common::trust::keys::SigningKey;
    use common::wire::codec::{Trailing, encode};

    use super::*;
    use crate::compute::run;
    use crate::round::{Job, JobKind};

    fn version(number: u64) -> Version {
        Version { epoch: 1, number }
    }

    fn report(number: u64, correct: u64, previous: Option<u64>) -> Vec<u8> {
        encode(&RawReport {
            version: version(number),
            rows: 100,
            correct,
            previous_correct: previous,
            installed: true,
            errors: Trailing(None),
        })
    }

    fn found(reports: &[Vec<u8>]) -> Comparison {
        let text = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]";
        let task = RawTask::parse(text).unwrap();
        let blobs: BTreeMap<BlobHash, Vec<u8>> = { reports.iter() }
            .map(|bytes| (BlobHash::of(bytes), bytes.clone()))
            .collect();
        let named = (1..).zip(reports);
        let named = named.map(|(of, bytes)| (DeviceId([of; 16]), BlobHash::of(bytes)));
        let kind = JobKind::Compare {
            version: version(2),
            reports: named
                .chain([(DeviceId([0; 16]), BlobHash([9; 32]))])
                .collect(),
        };
        let round = RoundId(2);
        let setting = Setting {
            task: &task,
            read: &|name| blobs.get(&name).cloned(),
            signer: &SigningKey::generate().unwrap(),
            now: Time(0),
        };
        let made = run(&Job { round, kind }, setting, |_, _| {}).unwrap();
        assert!(made.bytes.is_empty());
        match made.output {
            JobOutput::Compared(comparison) => comparison,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reports_of_a_release_are_compared_with_what_was_before() {
        let of = |now: u64, before: u64| {
            let reports = (0..10).map(|one| report(2, now + one % 3, Some(before + one % 2)));
            found(&reports.collect::<Vec<_>>())
        };
        assert_eq!(of(80, 94), Comparison::Worse);
        assert_eq!(of(94, 80), Comparison::Better);
        assert_eq!(of(80, 80), Comparison::Better);
        assert_eq!(of(79, 80), Comparison::NoBetter, "by half a point");
    }

    #[test]
    fn reports_that_cannot_count_say_nothing() {
        assert_eq!(found(&[]), Comparison::NoBetter);
        let first = (0..10).map(|one| report(2, 50 + one, None));
        assert_eq!(found(&first.collect::<Vec<_>>()), Comparison::NoBetter);
        let mut reports: Vec<_> = (0..6).map(|one| report(2, 90 + one, Some(80))).collect();
        reports.extend((0..20).map(|one| report(1, one, Some(90))));
        reports.push(vec![255; 3]);
        assert_eq!(found(&reports), Comparison::Better);
    }

    #[test]
    fn few_devices_hold_no_release_back() {
        let mut reports: Vec<_> = (0..5)
            .map(|one| report(2, 91, Some(90 - one % 2)))
            .collect();
        reports.extend((0..4).map(|_| report(2, 0, Some(100))));
        assert_eq!(found(&reports), Comparison::NoBetter);
    }
}
