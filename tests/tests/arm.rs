//! Agents built for ARM, emulated, in a round with a native one.
//!
//! `make deb ARCH=arm64` and `ARCH=armhf` leave the agent and the libraries it
//! runs with where this looks for them; `ALAMBIC_ARM64_AGENT` and
//! `ALAMBIC_ARM64_ROOT` (`ALAMBIC_ARMHF_…`) name other places. Without them, or
//! without an emulator, a test is skipped and says so.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::labels::Labels;
use common::moments::{Moments, factor_bits};
use common::task::RawTask;
use coordinator::validation;
use ndarray::{Array2, ArrayView1};
use serde_json::Value;
use tests::fixtures::{agent, archives, completed_round, on_agent, serve, unpack};

/// How far contributions of two architectures may lie apart, relative.
const APART_MAX: f32 = 1e-4;
/// The same for G on a machine where a rounded number may tip over.
const TIPPED_MAX: f32 = 1e-2;
/// Steps by which a number that tips over may be another one: its row's scale
/// may differ in the last bits as well.
const STEPS_MAX: f32 = 1.05;

#[test]
fn an_arm64_agent_contributes_the_same() {
    contributes_what_a_native_one_does(&ARM64);
}

#[test]
fn an_armhf_agent_contributes_the_same() {
    contributes_what_a_native_one_does(&ARMHF);
}

fn contributes_what_a_native_one_does(machine: &'static Machine) {
    let Some(emulated) = Emulated::find(machine) else {
        return;
    };
    let archive = archives().pop().unwrap();
    // The same two devices, rows and transfer set, twice.
    let native = round(&archive, None);
    let arm = round(&archive, Some(&emulated));
    let gram = distance(&native.gram(), &arm.gram());
    let steps = native.steps_to(&arm);
    let apart = [
        ("B", distance(&native.cross(), &arm.cross())),
        (
            "labels",
            distance(&native.labels.probabilities, &arm.labels.probabilities),
        ),
    ];
    println!("relative distance, {} to native: {apart:?}", machine.arch);
    println!("G {gram:e}, a number {steps} steps of its rounding at most");
    assert_eq!(native.moments.rows, arm.moments.rows);
    let tipped = machine.tips && gram <= TIPPED_MAX && steps <= STEPS_MAX;
    assert!(gram <= APART_MAX || tipped, "{gram}, {steps}");
    for (what, apart) in apart {
        assert!(apart <= APART_MAX, "{what}: {apart}");
    }
}

/// What one device contributed to a round.
struct Given {
    /// Bits of a number, as its task says.
    bits: u8,
    moments: Moments,
    labels: Labels,
}

impl Given {
    /// The sum of φφᵀ.
    fn gram(&self) -> Array2<f32> {
        let points = self.moments.factor.ncols();
        let remainder = Array2::from_diag_elem(points, self.moments.remainder);
        self.moments.factor.t().dot(&self.moments.factor) + remainder
    }

    /// How many steps of its rounding the number of G that differs most is
    /// another one; a row that carries labels has finer ones.
    fn steps_to(&self, other: &Self) -> f32 {
        let (ours, theirs) = (&self.moments.factor, &other.moments.factor);
        assert_eq!(ours.dim(), theirs.dim());
        let labelled = self.moments.targets.nrows();
        let apart = ours.outer_iter().zip(theirs.outer_iter()).enumerate();
        let steps = apart.map(|(index, (ours, theirs))| {
            let bits = if index < labelled {
                self.bits
            } else {
                factor_bits(self.bits)
            };
            let largest = |row: ArrayView1<'_, f32>| row.fold(0.0f32, |most, x| most.max(x.abs()));
            let step = largest(ours) / ((1u32 << (bits - 1)) - 1) as f32;
            largest((&ours - &theirs).view()) / step
        });
        steps.fold(0.0, f32::max)
    }

    /// The sum of φtᵀ.
    fn cross(&self) -> Array2<f32> {
        let targets = &self.moments.targets;
        let labelled = self
            .moments
            .factor
            .slice(ndarray::s![..targets.nrows(), ..]);
        labelled.t().dot(targets)
    }
}

/// A round of both devices; the first is emulated, if anything emulates it.
fn round(archive: &Path, emulated: Option<&Emulated>) -> Given {
    let home = unpack(archive);
    let (_server, mut client, address) = serve(home.path());
    let (status, _agents) = completed_round(&mut client, address, |index| match emulated {
        Some(emulated) if index == 0 => emulated.agent(home.path()),
        _ => agent(home.path(), index),
    });
    let ended = status.tasks[0].history.last().unwrap();

    let task = fs::read_to_string(home.path().join("task.toml")).unwrap();
    let task = RawTask::parse(&task).unwrap();
    let points = status.tasks[0].points as usize;
    let payload = |kind: &str| payload(home.path(), ended.round.0, kind);
    Given {
        bits: task.definition().budget.bits,
        moments: validation::moments(&task, &payload("moments"), points).unwrap(),
        labels: validation::labels(&task, &payload("labels"), points, &|_| None).unwrap(),
    }
}

/// The bytes that the first device sent in a round, as it keeps them.
fn payload(home: &Path, round: u64, kind: &str) -> Vec<u8> {
    let output = agent(home, 0).args(["sent", "list", "--json"]).output();
    let sent: Value = serde_json::from_slice(&output.unwrap().stdout).unwrap();
    let is_it = |sent: &&Value| sent["round"] == round && sent["kind"] == kind;
    let found = sent.as_array().unwrap().iter().find(is_it).unwrap();
    let name = found["blob"].as_str().unwrap();
    fs::read(home.join("agent-0/ledger/payloads").join(name)).unwrap()
}

/// ‖a − b‖ / ‖a‖ (Frobenius).
fn distance(a: &Array2<f32>, b: &Array2<f32>) -> f32 {
    assert_eq!(a.dim(), b.dim());
    let norm = |x: &Array2<f32>| x.iter().map(|value| value * value).sum::<f32>().sqrt();
    norm(&(a - b)) / norm(a)
}

/// A kind of machine that is emulated.
struct Machine {
    /// Debian's name for it.
    arch: &'static str,
    /// Rust's name for it.
    target: &'static str,
    /// The compiler's name for it, which its libraries are filed under.
    gnu: &'static str,
    emulator: &'static str,
    /// How its programs begin, as `printf` writes it.
    header: &'static str,
    /// Whether its floats differ in their last bits, so that a number may be
    /// rounded another way.
    tips: bool,
}

const ARM64: Machine = Machine {
    arch: "arm64",
    target: "aarch64-unknown-linux-gnu",
    gnu: "aarch64-linux-gnu",
    emulator: "qemu-aarch64-static",
    header: r"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00",
    tips: false,
};
const ARMHF: Machine = Machine {
    arch: "armhf",
    target: "armv7-unknown-linux-gnueabihf",
    gnu: "arm-linux-gnueabihf",
    emulator: "qemu-arm-static",
    header: r"\x7fELF\x01\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x28\x00",
    tips: true,
};

/// An agent for another machine, and what it needs to run here.
struct Emulated {
    machine: &'static Machine,
    agent: PathBuf,
    root: PathBuf,
}

impl Emulated {
    fn find(machine: &'static Machine) -> Option<Self> {
        let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
        let arch = machine.arch;
        let place = |what: &str, usual: PathBuf| {
            let name = format!("ALAMBIC_{}_{what}", arch.to_uppercase());
            let path = std::env::var_os(name).map_or(usual, PathBuf::from);
            path.canonicalize().ok()
        };
        let agent = target.join(format!("cross/{}/dist/alambic-agent", machine.target));
        let found = place("AGENT", agent).zip(place("ROOT", target.join("cross-root")));
        let Some((agent, root)) = found else {
            println!("SKIPPED: there is no agent for {arch} (make deb ARCH={arch})");
            return None;
        };
        let emulated = Self {
            machine,
            agent,
            root,
        };
        let mut version = emulated.command();
        version.arg("--version");
        match version.output() {
            Ok(output) if output.status.success() => Some(emulated),
            found => {
                println!("SKIPPED: {arch} is not emulated here (qemu-user-static): {found:?}");
                None
            }
        }
    }

    /// Its program, which starts itself again for heavy work: so the emulator
    /// is registered with the kernel, in a namespace that nothing else sees.
    fn command(&self) -> Command {
        let mut command = Command::new("unshare");
        command
            .args([
                "--user",
                "--map-root-user",
                "--mount",
                "sh",
                "-euc",
                EMULATE,
            ])
            .arg(&self.agent)
            .env("QEMU_LD_PREFIX", &self.root)
            // Links of /etc/alternatives would be followed outside the root.
            .env(
                "LD_LIBRARY_PATH",
                format!("/usr/lib/{}/openblas-pthread", self.machine.gnu),
            )
            .env("EMULATOR", self.machine.emulator)
            .env("HEADER", self.machine.header);
        command
    }

    fn agent(&self, home: &Path) -> Command {
        let mut command = self.command();
        on_agent(&mut command, home, 0);
        command
    }
}

/// Registers qemu for the header of such programs, and becomes one.
const EMULATE: &str = r#"
mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
printf '%s%s%s%s' ':alambic:M::' "$HEADER" \
    ':\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff' \
    ":$(command -v "$EMULATOR"):F" >/proc/sys/fs/binfmt_misc/register
exec "$0" "$@"
"#;
