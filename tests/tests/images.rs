//! Container images: what is in them, and a fleet that runs in them.
//!
//! `make images` packs programs with OpenBLAS inside, for which it builds them
//! anew. Here the same scripts pack the programs that the tests use.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use lab::demo::program;
use serde_json::Value;
use tempfile::TempDir;

const IMAGES: [&str; 2] = ["alambic-coordinator", "alambic-agent"];
const USER: &str = "65532";

#[test]
fn the_same_programs_make_the_same_images() {
    let tiny = tempfile::tempdir().unwrap();
    for name in IMAGES {
        fs::copy("/bin/true", tiny.path().join(name)).unwrap();
    }
    let Some(first) = made(tiny.path()) else {
        return;
    };
    let second = made(tiny.path()).unwrap();
    for name in IMAGES {
        let index = |images: &TempDir| read(&images.path().join(name).join("index.json"));
        assert_eq!(index(&first), index(&second));
        let archive = format!("{name}-{}-{}.tar", env!("CARGO_PKG_VERSION"), machine());
        let bytes = |images: &TempDir| fs::read(images.path().join(&archive)).unwrap();
        assert!(bytes(&first) == bytes(&second), "{archive}");
    }
}

#[test]
fn images_are_whole_without_rights_and_run_a_fleet() {
    let programs = program(IMAGES[0]).unwrap();
    let Some(images) = made(programs.parent().unwrap()) else {
        return;
    };
    for name in IMAGES {
        for manifest in manifests(&images.path().join(name)) {
            manifest.holds(name);
        }
    }
    // What it prints is seen, a skip too: a child's output is not captured.
    let tried = script("try-images.sh", images.path()).status().unwrap();
    assert!(tried.success(), "{tried}");
}

/// Images of the programs in a folder. None where this is no Debian.
fn made(programs: &Path) -> Option<TempDir> {
    if Command::new("dpkg").arg("--version").output().is_err() {
        eprintln!("SKIPPED: images are made of Debian's libraries, and there is no dpkg");
        return None;
    }
    let images = tempfile::tempdir().unwrap();
    let mut make = script("images.sh", images.path());
    let output = make.env("PROGRAMS", programs).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    Some(images)
}

fn script(name: &str, images: &Path) -> Command {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new("bash");
    command.arg(root.join("scripts").join(name));
    command.env("IMAGES", images).env_remove("VERSION");
    command
}

/// One image of a layout.
struct Manifest {
    blobs: PathBuf,
    platform: Value,
    document: Value,
}

/// Every image of a layout, each blob of which is what its name says.
fn manifests(layout: &Path) -> Vec<Manifest> {
    let blobs = layout.join("blobs/sha256");
    let all = fs::read_dir(&blobs).unwrap();
    let all: BTreeSet<PathBuf> = all.map(|entry| entry.unwrap().path()).collect();
    for path in &all {
        let name = path.file_name().unwrap().to_str().unwrap();
        assert_eq!(digest(&mut Command::new("cat"), path), name);
    }
    let index = json(&layout.join("index.json"));
    let index = json(&blob(&blobs, &index["manifests"][0]));
    let listed = index["manifests"].as_array().unwrap();
    let found: Vec<Manifest> = listed
        .iter()
        .map(|descriptor| Manifest {
            platform: descriptor["platform"].clone(),
            document: json(&blob(&blobs, descriptor)),
            blobs: blobs.clone(),
        })
        .collect();
    // Two layers, configuration and manifest of each, and the index.
    assert_eq!(all.len(), 4 * found.len() + 1, "{all:?}");
    found
}

impl Manifest {
    fn holds(&self, name: &str) {
        let described = json(&blob(&self.blobs, &self.document["config"]));
        assert_eq!(described["architecture"], self.platform["architecture"]);
        assert_eq!(described["os"], "linux");
        let config = &described["config"];
        let state = format!("/var/lib/{name}");
        assert_eq!(config["User"], format!("{USER}:{USER}"));
        assert_eq!(config["Entrypoint"][0], format!("/usr/bin/{name}"));
        assert_eq!(config["StopSignal"], "SIGTERM");
        assert_eq!(config["WorkingDir"], state);
        let volumes = config["Volumes"].as_object().unwrap();
        assert_eq!(volumes.keys().collect::<Vec<_>>(), [&state]);
        let label = |key: &str| &config["Labels"][format!("org.opencontainers.image.{key}")];
        assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(label("licenses"), "Apache-2.0");
        assert!(label("revision").is_string() && label("source").is_string());

        let layers = self.document["layers"].as_array().unwrap();
        let contents = described["rootfs"]["diff_ids"].as_array().unwrap();
        assert_eq!(layers.len(), contents.len());
        let mut paths = BTreeSet::new();
        for (layer, content) in layers.iter().zip(contents) {
            let path = blob(&self.blobs, layer);
            let unpacked = digest(Command::new("gzip").arg("-dc"), &path);
            assert_eq!(content, &format!("sha256:{unpacked}"));
            paths.extend(files(&path, name));
        }
        for expected in [
            format!("usr/bin/{name}"),
            format!("{}/", &state[1..]),
            format!("usr/share/doc/{name}/copyright"),
            "usr/share/doc/libc6/copyright".to_owned(),
            "usr/share/common-licenses/Apache-2.0".to_owned(),
        ] {
            assert!(paths.contains(&expected), "no {expected} in {paths:?}");
        }
    }
}

/// The paths in a layer. Files and folders only, root's and for root alone to
/// write; state and backups are the user's and nobody else's.
fn files(layer: &Path, name: &str) -> Vec<String> {
    let private = ["lib", "backups"].map(|folder| format!("var/{folder}/{name}/"));
    let mut list = Command::new("tar");
    list.args(["--list", "--verbose", "--numeric-owner", "--gzip", "--file"]);
    let listed = list.arg(layer).output().unwrap();
    assert!(listed.status.success());
    let listed = String::from_utf8(listed.stdout).unwrap();
    let mut paths = Vec::new();
    for line in listed.lines() {
        let mut words = line.split_whitespace();
        let (mode, owner) = (words.next().unwrap(), words.next().unwrap());
        let path = words.nth(3).unwrap().to_owned();
        let expected = match private.contains(&path) {
            true => (&["drwx------"][..], format!("{USER}/{USER}")),
            false => (
                &["drwxr-xr-x", "-rwxr-xr-x", "-rw-r--r--"][..],
                "0/0".to_owned(),
            ),
        };
        assert!(expected.0.contains(&mode) && expected.1 == owner, "{line}");
        assert!(
            !path.starts_with('/') && !path.split('/').any(|part| part == ".."),
            "{line}"
        );
        paths.push(path);
    }
    paths
}

/// Where the file is that a descriptor means, which has the size that it says.
fn blob(blobs: &Path, descriptor: &Value) -> PathBuf {
    let digest = descriptor["digest"].as_str().unwrap();
    let path = blobs.join(digest.strip_prefix("sha256:").unwrap());
    assert_eq!(
        fs::metadata(&path).unwrap().len(),
        descriptor["size"].as_u64().unwrap(),
        "{digest}"
    );
    path
}

/// SHA-256 of what a command makes of a file.
fn digest(command: &mut Command, path: &Path) -> String {
    let mut made = command
        .arg(path)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let output = Command::new("sha256sum")
        .stdin(made.stdout.take().unwrap())
        .output()
        .unwrap();
    assert!(made.wait().unwrap().success() && output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    text.split_whitespace().next().unwrap().to_owned()
}

/// Debian's name of this machine's architecture.
fn machine() -> String {
    let output = Command::new("dpkg").arg("--print-architecture").output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.trim().to_owned()
}

fn json(path: &Path) -> Value {
    serde_json::from_str(&read(path)).unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap()
}
