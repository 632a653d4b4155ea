//! `model export`: a released student for other programs.

use std::path::Path;

use common::exit;
use common::export::{ExportError, Format};
use common::model::Release;
use common::trust::release::SignedRelease;
use serde_json::json;

use super::arguments::Export;
use super::failure::Failure;
use super::operate::print_json;
use crate::admin::Client;
use crate::identity::release_public_keys;

pub(super) fn export(client: &mut Client, state: &Path, what: &Export) -> Result<(), Failure> {
    let (version, signed) = client.release(what.task.as_deref(), what.version)?;
    let release = verified(state, &signed)?;
    if release.version() != version {
        let got = release.version();
        return Err(Failure::Verification(format!(
            "asked for {version}, it says {got}"
        )));
    }
    let write = || {
        let format = what.format.map_or_else(|| Format::of_path(&what.out), Ok)?;
        let exported = common::export::export(&release, format, &what.out)?;
        exported.write(&what.out, what.force)?;
        Ok(exported)
    };
    let exported = write().map_err(|error: ExportError| exit::Failure::from(error))?;
    if what.json {
        print_json(&json!({
            "version": version,
            "out": what.out,
            "bytes": exported.bytes(),
            "note": exported.note,
            "classes": release.task().definition().classes,
        }));
    } else {
        println!(
            "wrote student {version} to {} ({} bytes)",
            what.out.display(),
            exported.bytes()
        );
        if let Some(note) = &exported.note {
            println!("{note}");
        }
    }
    Ok(())
}

fn verified(state: &Path, signed: &[u8]) -> Result<Release, Failure> {
    let keys = release_public_keys(state)?;
    let refused = |reason: String| Failure::Verification(reason);
    let signed = SignedRelease::from_bytes(signed).map_err(|error| refused(error.to_string()))?;
    let payload = signed
        .verify(&keys)
        .map_err(|error| refused(error.to_string()))?;
    Ok(Release::from_bytes(payload)?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::identity::Identity;
    use common::exit::{CommandError as _, ExitCode};
    use common::features::Normaliser;
    use common::ids::{RoundId, Time, Version};
    use common::model::RawRelease;
    use common::task::RawTask;
    use common::trust::keys::SigningKey;
    use common::weights::RawWeights;

    fn release() -> Release {
        let text = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"off\", \"on\"]\n[features]\nstage = \"raw\"\n\
                    [student]\nhidden = [3]";
        let task = RawTask::parse(text).unwrap();
        let weights: Vec<f32> = (0..task.student().parameters())
            .map(|i| i as f32 / 16.0)
            .collect();
        Release::check(RawRelease {
            task: task.bytes().to_vec(),
            version: Version {
                epoch: 1,
                number: 2,
            },
            round: RoundId(1),
            released: Time(1),
            expires: Time(2),
            lineage: common::model::Lineage::of(&[]),
            normaliser: Normaliser::of_range(2, 0.0, 1.0).unwrap(),
            weights: RawWeights::encode(task.student(), &weights).unwrap(),
            extras: common::wire::codec::Trailing(None),
        })
        .unwrap()
    }

    #[test]
    fn a_release_of_another_key_is_not_exported() {
        let folder = tempfile::tempdir().unwrap();
        let identity = Identity::generate(&[], Time(1_000)).unwrap();
        identity.create_in(folder.path()).unwrap();
        let (own, other) = (identity.release_key, SigningKey::generate().unwrap());
        let signed = |key: &SigningKey| {
            SignedRelease::sign(key, release().to_bytes())
                .unwrap()
                .to_bytes()
        };
        assert!(verified(folder.path(), &signed(&own)).is_ok());
        let refused = verified(folder.path(), &signed(&other)).unwrap_err();
        assert!(matches!(refused, Failure::Verification(_)));
        assert_eq!(refused.exit_code(), ExitCode::Unverified);
        let mut changed = signed(&own);
        *changed.last_mut().unwrap() ^= 1;
        assert!(matches!(
            verified(folder.path(), &changed),
            Err(Failure::Verification(_))
        ));
    }
}
