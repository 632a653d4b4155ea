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
use crate::serve::release_public_key;

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
    let key = release_public_key(state)?;
    let refused = |reason: String| Failure::Verification(reason);
    let signed = SignedRelease::from_bytes(signed).map_err(|error| refused(error.to_string()))?;
    let payload = signed
        .verify(&[key])
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

/// The same tensors as arrays, with the class names as `classes`.
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
    let classes = release.task().definition().classes.clone();
    let array = Array::new(vec![classes.len()], Values::Text(classes)).map_err(failed)?;
    arrays.push(("classes".to_owned(), array));
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
