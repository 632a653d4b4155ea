//! `model export`: a released student for other programs.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;

use common::math::network::Network;
use common::model::Release;
use common::npz::{self, Array, Values};
use common::trust::release::SignedRelease;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::json;

use super::arguments::{Export, ExportFormat};
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
    let bytes = match what.format {
        ExportFormat::Safetensors => safetensors(&release)?,
        ExportFormat::Npz => npz(&release)?,
    };
    write(&what.out, &bytes, what.force)?;
    if what.json {
        print_json(&json!({
            "version": version,
            "out": what.out,
            "bytes": bytes.len(),
            "classes": release.task().definition().classes,
        }));
    } else {
        println!(
            "wrote student {version} to {} ({} bytes)",
            what.out.display(),
            bytes.len()
        );
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

/// One tensor for each weight and bias, named `layers.N.weight` (outputs,
/// inputs) and `layers.N.bias`, and what a reader needs to know beside them.
fn safetensors(release: &Release) -> Result<Vec<u8>, Failure> {
    let failed = |error: safetensors::SafeTensorError| Failure::Export {
        format: "safetensors",
        reason: error.to_string(),
    };
    let student = release.student();
    let parameters = student.parameters();
    let tensors: Vec<_> = student
        .tensors()
        .into_iter()
        .map(|tensor| {
            let values = parameters[tensor.range].iter();
            let bytes: Vec<u8> = values.flat_map(|value| value.to_le_bytes()).collect();
            (tensor.name, tensor.shape, bytes)
        })
        .collect();
    let views = tensors
        .iter()
        .map(|(name, shape, bytes)| {
            let view = TensorView::new(Dtype::F32, shape.clone(), bytes)?;
            Ok((name.as_str(), view))
        })
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    let definition = release.task().definition();
    let about = HashMap::from([
        ("task".to_owned(), release.task().hash().to_string()),
        ("name".to_owned(), definition.name.clone()),
        ("version".to_owned(), release.version().to_string()),
        ("classes".to_owned(), json!(definition.classes).to_string()),
        ("activation".to_owned(), "relu".to_owned()),
    ]);
    serialize(views, Some(about)).map_err(failed)
}

/// The same tensors as arrays.
fn npz(release: &Release) -> Result<Vec<u8>, Failure> {
    let failed = |error: npz::NpzError| Failure::Export {
        format: "npz",
        reason: error.to_string(),
    };
    let student = release.student();
    let parameters = student.parameters();
    let mut arrays = Vec::new();
    for tensor in student.tensors() {
        let values = Values::F32(parameters[tensor.range].to_vec());
        let array = Array::new(tensor.shape, values).map_err(failed)?;
        arrays.push((tensor.name, array));
    }
    let named: Vec<_> = arrays
        .iter()
        .map(|(name, array)| (name.as_str(), array))
        .collect();
    npz::write(&named).map_err(failed)
}

fn write(path: &Path, bytes: &[u8], force: bool) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    if force {
        options.create(true).truncate(true);
    } else {
        options.create_new(true);
    }
    let written = options
        .write(true)
        .open(path)
        .and_then(|mut file| file.write_all(bytes));
    written.map_err(|source| Failure::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
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
    use safetensors::SafeTensors;

    fn release() -> Release {
        let text = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"off\", \"on\"]\n\
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
    fn both_formats_hold_every_weight_under_its_name() {
        let release = release();
        let student = release.student();
        let bytes = safetensors(&release).unwrap();
        let safe = SafeTensors::deserialize(&bytes).unwrap();
        let bytes = npz(&release).unwrap();
        let archive = npz::Archive::open(&bytes).unwrap();
        assert_eq!(safe.len(), student.tensors().len());
        for tensor in student.tensors() {
            let expected = &student.parameters()[tensor.range];
            let view = safe.tensor(&tensor.name).unwrap();
            assert_eq!(view.shape(), tensor.shape);
            let chunks = view.data().chunks_exact(4);
            let values: Vec<f32> = chunks
                .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
                .collect();
            assert_eq!(values, expected);
            let array = archive.array(&tensor.name).unwrap();
            assert_eq!(array.shape(), tensor.shape);
            assert_eq!(array.to_f32().unwrap(), expected);
        }
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

    #[test]
    fn an_existing_file_is_only_replaced_when_told() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("student.npz");
        write(&path, b"longer", false).unwrap();
        assert!(matches!(
            write(&path, b"new", false),
            Err(Failure::File { .. })
        ));
        assert_eq!(std::fs::read(&path).unwrap(), b"longer");
        write(&path, b"new", true).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
    }
}
