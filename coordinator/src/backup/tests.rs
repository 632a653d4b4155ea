#![allow(clippy::unwrap_used)]
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use common::ids::{BlobHash, DeviceId, RoundId, Time};
use common::task::RawTask;
use proptest::prelude::*;

use super::*;
use crate::identity::{Identity, IdentityError};
use crate::journal::{Compaction, Pins, Retention};
use crate::journal::{LogEntry, replay};
use crate::registry::RegistryEvent;
use crate::round::{Event, Outcome, TaskEvent};
use crate::store::{Epoch, Position, SledStore, Store};

const NOW: Time = Time(1_800_000_000_000);
const TASK: &str = "name = \"t\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]\n[features]\nstage = \"raw\"";

/// A state directory with a task, some records, three blobs and a document,
/// and a backup of it.
struct Case {
    folder: tempfile::TempDir,
    archive: PathBuf,
    written: Written,
}

impl Case {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let state = folder.path().join("state");
        let identity = Identity::generate(&[], NOW).unwrap();
        identity.create_in(&state).unwrap();
        fs::write(state.join("coordinator.toml"), "log = \"warn\"\n").unwrap();
        fs::write(state.join("ca.new"), "left by a cut").unwrap();
        fill(&SledStore::open(state.join("store")).unwrap());
        change(&state);
        let archive = folder.path().join("backup.tar");
        let written = back_up(&state, &archive).unwrap();
        Self {
            folder,
            archive,
            written,
        }
    }

    fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("restored")
    }

    fn restore(&self) -> Result<Restored, BackupError> {
        restore(&self.archive, &self.target(), &mut |_| {})
    }

    fn rewrite(&self, bytes: &[u8]) {
        fs::write(&self.archive, bytes).unwrap();
    }
}

fn fill(store: &SledStore) {
    let task = RawTask::parse(TASK).unwrap();
    let spec = store.put_blob(task.bytes()).unwrap();
    let epoch = store.open_epoch().unwrap();
    let created = LogEntry::Task(TaskEvent {
        task: task.hash(),
        event: Event::TaskCreated { spec, at: NOW },
    });
    store.append(epoch, None, &[created.to_bytes()]).unwrap();
    let epoch = store.open_epoch().unwrap();
    let revoked = |number: u8| {
        let event = RegistryEvent::Revoked {
            device: DeviceId([number; 16]),
            reason: format!("reason {number}"),
            at: NOW,
        };
        LogEntry::Registry(event).to_bytes()
    };
    let events: Vec<_> = (0..20).map(revoked).collect();
    store.append(epoch, None, &events).unwrap();
    store.put_blob(b"").unwrap();
    store.put_blob(&[7; 5_000]).unwrap();
    store.put_document(epoch, "snapshot", b"small").unwrap();
}

fn back_up(state: &Path, out: &Path) -> Result<Written, BackupError> {
    let store = SledStore::open(state.join("store"))?;
    let mut copy = StoreCopy::begin(&store)?;
    let (files, _) = state_files(state, None)?;
    let mut archive = Archive::create(out, copy.contents(), NOW)?;
    for file in &files {
        archive.state_file(file)?;
    }
    while let Some((name, bytes)) = copy.next(&store)? {
        archive.piece(&name, &bytes)?;
    }
    archive.finish()
}

/// An entry's name and bytes.
type Entry = (String, Vec<u8>);
/// What someone does to an archive.
type Change<'a> = &'a dyn Fn(&mut Vec<Entry>);

/// The entries of an archive, to make another of.
fn entries(archive: &Path) -> Vec<Entry> {
    let mut archive = tar::Archive::new(fs::File::open(archive).unwrap());
    let entries = archive.entries().unwrap();
    entries
        .map(|entry| {
            let mut entry = entry.unwrap();
            let name = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
            (name, bytes)
        })
        .collect()
}

/// An archive of these entries with a manifest that fits them: what someone
/// would make who changes a backup with care.
fn forged(entries: &[Entry]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut manifest = String::new();
    let mut add = |name: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o600);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, name, bytes).unwrap();
    };
    for (name, bytes) in entries.iter().filter(|(name, _)| name != MANIFEST) {
        add(name, bytes);
        manifest += &format!("{}  {name}\n", blake3::hash(bytes));
    }
    add(MANIFEST, manifest.as_bytes());
    tar.into_inner().unwrap()
}

#[test]
fn what_is_restored_is_what_was_backed_up_in_a_new_epoch() {
    let case = Case::new();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(case.archive.clone()), 0o600);
    let checked = check(&case.archive, &mut |_| {}).unwrap();
    assert_eq!(checked.manifest, case.written.manifest);
    assert!(!case.target().exists(), "a check writes nothing");

    let restored = case.restore().unwrap();
    verify(&restored).unwrap();
    assert_eq!(restored.epoch, 3, "two lives, and the restore");
    assert_eq!(mode(case.target()), 0o700);
    let (files, _) = state_files(&case.state(), None).unwrap();
    assert!(files.iter().any(|file| file.name == "ca-key.pem"));
    assert!(files.iter().any(|file| file.name == "coordinator.toml"));
    assert_eq!(state_files(&case.target(), None).unwrap().0, files);
    assert_eq!(mode(case.target().join("ca-key.pem")), 0o600);
    Identity::load(&case.target(), &[], NOW).unwrap();

    let old = SledStore::open(case.state().join("store")).unwrap();
    let new = SledStore::open(case.target().join("store")).unwrap();
    assert_eq!(new.head().unwrap(), old.head().unwrap());
    let all = |store: &SledStore| store.read(Position(0), 100).unwrap();
    assert_eq!(all(&new), all(&old));
    assert_eq!(new.blobs().unwrap(), old.blobs().unwrap());
    assert_eq!(new.document("snapshot").unwrap().unwrap(), b"small");
    assert_eq!(new.open_epoch().unwrap(), Epoch(4));
    assert_eq!(replay(&new).unwrap().tasks.len(), 1);
}

/// Three rounds without content, the log kept for the newest.
fn shorten(state: &Path) {
    let store = SledStore::open(state.join("store")).unwrap();
    let epoch = store.open_epoch().unwrap();
    let retention = Retention {
        rounds: Some(1),
        blob_rounds: 1,
    };
    let task = RawTask::parse(TASK).unwrap().hash();
    for round in 1..=3 {
        let entry = |event| LogEntry::Task(TaskEvent { task, event }).to_bytes();
        let opened = entry(Event::RoundOpened {
            round: RoundId(round),
            at: NOW,
        });
        let ended = entry(Event::RoundEnded {
            outcome: Outcome::Cancelled,
            at: NOW,
        });
        store.append(epoch, None, &[opened, ended]).unwrap();
        let compaction = Compaction::begin(epoch, retention);
        compaction.run_all(&store, &Pins::new()).unwrap();
    }
    assert!(store.first().unwrap() > Position(20));
}

#[test]
fn a_shortened_log_is_restored_with_its_snapshot() {
    let case = Case::with(shorten);
    let restored = case.restore().unwrap();
    verify(&restored).unwrap();
    let old = SledStore::open(case.state().join("store")).unwrap();
    let new = SledStore::open(case.target().join("store")).unwrap();
    assert_eq!(new.begin().unwrap(), old.begin().unwrap());
    assert_eq!(new.head().unwrap(), old.head().unwrap());
    let replayed = replay(&new).unwrap();
    assert_eq!(replayed.tasks[0].1.last_round, RoundId(3));
    assert_eq!(replayed.registry.revoked().len(), 20);
    assert!(replayed.snapshot.is_some());
}

#[test]
fn a_shortened_log_without_its_snapshot_is_refused() {
    let case = Case::with(shorten);
    let mut entries = entries(&case.archive);
    for (name, bytes) in &mut entries {
        if name.starts_with("documents/snapshot-") {
            *bytes = b"nonsense".to_vec();
        }
    }
    case.rewrite(&forged(&entries));
    assert!(matches!(
        case.restore(),
        Err(BackupError::Changed { reason, .. }) if reason.contains("no snapshot")
    ));
    assert!(!case.target().exists());
}

#[test]
fn nothing_is_written_over() {
    let case = Case::new();
    let before = fs::read(&case.archive).unwrap();
    assert!(matches!(
        back_up(&case.state(), &case.archive),
        Err(BackupError::Exists { .. })
    ));
    assert_eq!(fs::read(&case.archive).unwrap(), before);

    fs::create_dir(case.target()).unwrap();
    fs::write(case.target().join("notes.txt"), "mine").unwrap();
    assert!(matches!(
        case.restore(),
        Err(BackupError::NotEmpty { found, .. }) if found == "notes.txt"
    ));
    assert_eq!(fs::read_dir(case.target()).unwrap().count(), 1);
    fs::remove_file(case.target().join("notes.txt")).unwrap();
    case.restore().unwrap();
    assert!(matches!(case.restore(), Err(BackupError::NotEmpty { .. })));
}

#[test]
fn a_backup_that_fails_leaves_no_file() {
    let case = Case::new();
    let out = case.folder.path().join("second.tar");
    let blob = BlobHash::of(&[7; 5_000]).to_string();
    let path = case
        .state()
        .join("store/blobs")
        .join(&blob[..2])
        .join(&blob);
    fs::write(path, "damaged").unwrap();
    assert!(matches!(
        back_up(&case.state(), &out),
        Err(BackupError::Store(_))
    ));
    let names = fs::read_dir(case.folder.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        names
            .iter()
            .all(|name| !name.to_string_lossy().contains("second")),
        "{names:?}"
    );
}

#[test]
fn an_archive_that_was_cut_off_is_refused_wherever_it_was() {
    let case = Case::new();
    let whole = fs::read(&case.archive).unwrap();
    // The last two blocks are the archive's end; the manifest is before them.
    for length in (0..whole.len() - 1_024).step_by(509) {
        case.rewrite(&whole[..length]);
        match case.restore() {
            Err(BackupError::Truncated { .. }) => {}
            Err(BackupError::Foreign { .. }) if length < 2_048 => {}
            other => panic!("{length} of {}: {other:?}", whole.len()),
        }
        assert!(!case.target().exists(), "{length}");
    }
}

#[test]
fn what_is_no_backup_is_refused() {
    let case = Case::new();
    for bytes in [&b""[..], b"hello", &[0; 4_096], &[0xff; 4_096]] {
        case.rewrite(bytes);
        assert!(
            matches!(case.restore(), Err(BackupError::Foreign { .. })),
            "{bytes:?}"
        );
    }
    case.rewrite(&forged(&[("state/ca.pem".to_owned(), Vec::new())]));
    assert!(matches!(case.restore(), Err(BackupError::Foreign { .. })));
    assert!(!case.target().exists());
}

#[test]
fn a_newer_format_is_refused_first() {
    let case = Case::new();
    let newer = br#"{"format":2,"program":"9.1.0","all":"new"}"#;
    let unknown = ("of/the/future".to_owned(), vec![1]);
    case.rewrite(&forged(&[(HEAD.to_owned(), newer.to_vec()), unknown]));
    assert!(matches!(
        case.restore(),
        Err(BackupError::Newer { format: 2, known: FORMAT, program, .. }) if program == "9.1.0"
    ));
    assert!(!case.target().exists());
}

#[test]
fn a_changed_entry_is_named() {
    let case = Case::new();
    let mut bytes = fs::read(&case.archive).unwrap();
    let found = bytes
        .windows(14)
        .position(|window| window == b"log = \"warn\"\n\0");
    bytes[found.unwrap() + 7] ^= 1;
    case.rewrite(&bytes);
    assert!(matches!(
        case.restore(),
        Err(BackupError::Changed { entry, .. }) if entry == "state/coordinator.toml"
    ));
    assert!(!case.target().exists());
}

#[test]
fn parts_that_contradict_each_other_are_refused() {
    let case = Case::new();
    let whole = entries(&case.archive);
    let refused = |change: Change<'_>| {
        let mut entries = whole.clone();
        change(&mut entries);
        case.rewrite(&forged(&entries));
        let error = case.restore().unwrap_err();
        assert!(!case.target().exists());
        error
    };
    let is = |room: &'static str| move |entry: &Entry| entry.0.starts_with(room);
    let at = |room| whole.iter().position(is(room)).unwrap();
    let spec = BlobHash::of(RawTask::parse(TASK).unwrap().bytes());
    let spec = PieceName::Blob(spec).to_string();
    let changes: [(&str, Change<'_>); 8] = [
        ("a blob is another", &|all| all[at("blobs/")].1.push(1)),
        ("a blob is missing", &|all| {
            all.retain(|(name, _)| *name != spec)
        }),
        ("a blob is there twice", &|all| {
            all.push(all[at("blobs/")].clone())
        }),
        ("a record is changed", &|all| all[at("log/")].1[100] ^= 1),
        ("the log is missing", &|all| {
            all.retain(|entry| !is("log/")(entry))
        }),
        ("a document is missing", &|all| {
            all.retain(|entry| !is("documents/")(entry))
        }),
        ("a name leads out", &|all| {
            all.push(("blobs/x".into(), vec![]))
        }),
        ("the head says another end", &|all| {
            let head = String::from_utf8(all[0].1.clone()).unwrap();
            all[0].1 = head.replace("\"next\":21", "\"next\":20").into_bytes();
        }),
    ];
    for (what, change) in changes {
        let error = refused(change);
        assert!(
            matches!(error, BackupError::Changed { .. }),
            "{what}: {error}"
        );
    }
    let other = Case::new();
    let others = entries(&other.archive);
    let key = others.iter().position(is("state/release-key.pem")).unwrap();
    assert!(matches!(
        refused(&|all| all[key].1 = others[key].1.clone()),
        BackupError::Keys {
            source: IdentityError::TrustRoot { .. },
            ..
        }
    ));
    assert!(matches!(
        refused(&|all| all.retain(|(name, _)| name != "state/ca-key.pem")),
        BackupError::Keys {
            source: IdentityError::Missing { .. },
            ..
        }
    ));
}

#[test]
fn a_declared_length_is_judged_before_a_byte_is_read() {
    let case = Case::new();
    let mut header = tar::Header::new_ustar();
    header.set_path("state/ca.pem").unwrap();
    header.set_size(1 << 40);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    let head = entries(&case.archive).swap_remove(0);
    let mut bytes = forged(&[head]);
    bytes.truncate(1_024);
    bytes.extend_from_slice(header.as_bytes());
    case.rewrite(&bytes);
    assert!(matches!(
        case.restore(),
        Err(BackupError::Changed { entry, .. }) if entry == "state/ca.pem"
    ));
}

#[test]
fn a_link_in_an_archive_is_refused() {
    let case = Case::new();
    let head = entries(&case.archive).swap_remove(0);
    let mut bytes = forged(&[head]);
    bytes.truncate(1_024);
    let mut header = tar::Header::new_ustar();
    header.set_path("state/ca.pem").unwrap();
    header.set_link_name("/etc/passwd").unwrap();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    header.set_cksum();
    bytes.extend_from_slice(header.as_bytes());
    case.rewrite(&bytes);
    assert!(matches!(
        case.restore(),
        Err(BackupError::Changed { entry, .. }) if entry == "state/ca.pem"
    ));
}

#[test]
fn a_restored_state_that_was_touched_is_found_out() {
    let case = Case::new();
    let restored = case.restore().unwrap();
    let blob = BlobHash::of(&[7; 5_000]).to_string();
    let path = restored
        .state
        .join("store/blobs")
        .join(&blob[..2])
        .join(&blob);
    fs::write(path, "damaged").unwrap();
    assert!(matches!(verify(&restored), Err(BackupError::Store(_))));
}

#[test]
fn the_configuration_in_use_is_part_of_the_backup() {
    let folder = tempfile::tempdir().unwrap();
    let used = folder.path().join("elsewhere.toml");
    fs::write(&used, "log = \"debug\"\n").unwrap();
    let case = Case::with(|state| {
        fs::write(state.join("audit.jsonl"), vec![b' '; (1 << 20) + 1]).unwrap();
    });
    let (files, left) = state_files(&case.state(), Some(&used)).unwrap();
    let config: Vec<_> = files
        .iter()
        .filter(|file| file.name == "coordinator.toml")
        .collect();
    assert_eq!(config.len(), 1);
    assert_eq!(config[0].bytes, b"log = \"debug\"\n");
    assert_eq!(left, ["audit.jsonl"]);
}

#[test]
fn a_deleted_task_needs_no_blob() {
    let task = RawTask::parse(TASK).unwrap();
    let spec = BlobHash::of(task.bytes());
    let without = |events: &[Event]| {
        let events = events.iter().cloned().map(|event| {
            let task = task.hash();
            LogEntry::Task(TaskEvent { task, event }).to_bytes()
        });
        let events: Vec<_> = events.collect();
        Case::with(|state| {
            let store = SledStore::open(state.join("store")).unwrap();
            let epoch = store.open_epoch().unwrap();
            store.append(epoch, None, &events).unwrap();
            store.remove_blobs(epoch, &[spec]).unwrap();
        })
    };
    let deleted = Event::Deleted { at: NOW };
    let restored = without(std::slice::from_ref(&deleted)).restore();
    assert!(restored.is_ok(), "{restored:?}");
    // It was made again, or never deleted.
    let again = [deleted, Event::TaskCreated { spec, at: NOW }];
    for events in [&again[..], &[]] {
        let restored = without(events).restore();
        let name = PieceName::Blob(spec).to_string();
        assert!(
            matches!(&restored, Err(BackupError::Changed { entry, .. }) if *entry == name),
            "{restored:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    #[test]
    fn no_changed_byte_is_restored(at in any::<prop::sample::Index>(), bit in 0..8u8) {
        let case = Case::new();
        let mut bytes = fs::read(&case.archive).unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        case.rewrite(&bytes);
        // What fills an entry up to a whole block is nobody's.
        if let Ok(restored) = case.restore() {
            prop_assert_eq!(&restored.manifest, &case.written.manifest);
            prop_assert_eq!(
                state_files(&case.target(), None).unwrap(),
                state_files(&case.state(), None).unwrap()
            );
        }
    }
}

/// What stands before a name too long for a header, or for values of other
/// lengths, is an entry that claims any length itself.
#[test]
fn long_name_headers_are_refused_unread() {
    let case = Case::new();
    for kind in [tar::EntryType::GNULongName, tar::EntryType::XHeader] {
        let mut header = tar::Header::new_gnu();
        header.set_path("././@LongLink").unwrap();
        header.set_entry_type(kind);
        header.set_size(1 << 40);
        header.set_mode(0o600);
        header.set_cksum();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(fs::read(&case.archive).unwrap());
        let bad = case.archive.with_extension("long");
        fs::write(&bad, bytes).unwrap();
        let error = check(&bad, &mut |_| {}).unwrap_err().to_string();
        assert!(error.contains("no plain file"), "{kind:?}: {error}");
    }
}

#[test]
fn a_key_is_its_owners_alone_whatever_the_archive_says() {
    let case = Case::new();
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in entries(&case.archive) {
        let mut header = tar::Header::new_ustar();
        header.set_mode(0o644);
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, &name, &bytes[..]).unwrap();
    }
    fs::write(&case.archive, tar.into_inner().unwrap()).unwrap();
    case.restore().unwrap();
    for file in &state_files(&case.target(), None).unwrap().0 {
        if file.bytes.starts_with(b"-----BEGIN PRIVATE KEY") {
            assert_eq!(file.mode & 0o077, 0, "{}", file.name);
        }
    }
}
