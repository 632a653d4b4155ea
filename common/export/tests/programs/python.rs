//! Students in Python.

use std::path::{Path, PathBuf};
use std::process::Command;

use export::{Format, archive, export};

use super::students::{all, write_rows};

/// A Python with these packages: `ALAMBIC_PYTHON`, or what the path has.
fn python(packages: &str) -> Option<PathBuf> {
    let python = std::env::var_os("ALAMBIC_PYTHON").map_or("python3".into(), PathBuf::from);
    let mut probe = Command::new(&python);
    probe.arg("-c").arg(format!("import {packages}"));
    let found = probe.output().is_ok_and(|output| output.status.success());
    if !found {
        println!("SKIPPED: {} has not all of {packages}", python.display());
    }
    found.then_some(python)
}

fn run(python: &Path, script: &Path, folder: &Path) {
    let mut command = Command::new(python);
    let output = command.arg(script).arg(folder).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let failed = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    assert!(output.status.success(), "{said}\n{failed}");
}

fn write_all(format: Format, folder: &Path) {
    for case in all() {
        write_rows(&case, &folder.join(format!("{}.rows.npz", case.name)));
        let path = folder.join(format!("{}.{}", case.name, format.ending()));
        let exported = export(&case.release, format, &path).unwrap();
        exported.write(&path, false).unwrap();
    }
}

#[test]
fn onnxruntime_agrees_with_the_device_for_each_stage() {
    let Some(python) = python("numpy, onnx, onnxruntime") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    write_all(Format::Onnx, folder.path());
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/programs/check_onnx.py");
    run(&python, &script, folder.path());
}

#[test]
fn archives_hold_the_release_itself() {
    for case in all() {
        for bytes in [
            archive::npz(&case.release).unwrap(),
            archive::safetensors(&case.release).unwrap(),
        ] {
            let read = archive::read(&bytes).unwrap();
            assert_eq!(read.to_bytes(), case.release.to_bytes(), "{}", case.name);
            assert!(archive::read(&bytes[..bytes.len() / 2]).is_err());
        }
    }
}

#[test]
fn the_documented_reader_says_what_a_device_says() {
    let Some(python) = python("numpy") else {
        return;
    };
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/export.md");
    let document = std::fs::read_to_string(document).unwrap();
    let reader = { document.split("```python\n") }
        .filter_map(|block| block.split("\n```").next())
        .find(|block| block.contains("OPERATORS"));
    let check = "\nimport pathlib, sys\n\
        files = sorted(pathlib.Path(sys.argv[1]).glob('*_*.npz'))\n\
        for path in (path for path in files if '.rows' not in path.name):\n    \
            rows = np.load(path.with_suffix('.rows.npz'))\n    \
            apart = np.abs(answers(path, rows['X']) - rows['P']).max()\n    \
            print(f'{path.stem}: {apart:.1e} apart')\n    \
            assert apart <= 1e-4 * max(1, np.abs(rows['P']).max())\n\
        assert len(files) > 20\n";
    let folder = tempfile::tempdir().unwrap();
    write_all(Format::Npz, folder.path());
    let script = folder.path().join("reader.py");
    std::fs::write(&script, reader.unwrap().to_owned() + check).unwrap();
    run(&python, &script, folder.path());
}
