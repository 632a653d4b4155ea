//! A released student whose last layer is moved towards the devices' own rows.

use common::gradient::Gradient;
use common::model::Release;
use common::teacher::{RawTeacher, Teacher};
use common::trust::release::SignedRelease;
use common::wire::codec::decode_blob;

use super::{ComputeError, Made, Setting};
use crate::aggregate::join_gradients;
use crate::round::JobKind;
use crate::student::refine_student;
use crate::validation;

impl Setting<'_> {
    pub(super) fn refine(&self, job: &JobKind) -> Result<Made, ComputeError> {
        let JobKind::Refine {
            release,
            transfer,
            teacher,
            gradients,
        } = job
        else {
            unreachable!("run() sends only refining jobs here");
        };
        let signed = SignedRelease::from_bytes(&self.bytes(*release)?)?.into_unverified();
        let release = Release::from_bytes(&signed)?;
        let set = self.own(*transfer, validation::transfer_set)?;
        let raw: RawTeacher = decode_blob(&self.bytes(*teacher)?)?;
        let teacher = Teacher::on(raw, &set, self.task.outputs())?;
        let mut of_it = Vec::new();
        for &(device, blob) in gradients {
            let read = |bytes: &[u8]| validation::gradient(self.task, bytes);
            let gradient: Gradient = self.contribution(device, blob, read)?;
            if gradient.version == release.version() {
                of_it.push(gradient);
            }
        }
        let Some(joined) = join_gradients(&of_it)? else {
            return Err(ComputeError::NoGradient);
        };
        let trained = refine_student(
            self.task,
            &set.points,
            &teacher,
            release.student(),
            joined.residuals,
            &joined.class_rows,
        )?;
        self.student(&set.points, &teacher, &trained)
    }
}
