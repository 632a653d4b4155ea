#![allow(clippy::unwrap_used)]
use super::pointer::{COPY, POINTER};
use super::*;
use std::collections::BTreeMap;
use std::fs;

fn version(number: u64) -> Version {
    Version { epoch: 1, number }
}

/// What a folder holds.
type Image = BTreeMap<String, Vec<u8>>;

fn image(folder: &Path) -> Image {
    let names = disk::names(folder).unwrap().into_iter();
    names
        .map(|name| name.into_string().unwrap())
        .map(|name| (name.clone(), fs::read(folder.join(name)).unwrap()))
        .collect()
}

fn restore(image: &Image) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in image {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

/// Every image that an interrupted change from `before` to `after` leaves:
/// the files are replaced in this order, each by a temporary file that grows
/// and is then renamed; of its lengths, the first, the last and one between,
/// for nothing reads it. The flag says whether the change has taken effect.
fn interruptions(before: &Image, after: &Image) -> Vec<(Image, bool)> {
    let mut images = Vec::new();
    let mut state = before.clone();
    let mut done = false;
    for name in [Slot::A.name(), Slot::B.name(), POINTER, COPY] {
        let Some(bytes) = after.get(name) else {
            continue;
        };
        if before.get(name) == Some(bytes) {
            continue;
        }
        for length in [0, 1, bytes.len() / 2, bytes.len() - 1, bytes.len()] {
            let mut torn = state.clone();
            let unfinished = format!("{name}{}", disk::UNFINISHED);
            torn.insert(unfinished, bytes[..length].to_vec());
            images.push((torn, done));
        }
        state.insert(name.to_owned(), bytes.clone());
        done |= name == POINTER;
        images.push((state.clone(), done));
    }
    assert_eq!(&state, after);
    images
}

fn installed(numbers: impl IntoIterator<Item = u64>) -> (tempfile::TempDir, Slots) {
    let folder = tempfile::tempdir().unwrap();
    let mut slots = Slots::open(folder.path()).unwrap();
    for number in numbers {
        slots.install(version(number), &student(number)).unwrap();
    }
    (folder, slots)
}

fn student(number: u64) -> Vec<u8> {
    format!("student {number}").into_bytes()
}

fn held(number: u64) -> Option<(Version, Vec<u8>)> {
    Some((version(number), student(number)))
}

fn damage(folder: &Path, name: &str) {
    let path = folder.join(name);
    let mut bytes = fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(&path, bytes).unwrap();
}

#[test]
fn the_newest_student_is_used_and_the_one_before_is_kept() {
    let (folder, slots) = installed([]);
    assert_eq!(slots.current().unwrap(), None);
    assert_eq!(slots.previous(), None);
    assert_eq!(slots.highest_seen(), None);
    assert_eq!(slots.list(), []);
    drop((folder, slots));
    let (folder, slots) = installed(1..=5);
    for slots in [slots, Slots::open(folder.path()).unwrap()] {
        assert_eq!(slots.current().unwrap(), held(5));
        assert_eq!(slots.previous(), held(4));
        assert_eq!(slots.highest_seen(), Some(version(5)));
        let listed: Vec<_> = slots
            .list()
            .iter()
            .map(|info| (info.version.number, info.is_current, info.is_whole))
            .collect();
        assert_eq!(listed, [(5, true, true), (4, false, true)]);
    }
}

#[test]
fn an_interrupted_install_leaves_the_old_or_the_new() {
    for numbers in 0..=3 {
        let (folder, mut slots) = installed(1..=numbers);
        let before = image(folder.path());
        slots.install(version(9), &student(9)).unwrap();
        let after = image(folder.path());
        for (left, done) in interruptions(&before, &after) {
            let folder = restore(&left);
            let mut slots = Slots::open(folder.path()).unwrap();
            let old = if numbers == 0 { None } else { held(numbers) };
            let expected = if done { held(9) } else { old };
            assert_eq!(slots.current().unwrap(), expected);
            slots.install(version(9), &student(9)).unwrap();
            assert_eq!(slots.current().unwrap(), held(9));
            assert_eq!(image(folder.path())[POINTER], after[POINTER]);
        }
    }
}

#[test]
fn an_interrupted_rollback_leaves_either_in_use() {
    let (folder, mut slots) = installed(1..=2);
    let before = image(folder.path());
    assert_eq!(slots.rollback().unwrap(), version(1));
    let after = image(folder.path());
    for (left, done) in interruptions(&before, &after) {
        let folder = restore(&left);
        let slots = Slots::open(folder.path()).unwrap();
        let (current, previous) = if done { (1, 2) } else { (2, 1) };
        assert_eq!(slots.current().unwrap(), held(current));
        assert_eq!(slots.previous(), held(previous));
        assert_eq!(slots.highest_seen(), Some(version(2)));
    }
}

#[test]
fn an_install_replaces_only_the_damaged_student() {
    let (folder, mut slots) = installed(1..=2);
    damage(folder.path(), Slot::B.name());
    assert_eq!(slots.current().unwrap(), held(1));
    let before = image(folder.path());
    slots.install(version(3), &student(3)).unwrap();
    let after = image(folder.path());
    assert_eq!(slots.current().unwrap(), held(3));
    assert_eq!(slots.previous(), held(1));
    for (left, done) in interruptions(&before, &after) {
        let folder = restore(&left);
        let slots = Slots::open(folder.path()).unwrap();
        assert_eq!(slots.current().unwrap(), held(if done { 3 } else { 1 }));
    }
}

#[test]
fn a_damaged_student_is_written_again_or_reported() {
    let (folder, mut slots) = installed(1..=2);
    damage(folder.path(), Slot::A.name());
    assert_eq!(slots.previous(), None);
    let error = slots.rollback().unwrap_err();
    assert!(matches!(error, SlotsError::NoPrevious(_)), "{error}");
    assert_eq!(slots.current().unwrap(), held(2));
    damage(folder.path(), Slot::B.name());
    let error = slots.current().unwrap_err();
    assert!(
        matches!(error, SlotsError::Damaged { version: at, .. } if at == version(2)),
        "{error}"
    );
    slots.install(version(2), &student(2)).unwrap();
    assert_eq!(slots.current().unwrap(), held(2));
}

#[test]
fn versions_never_go_down_but_by_a_local_rollback() {
    let (folder, mut slots) = installed([3, 5]);
    let refused = |slots: &mut Slots, number| {
        let error = slots
            .install(version(number), &student(number))
            .unwrap_err();
        assert_eq!(slots.highest_seen(), Some(version(5)));
        error
    };
    let older = refused(&mut slots, 4);
    assert!(matches!(older, SlotsError::Older { floor, .. } if floor == version(5)));
    assert_eq!(slots.rollback().unwrap(), version(3));
    let mut slots = Slots::open(folder.path()).unwrap();
    assert_eq!(slots.current().unwrap(), held(3));
    assert!(matches!(refused(&mut slots, 4), SlotsError::Older { .. }));
    assert!(matches!(refused(&mut slots, 5), SlotsError::Held { .. }));
    assert_eq!(slots.rollback().unwrap(), version(5));
    let other = slots.install(version(5), b"other bytes").unwrap_err();
    assert!(matches!(other, SlotsError::Held { .. }));
    let next = Version {
        epoch: 2,
        number: 1,
    };
    slots.install(next, b"new epoch").unwrap();
    assert_eq!(
        slots.current().unwrap(),
        Some((next, b"new epoch".to_vec()))
    );
}

#[test]
fn a_release_that_was_not_kept_still_raises_the_floor() {
    let (folder, mut slots) = installed([1]);
    slots.note(version(7)).unwrap();
    slots.note(version(6)).unwrap();
    let mut slots = Slots::open(folder.path()).unwrap();
    assert_eq!(slots.highest_seen(), Some(version(7)));
    let error = slots.install(version(6), &student(6)).unwrap_err();
    assert!(matches!(error, SlotsError::Older { .. }));
    slots.install(version(7), &student(7)).unwrap();
    assert_eq!(slots.current().unwrap(), held(7));
}

#[test]
fn slots_are_opened_while_others_install() {
    use std::sync::atomic::{AtomicBool, Ordering};

    let (folder, mut slots) = installed(1..=1);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    Slots::open(folder.path()).unwrap();
                }
            });
        }
        for number in 2..=80 {
            let installed = slots.install(version(number), &student(number));
            if installed.is_err() {
                done.store(true, Ordering::Relaxed);
            }
            installed.unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(
        Slots::open(folder.path()).unwrap().current().unwrap(),
        held(80)
    );
    let image = image(folder.path());
    assert_eq!(image[POINTER], image[COPY]);
}

#[test]
fn a_damaged_pointer_is_restored_from_its_copy() {
    for name in [POINTER, COPY] {
        let (folder, _) = installed(1..=2);
        damage(folder.path(), name);
        let slots = Slots::open(folder.path()).unwrap();
        assert_eq!(slots.current().unwrap(), held(2));
        let image = image(folder.path());
        assert_eq!(image[POINTER], image[COPY]);
    }
    let (folder, _) = installed(1..=2);
    damage(folder.path(), POINTER);
    damage(folder.path(), COPY);
    let error = Slots::open(folder.path()).unwrap_err();
    assert!(matches!(error, SlotsError::Pointer(_)), "{error}");
}
