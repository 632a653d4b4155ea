#![allow(clippy::unwrap_used)]

use std::fs;
use std::time::Duration;

use super::super::tests::schema;
use super::listing::REST;
use super::*;

struct Bench {
    root: tempfile::TempDir,
    folder: Folder,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::new(root.path(), schema());
        Self { root, folder }
    }

    fn write(&self, name: &str, rows: &[&str]) {
        let text = format!("a,b,label\n{}\n", rows.join("\n"));
        fs::write(self.root.path().join(name), text).unwrap();
    }

    /// Dates all files so far back that they count as settled.
    fn settle(&self) {
        let past = SystemTime::now() - Duration::from_secs(3600);
        for entry in fs::read_dir(self.root.path()).unwrap() {
            let file = fs::File::options().append(true).open(entry.unwrap().path());
            file.unwrap().set_modified(past).unwrap();
        }
    }

    fn first_values(&self) -> Vec<f32> {
        self.folder.dataset().inputs().column(0).to_vec()
    }
}

#[test]
fn missing_folder_is_named() {
    let mut folder = Folder::new("/nonexistent/data", schema());
    let error = folder.scan().unwrap_err();
    assert!(matches!(error, FolderError::Missing { .. }));
    assert!(error.to_string().contains("/nonexistent/data"));
    assert!(folder.dataset().is_empty());
}

/// Root reads everything, so there is nothing to show to it.
#[test]
fn a_folder_and_a_file_that_may_not_be_read_are_named() {
    use std::fs::{Permissions, read_dir, set_permissions};
    use std::os::unix::fs::PermissionsExt;

    let mut bench = Bench::new();
    bench.write("good.csv", &["1,2,cat", "3,4,cat"]);
    bench.write("closed.csv", &["5,6,cat"]);
    bench.settle();
    let folder = bench.root.path().to_owned();
    let file = folder.join("closed.csv");
    set_permissions(&file, Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&file).is_ok() {
        eprintln!("SKIPPED: this user may read every file");
        return;
    }
    let scan = bench.folder.scan().unwrap();
    assert_eq!(scan.quarantined.len(), 1);
    assert!(scan.quarantined[0].path.ends_with("closed.csv"));
    assert_eq!(bench.first_values(), [1.0, 3.0]);

    set_permissions(&folder, Permissions::from_mode(0o000)).unwrap();
    let listed = read_dir(&folder).is_ok();
    let error = bench.folder.scan().unwrap_err().to_string();
    set_permissions(&folder, Permissions::from_mode(0o700)).unwrap();
    assert!(
        !listed && error.contains(folder.to_str().unwrap()),
        "{error}"
    );
}

#[test]
fn file_in_place_of_the_folder_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let error = Folder::new(file.path(), schema()).scan().unwrap_err();
    assert!(matches!(error, FolderError::NotAFolder { .. }));
}

#[test]
fn empty_folder_and_header_only_files_hold_no_rows() {
    let mut bench = Bench::new();
    let error = bench.folder.scan().unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("put files ending in .csv, .npz or .npy there")
    );
    fs::write(bench.root.path().join("a.csv"), "a,b,label\n").unwrap();
    let error = bench.folder.scan().unwrap_err();
    assert!(matches!(error, FolderError::NoRows { .. }));
    assert!(
        error
            .to_string()
            .ends_with("its files have a header and nothing else")
    );
}

#[test]
fn files_that_are_no_data_are_named_for_what_they_are() {
    let mut bench = Bench::new();
    let put = |name: &str, bytes: &[u8]| fs::write(bench.root.path().join(name), bytes).unwrap();
    put("a.csv.bz2", b"BZh91AY&SY");
    let error = bench.folder.scan().unwrap_err().to_string();
    assert!(
        error.ends_with("a.csv.bz2: it is packed by bzip2; unpack it, or pack it by gzip or zstd"),
        "{error}"
    );
    fs::remove_file(bench.root.path().join("a.csv.bz2")).unwrap();
    put("a.pq", b"PAR1\x15");
    put("b.pq", b"PAR1\x15");
    let error = bench.folder.scan().unwrap_err().to_string();
    let told = "a.pq and 1 more: it is a Parquet file; let its name end in .parquet";
    assert!(error.ends_with(told), "{error}");
}

#[test]
fn what_has_the_name_of_data_and_is_no_file_is_named() {
    let mut bench = Bench::new();
    let path = |name: &str| bench.root.path().join(name);
    fs::write(path("a.csv"), "a,b,label\n1,2,0\n").unwrap();
    fs::create_dir(path("b.csv")).unwrap();
    std::os::unix::fs::symlink(path("nothing"), path("c.csv")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(path("d.csv")).unwrap();
    let scan = bench.folder.scan().unwrap();
    drop(socket);
    let told: Vec<String> = { scan.quarantined.iter() }
        .map(|one| one.error.to_string())
        .collect();
    assert_eq!(told.len(), 3, "{told:?}");
    for (told, said) in told
        .iter()
        .zip(["is a folder", "link to a file", "is a pipe, a socket"])
    {
        assert!(told.contains(said), "{told}");
    }
    let names = Folder::names(bench.root.path(), &Mapping::default()).unwrap();
    assert_eq!(names, ["a.csv"]);
}

#[test]
fn bad_file_is_named_and_the_others_are_used() {
    let mut bench = Bench::new();
    bench.write("good.csv", &["1,2,cat"]);
    bench.write("bad.csv", &["1,2,cat", "x,2,cat"]);
    let scan = bench.folder.scan().unwrap();
    assert_eq!(scan.files.len(), 1);
    assert_eq!(scan.quarantined.len(), 1);
    assert!(scan.quarantined[0].path.ends_with("bad.csv"));
    assert!(
        scan.quarantined[0]
            .error
            .to_string()
            .starts_with("line 3, column \"a\"")
    );
    assert_eq!(bench.first_values(), [1.0]);
    bench.write("bad.csv", &["7,2,cat"]);
    let scan = bench.folder.scan().unwrap();
    assert!(scan.quarantined.is_empty());
    assert_eq!(bench.first_values(), [7.0, 1.0]);
}

#[test]
fn folder_of_bad_files_only_holds_no_rows_and_says_why() {
    let mut bench = Bench::new();
    bench.write("a.csv", &["x,2,cat"]);
    bench.write("b.csv", &["1,2,cow"]);
    let error = bench.folder.scan().unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("a.csv: line 2") && text.contains("1 more file"),
        "{text}"
    );
    assert!(matches!(error, FolderError::NoRows { quarantined, .. } if quarantined.len() == 2));
}

#[test]
fn files_are_read_in_the_order_of_their_names() {
    let mut bench = Bench::new();
    bench.write("c.csv", &["3,0,cat"]);
    bench.write("a.csv", &["1,0,cat"]);
    bench.write("b.csv", &["2,0,cat"]);
    bench.folder.scan().unwrap();
    assert_eq!(bench.first_values(), [1.0, 2.0, 3.0]);
}

#[test]
fn same_content_counts_once() {
    let mut bench = Bench::new();
    bench.write("a.csv", &["1,0,cat"]);
    bench.write("b.csv", &["1,0,cat"]);
    let scan = bench.folder.scan().unwrap();
    assert_eq!(scan.files.len(), 1);
    assert_eq!(scan.duplicates, [bench.root.path().join("b.csv")]);
    assert_eq!(bench.folder.dataset().rows(), 1);
    fs::remove_file(bench.root.path().join("a.csv")).unwrap();
    let scan = bench.folder.scan().unwrap();
    assert!(scan.duplicates.is_empty());
    assert_eq!(bench.folder.dataset().rows(), 1);
}

#[test]
fn only_changed_files_are_read() {
    let mut bench = Bench::new();
    bench.write("a.csv", &["1,0,cat"]);
    bench.settle();
    assert!(bench.folder.scan().unwrap().changed);
    // Same length and time: by its stamp the file is what it was.
    bench.write("a.csv", &["5,0,cat"]);
    bench.settle();
    let stamp = bench.folder.files.values().next().unwrap().stamp;
    let file = fs::File::options()
        .append(true)
        .open(bench.root.path().join("a.csv"))
        .unwrap();
    file.set_modified(stamp.modified).unwrap();
    assert!(!bench.folder.scan().unwrap().changed);
    assert_eq!(bench.first_values(), [1.0]);
    file.set_modified(stamp.modified + Duration::from_secs(1))
        .unwrap();
    assert!(bench.folder.scan().unwrap().changed);
    assert_eq!(bench.first_values(), [5.0]);
    bench.write("b.csv", &["6,0,cat"]);
    assert!(bench.folder.scan().unwrap().changed);
    assert_eq!(bench.first_values(), [5.0, 6.0]);
    fs::remove_file(bench.root.path().join("a.csv")).unwrap();
    assert!(bench.folder.scan().unwrap().changed);
    assert_eq!(bench.first_values(), [6.0]);
}

#[test]
fn file_that_changed_just_now_is_read_again() {
    let mut bench = Bench::new();
    bench.write("a.csv", &["1,0,cat"]);
    let modified = SystemTime::now();
    let set = || {
        let file = fs::File::options()
            .append(true)
            .open(bench.root.path().join("a.csv"));
        file.unwrap().set_modified(modified).unwrap();
    };
    set();
    bench.folder.scan().unwrap();
    bench.write("a.csv", &["2,0,cat"]);
    set();
    assert!(bench.folder.scan().unwrap().changed);
    assert!(!bench.folder.scan().unwrap().changed);
    assert_eq!(bench.first_values(), [2.0]);
}

#[test]
fn hidden_files_and_other_endings_are_ignored() {
    let mut bench = Bench::new();
    bench.write("a.csv", &["1,0,cat"]);
    bench.write(".b.csv", &["x"]);
    bench.write("c.csv.part", &["x"]);
    fs::create_dir(bench.root.path().join("d")).unwrap();
    let scan = bench.folder.scan().unwrap();
    assert_eq!((scan.files.len(), scan.quarantined.len()), (1, 0));
}

#[test]
fn blocks_of_a_split_do_not_span_files() {
    let mut bench = Bench::new();
    for file in 0..40 {
        let rows: Vec<String> = (0..10).map(|row| format!("{file},{row},cat")).collect();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        bench.write(&format!("{file:02}.csv"), &rows);
    }
    bench.folder.scan().unwrap();
    assert_eq!(bench.folder.dataset().rows(), 400);
    let split = bench.folder.into_split(SplitRule::default());
    let files = |data: &Dataset| -> BTreeSet<u32> {
        data.inputs()
            .column(0)
            .iter()
            .map(|&file| file as u32)
            .collect()
    };
    let (training, held_out) = (files(&split.training), files(&split.held_out));
    assert!(training.is_disjoint(&held_out));
    assert!(!held_out.is_empty());
    assert_eq!(training.len() + held_out.len(), 40);
}

#[test]
fn of_more_rows_than_are_held_a_sample_of_all_files_is() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, rows: std::ops::Range<usize>| {
        let label = |row: usize| if row.is_multiple_of(4) { "dog" } else { "cat" };
        let rows = rows.map(|row| format!("{row},{},{}\n", row * row % 97, label(row)));
        let text = format!("a,b,label\n{}", rows.collect::<String>());
        fs::write(root.path().join(name), text).unwrap();
    };
    write("a.csv", 0..900);
    write("b.csv", 900..1_000);
    write("c.csv", 1_000..3_000);
    let rule = SplitRule::default();
    let read = |schema: Schema| {
        let mut folder = Folder::new(root.path(), schema);
        let scan = folder.scan().unwrap();
        let files: Vec<usize> = scan.files.iter().map(|file| file.rows).collect();
        (files, folder.into_split(rule))
    };
    let (_, whole) = read(schema());
    let (files, sampled) = read(schema().with_held_max(400, 1_000));
    assert_eq!(files, [900, 100, 2_000]);
    assert!(whole.stands_for.is_none());
    let held = sampled.training.rows() + sampled.held_out.rows();
    assert!((195..=200).contains(&held), "{held}");
    let told = sampled.stands_for.unwrap();
    assert_eq!(told.rows(), whole.training.rows() as u64);
    let classes = schema().classes().names().len();
    for (class, rows) in (0..).zip(whole.training.class_counts(classes)) {
        let held = sampled.training.class_counts(classes)[usize::from(class)];
        assert_eq!(told.told(Some(class), held), rows);
    }
    // No row changes its side.
    let first = |data: &Dataset| -> BTreeSet<u32> {
        data.inputs()
            .column(0)
            .iter()
            .map(|&value| value as u32)
            .collect()
    };
    assert!(first(&sampled.training).is_subset(&first(&whole.training)));
    assert!(first(&sampled.held_out).is_subset(&first(&whole.held_out)));
}

#[test]
fn an_unfinished_line_counts_once_it_is_complete() {
    let mut bench = Bench::new();
    let path = bench.root.path().join("a.csv");
    fs::write(&path, "a,b,label\n1,0,cat\n5,2.0").unwrap();
    let scan = bench.folder.scan().unwrap();
    assert_eq!(scan.files[0].notes, [Note::Unfinished { line: 3 }]);
    assert_eq!(bench.first_values(), [1.0]);
    fs::write(&path, "a,b,label\n1,0,cat\n5,2.04,").unwrap();
    bench.folder.scan().unwrap();
    assert_eq!(bench.first_values(), [1.0]);
    let past = SystemTime::now() - REST - Duration::from_secs(60);
    let file = fs::File::options().append(true).open(&path).unwrap();
    file.set_modified(past).unwrap();
    let scan = bench.folder.scan().unwrap();
    assert!(scan.changed && scan.files[0].notes.is_empty());
    assert_eq!(bench.first_values(), [1.0, 5.0]);
}

#[test]
fn reordered_columns_are_read_by_name() {
    let mut bench = Bench::new();
    bench.write("a.csv", &["1,2,cat", "3,4,dog"]);
    let write = |name: &str, text: &str| fs::write(bench.root.path().join(name), text).unwrap();
    write("b.csv", "label,b,a\ncat,6,5\n");
    // Other names say nothing of an order.
    write("c.csv", "x,a,label\n7,8,cat\n");
    let scan = bench.folder.scan().unwrap();
    assert_eq!(bench.first_values(), [1.0, 3.0, 5.0, 7.0]);
    let notes: Vec<&Note> = scan.files.iter().flat_map(|file| &file.notes).collect();
    assert_eq!(notes, [&Note::Reordered]);
    assert!(scan.files[1].path.ends_with("b.csv") && Note::Reordered.is_warning());
}
