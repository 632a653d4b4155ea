//! A store in PostgreSQL, of which a network, other coordinators and a server
//! that restarts are part: what is acknowledged is there, what is fenced
//! changes nothing, and what goes wrong says what to do.
#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use common::ids::{BlobHash, Time};
use common::task::RawTask;
use coordinator::backup::{BackupError, relocate};
use coordinator::journal::LogEntry;
use coordinator::round::{Event, TaskEvent};
use coordinator::store::{
    DatabaseError, DatabaseMetrics, DatabaseSettings, DatabaseUrl, Epoch, Password, Position,
    PostgresOptions, PostgresStore, Secret, Store, StoreError, StorePlace, StoreSettings, examine,
};
use rand::Rng as _;
use tempfile::TempDir;
use tests::database::{Cluster, settings};
use tests::rig::look_until;

/// A coordinator's side of a database.
struct Node {
    folder: TempDir,
    url: String,
}

impl Node {
    fn new(url: &str) -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            url: url.to_owned(),
        }
    }

    fn open(&self) -> Result<PostgresStore, StoreError> {
        PostgresStore::open(PostgresOptions::new(settings(&self.url), self.memory()))
    }

    fn memory(&self) -> PathBuf {
        self.folder.path().join("postgres")
    }

    fn begin(&self) -> (PostgresStore, Epoch) {
        let store = self.open().unwrap();
        let epoch = store.open_epoch().unwrap();
        (store, epoch)
    }
}

fn database_error<T>(outcome: Result<T, StoreError>) -> DatabaseError {
    match outcome {
        Err(StoreError::Database(error)) => error,
        Err(other) => panic!("another error: {other}"),
        Ok(_) => panic!("it was done"),
    }
}

#[test]
fn what_stands_in_the_way_says_itself_what_to_do() {
    let Some(cluster) = Cluster::start("fsync = off") else {
        return;
    };
    let url = cluster.url();
    let refused = |url: &str| database_error(Node::new(url).open());

    let missing = refused(&url.replace("/postgres?", "/nowhere?"));
    assert!(matches!(&missing, DatabaseError::Missing { database, .. } if database == "nowhere"));
    assert!(missing.to_string().contains("CREATE DATABASE nowhere"));

    let read_only = url.clone() + "%20-cdefault_transaction_read_only%3Don";
    assert!(matches!(
        refused(&read_only),
        DatabaseError::ReadOnly { .. }
    ));

    let nobody = format!("postgresql://alambic@/postgres?host={}", "/nonexistent");
    let nobody = refused(&nobody);
    assert!(matches!(&nobody, DatabaseError::Unreachable { address, .. }
        if address == "/nonexistent/.s.PGSQL.5432"));
    assert!(nobody.to_string().contains("store.url"), "{nobody}");

    drop(Node::new(&url).begin());
    cluster
        .ask("UPDATE store0.alambic_schema SET version = 99")
        .unwrap();
    assert!(matches!(
        refused(&url),
        DatabaseError::Newer { found: 99, .. }
    ));

    cluster.ask("CREATE ROLE guest LOGIN").unwrap();
    let guest = refused(&cluster.url().replace("alambic@", "guest@"));
    assert!(matches!(&guest, DatabaseError::Privilege { .. }), "{guest}");
}

#[test]
fn a_password_is_asked_for_and_read_from_its_file() {
    let Some(mut cluster) = Cluster::start("fsync = off") else {
        return;
    };
    cluster
        .ask("CREATE ROLE keeper LOGIN PASSWORD 'r1ght'; CREATE SCHEMA AUTHORIZATION keeper")
        .unwrap();
    let rules = "local all alambic trust\nlocal all all scram-sha-256\n";
    std::fs::write(cluster.data().join("pg_hba.conf"), rules).unwrap();
    cluster.kill();
    cluster.resume();
    let url = cluster.url_of("keeper").replace("alambic@", "keeper@");
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("password");
    std::fs::write(&file, "r1ght\n").unwrap();
    let open = |password| {
        let database = DatabaseSettings {
            password,
            ..settings(&url)
        };
        PostgresStore::open(PostgresOptions::new(
            database,
            folder.path().join("postgres"),
        ))
    };
    for wrong in [Password::None, Password::Given(Secret("wr0ng".into()))] {
        let error = database_error(open(wrong));
        assert!(matches!(&error, DatabaseError::Denied { user, .. } if user == "keeper"));
        let text = error.to_string();
        assert!(
            text.contains("store.password_file") && !text.contains("wr0ng"),
            "{text}"
        );
    }
    let store = open(Password::File(file)).unwrap();
    assert_eq!(store.open_epoch().unwrap(), Epoch(1));
}

#[test]
fn a_server_over_the_network_without_tls_is_not_spoken_to() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let lines = format!("fsync = off\nlisten_addresses = '127.0.0.1'\nport = {port}");
    let Some(cluster) = Cluster::start(&lines) else {
        return;
    };
    cluster.ask("SELECT 1").unwrap();
    let url = format!("postgresql://alambic@127.0.0.1:{port}/postgres");
    let error = database_error(Node::new(&url).open());
    assert!(matches!(&error, DatabaseError::Tls { .. }), "{error}");
    let clear = Node::new(&(url + "?sslmode=disable"));
    assert_eq!(clear.begin().1, Epoch(1));
}

#[test]
fn opening_the_next_epoch_fences_other_writers() {
    let Some(cluster) = Cluster::start("fsync = off") else {
        return;
    };
    let url = cluster.url();
    let (one, two) = (Node::new(&url), Node::new(&url));
    let (old, before) = one.begin();
    old.append(before, None, &[b"a".to_vec()]).unwrap();
    let blob = old.put_blob(b"blob").unwrap();
    let (new, epoch) = two.begin();
    assert!(epoch > before);
    let fenced = |error| matches!(error, Err(StoreError::Fenced { newest, .. }) if newest == epoch);
    assert!(fenced(
        old.append(before, Some(Position(1)), &[b"b".to_vec()])
            .map(drop)
    ));
    assert!(fenced(old.put_document(before, "snapshot", b"late")));
    assert!(fenced(old.remove_blob(before, blob).map(drop)));
    assert!(fenced(old.trim(before, Position(1))));
    new.append(epoch, Some(Position(1)), &[b"c".to_vec()])
        .unwrap();
    // What it knew of the log's end is old, and it is fenced all the same.
    assert!(fenced(old.append(before, None, &[b"d".to_vec()]).map(drop)));
    let bytes: Vec<_> = new
        .read(Position(0), 9)
        .unwrap()
        .into_iter()
        .map(|it| it.bytes)
        .collect();
    assert_eq!(bytes, [b"a".to_vec(), b"c".to_vec()]);
    assert!(new.has_blob(blob).unwrap() && new.document("snapshot").unwrap().is_none());
    new.verify().unwrap();
}

#[test]
fn competing_writers_lose_nothing_acknowledged() {
    let Some(cluster) = Cluster::start("fsync = off") else {
        return;
    };
    let url = cluster.url();
    let write = |writer: u8| {
        let node = Node::new(&url);
        let store = node.open().unwrap();
        let mut told = Vec::new();
        for turn in 0..12u8 {
            let epoch = store.open_epoch().unwrap();
            for number in 0..20u8 {
                let event = vec![writer, turn, number];
                match store.append(epoch, None, std::slice::from_ref(&event)) {
                    Ok(next) => told.push((Position(next.0 - 1), epoch, event)),
                    Err(StoreError::Fenced { .. }) => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
        told
    };
    let told = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..3)
            .map(|writer| scope.spawn(move || write(writer)))
            .collect();
        writers
            .into_iter()
            .flat_map(|it| it.join().unwrap())
            .collect::<Vec<_>>()
    });
    let (store, _) = Node::new(&url).begin();
    assert_eq!(store.verify().unwrap().next, Position(told.len() as u64));
    let mut newest = Epoch(0);
    for (position, epoch, event) in &told {
        let record = store.read(*position, 1).unwrap().remove(0);
        assert_eq!((record.epoch, &record.bytes), (*epoch, event));
    }
    for record in store.read(Position(0), 1_000).unwrap() {
        assert!(
            record.epoch >= newest,
            "an older writer wrote after a newer one"
        );
        newest = record.epoch;
    }
    assert!(newest > Epoch(3), "they took it from one another");
}

/// Keeps the log's row locked until it is dropped.
struct Holder(Child);

impl Holder {
    fn hold(cluster: &Cluster, schema: &str) -> Self {
        let mut psql = Command::new("psql");
        psql.env("PGHOST", cluster.socket()).args([
            "--username=alambic",
            "--dbname=postgres",
            "--no-psqlrc",
            "-qAt",
        ]);
        let mut child = psql
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let lock = format!("BEGIN; SELECT 1 FROM {schema}.alambic_log FOR UPDATE;\n");
        child
            .stdin
            .as_mut()
            .unwrap()
            .write_all(lock.as_bytes())
            .unwrap();
        let held = "SELECT count(*) FROM pg_stat_activity WHERE state = 'idle in transaction'";
        look_until(
            || cluster.ask(held).unwrap() == "1",
            || "no lock is held".to_owned(),
        );
        Self(child)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_unanswered_append_stops_the_writer() {
    let Some(cluster) = Cluster::start("fsync = off") else {
        return;
    };
    let url = cluster.url();
    let node = Node::new(&url);
    let (store, epoch) = node.begin();
    store.append(epoch, None, &[b"kept".to_vec()]).unwrap();
    let blob = store.put_blob(b"blob").unwrap();
    let holder = Holder::hold(&cluster, "store0");
    let outcome = std::thread::scope(|scope| {
        let append = scope.spawn(|| store.append(epoch, None, &[b"unknown".to_vec()]));
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        look_until(
            || cluster.ask(waiting).unwrap() == "1",
            || "it does not wait".to_owned(),
        );
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE wait_event_type = 'Lock'";
        cluster.ask(end).unwrap();
        append.join().unwrap()
    });
    drop(holder);
    assert!(matches!(
        database_error(outcome),
        DatabaseError::Lost { .. }
    ));
    let stopped = |error| matches!(error, Err(StoreError::Stopped { .. }));
    assert!(stopped(
        store.append(epoch, None, &[b"more".to_vec()]).map(drop)
    ));
    assert!(stopped(store.remove_blob(epoch, blob).map(drop)));
    assert!(stopped(store.put_document(epoch, "snapshot", b"x")));
    assert!(stopped(store.open_epoch().map(drop)));
    // Reading, and keeping what nothing names yet, go on.
    assert_eq!(store.blob(blob).unwrap().unwrap(), b"blob");
    store.put_blob(b"another").unwrap();
    drop(store);
    let (store, epoch) = node.begin();
    assert_eq!(store.read(Position(0), 9).unwrap().len(), 1);
    store
        .append(epoch, Some(Position(1)), &[b"more".to_vec()])
        .unwrap();
    store.verify().unwrap();
}

#[test]
fn a_killed_server_loses_nothing_acknowledged() {
    let Some(mut cluster) = Cluster::start("") else {
        return;
    };
    let url = cluster.url();
    let node = Node::new(&url);
    let mut told: Vec<(Position, Vec<u8>)> = Vec::new();
    let mut blobs: Vec<BlobHash> = Vec::new();
    let mut random = common::math::random::rng(1, "database kills");
    for life in 0..KILLS {
        let (store, epoch) = node.begin();
        let begun = store.head().unwrap().next;
        let appends = random.random_range(1..40u8);
        let ended = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for number in 0u32.. {
                    if ended.load(Ordering::Relaxed) {
                        break;
                    }
                    let event = [&life.to_le_bytes()[..], &number.to_le_bytes()].concat();
                    match store.put_blob(&event) {
                        Ok(blob) => blobs.push(blob),
                        Err(_) => break,
                    }
                    match store.append(epoch, None, std::slice::from_ref(&event)) {
                        Ok(next) => told.push((Position(next.0 - 1), event)),
                        Err(_) => break,
                    }
                }
            });
            let grown =
                format!("SELECT next_position >= {begun} + {appends} FROM store0.alambic_log");
            look_until(
                || cluster.ask(&grown).unwrap() == "t",
                || "it does not grow".to_owned(),
            );
            cluster.kill();
            ended.store(true, Ordering::Relaxed);
            writer.join().unwrap();
        });
        drop(store);
        cluster.resume();
    }
    let (store, epoch) = node.begin();
    store.verify().unwrap();
    for (position, event) in &told {
        assert_eq!(&store.read(*position, 1).unwrap()[0].bytes, event);
    }
    for blob in &blobs {
        assert!(store.blob(*blob).unwrap().is_some());
    }
    println!(
        "{KILLS} kills, {} appends and {} blobs held",
        told.len(),
        blobs.len()
    );
    assert!(told.len() >= KILLS as usize && epoch == Epoch(KILLS + 1));
}

const KILLS: u32 = 8;

#[test]
fn a_restart_between_calls_goes_unnoticed() {
    let Some(mut cluster) = Cluster::start("") else {
        return;
    };
    let (store, epoch) = Node::new(&cluster.url()).begin();
    store.append(epoch, None, &[b"before".to_vec()]).unwrap();
    cluster.kill();
    cluster.resume();
    assert_eq!(store.head().unwrap().next, Position(1));
    store
        .append(epoch, Some(Position(1)), &[b"after".to_vec()])
        .unwrap();
    store.verify().unwrap();
}

#[test]
fn a_database_set_back_is_refused_until_consent() {
    let Some(cluster) = Cluster::start("fsync = off") else {
        return;
    };
    let node = Node::new(&cluster.url());
    let (store, epoch) = node.begin();
    let events: Vec<_> = (0..5u8).map(|number| vec![number]).collect();
    store.append(epoch, None, &events[..3]).unwrap();
    let early = "SELECT format('UPDATE store0.alambic_log SET next_position = %s, \
                 head_hash = %L', next_position, head_hash) FROM store0.alambic_log";
    let early = cluster.ask(early).unwrap();
    store.append(epoch, None, &events[3..]).unwrap();
    drop(store);
    // As a replica that was behind, or a base backup, would have it.
    let back = format!("{early}; DELETE FROM store0.alambic_events WHERE position >= 3");
    cluster.ask(&back).unwrap();
    match node.open().map(drop) {
        Err(StoreError::Behind {
            expected, found, ..
        }) => {
            assert_eq!((expected, found), (Position(5), Position(3)));
        }
        other => panic!("{other:?}"),
    }
    std::fs::write(node.memory().join("accept-loss"), "").unwrap();
    cluster
        .ask("UPDATE store0.alambic_log SET epoch = 0")
        .unwrap();
    let (store, next) = node.begin();
    // The epoch that was seen is not given twice.
    assert_eq!(next, Epoch(epoch.0 + 1));
    store
        .append(next, Some(Position(3)), &[b"on".to_vec()])
        .unwrap();
    drop(store);
    node.begin().0.verify().unwrap();
}

#[test]
fn damage_in_the_tables_is_found_and_named() {
    let Some(cluster) = Cluster::start("fsync = off") else {
        return;
    };
    let (store, epoch) = Node::new(&cluster.url()).begin();
    store
        .append(epoch, None, &[vec![1; 40], vec![2; 40], vec![3; 40]])
        .unwrap();
    let blob = store.put_blob(&[7; 600_000]).unwrap();
    store
        .put_document(epoch, "snapshot", &[8; 600_000])
        .unwrap();
    let flip = |table: &str, column: &str, row: &str| {
        let sql = format!(
            "UPDATE store0.{table} SET {column} = set_byte({column}, 99, \
             get_byte({column}, 99) # 1) WHERE {row}"
        );
        cluster.ask(&sql).unwrap();
    };
    flip("alambic_events", "record", "position = 1");
    assert!(matches!(
        store.read(Position(0), 9),
        Err(StoreError::Corrupted {
            position: Position(1),
            ..
        })
    ));
    assert!(store.verify().is_err());
    flip("alambic_blobs", "data", "part = 1");
    assert!(matches!(
        store.blob(blob),
        Err(StoreError::BlobDamaged { .. })
    ));
    assert_eq!(store.put_blob(&[7; 600_000]).unwrap(), blob);
    assert_eq!(store.blob(blob).unwrap().unwrap(), [7; 600_000]);
    flip("alambic_document_parts", "data", "part = 1");
    assert!(matches!(
        store.document("snapshot"),
        Err(StoreError::DocumentDamaged { .. })
    ));
    flip("alambic_events", "record", "position = 1");
    cluster
        .ask("DELETE FROM store0.alambic_events WHERE position = 2")
        .unwrap();
    assert!(matches!(
        store.read(Position(2), 9),
        Err(StoreError::Corrupted {
            position: Position(2),
            ..
        })
    ));
}

/// A log that folds to a state, blobs and documents, some in many parts.
fn fill(store: &dyn Store) {
    let text = "name = \"moves\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]";
    let task = RawTask::parse(text).unwrap();
    let spec = store.put_blob(task.bytes()).unwrap();
    let epoch = store.open_epoch().unwrap();
    let created = LogEntry::Task(TaskEvent {
        task: task.hash(),
        event: Event::TaskCreated { spec, at: Time(7) },
    });
    store.append(epoch, None, &[created.to_bytes()]).unwrap();
    store.put_blob(b"").unwrap();
    let long: Vec<u8> = (0..9_000_000u32).map(|at| (at % 251) as u8).collect();
    store.put_blob(&long).unwrap();
    store
        .put_document(epoch, "notes", &long[..700_000])
        .unwrap();
    store.put_document(epoch, "empty", b"").unwrap();
}

fn place(state: &Path, url: Option<&str>) -> StorePlace {
    StorePlace {
        state: state.to_owned(),
        settings: url.map_or(StoreSettings::Sled, |url| {
            StoreSettings::Postgres(settings(url))
        }),
    }
}

#[test]
fn a_fleet_moves_to_a_database_and_back() {
    let Some(cluster) = Cluster::start("fsync = off") else {
        return;
    };
    let (home, metrics) = (tempfile::tempdir().unwrap(), DatabaseMetrics::default());
    let (sled, url) = (place(home.path(), None), cluster.url());
    let database = place(home.path(), Some(&url));
    let quiet = &mut |_, _| {};
    assert!(matches!(
        relocate(&sled, &sled, quiet),
        Err(BackupError::SamePlace { .. })
    ));
    let store = sled.open(&metrics).unwrap();
    fill(store.as_ref());
    let (head, blobs) = (store.head().unwrap(), store.blobs().unwrap());
    // Not while it is in use, and not by a mere change of the configuration.
    assert!(matches!(
        relocate(&sled, &database, quiet),
        Err(BackupError::Store(StoreError::Locked { .. }))
    ));
    drop(store);
    assert!(matches!(
        database.open(&metrics).map(drop),
        Err(StoreError::Elsewhere { .. })
    ));

    let mut seen = (0, 0);
    let moved = relocate(&sled, &database, &mut |done, all| seen = (done, all)).unwrap();
    assert_eq!(
        (moved.next, moved.blobs, moved.documents),
        (head.next.0, 3, 2)
    );
    assert_eq!(seen.0, seen.1, "what was done is all there was");
    assert!(matches!(
        sled.open(&metrics).map(drop),
        Err(StoreError::Moved { .. })
    ));
    let store = database.open(&metrics).unwrap();
    assert_eq!(
        (store.head().unwrap(), store.blobs().unwrap()),
        (head, blobs)
    );
    let epoch = store.open_epoch().unwrap();
    assert!(epoch.0 > moved.epoch);
    store.put_blob(b"new").unwrap();
    drop(store);

    // Back, to where the first one still is.
    assert!(matches!(
        relocate(&database, &sled, quiet),
        Err(BackupError::Store(StoreError::NotEmpty { .. }))
    ));
    std::fs::rename(sled.sled_folder(), home.path().join("old")).unwrap();
    let back = relocate(&database, &sled, quiet).unwrap();
    assert_eq!(back.blobs, 4);
    assert_eq!(
        database_error(database.open(&metrics).map(drop)),
        DatabaseError::Moved
    );
    let store = sled.open(&metrics).unwrap();
    assert_eq!(store.verify().unwrap(), head);
    assert!(store.open_epoch().unwrap() > epoch);
}

#[test]
fn a_copy_that_was_cut_off_does_not_open_and_is_begun_anew() {
    let Some(cluster) = Cluster::start("fsync = off") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let (sled, database) = (
        place(home.path(), None),
        place(home.path(), Some(&cluster.url())),
    );
    let store = sled.open(&DatabaseMetrics::default()).unwrap();
    fill(store.as_ref());
    let mut cut = database.fill(store.begin().unwrap()).unwrap();
    cut.push(store.read(Position(0), 1).unwrap().remove(0))
        .unwrap();
    cut.put_blob(b"another's").unwrap();
    drop((cut, store));
    let open = || database.open(&DatabaseMetrics::default()).map(drop);
    assert_eq!(database_error(open()), DatabaseError::Unfinished);
    let moved = relocate(&sled, &database, &mut |_, _| {}).unwrap();
    assert_eq!(moved.blobs, 3);
    open().unwrap();
}

#[test]
fn examining_a_database_changes_nothing() {
    let Some(cluster) = Cluster::start("fsync = off\nsynchronous_commit = off") else {
        return;
    };
    let url = cluster.url();
    let look = || examine(&settings(&url)).unwrap();
    let empty = look();
    assert_eq!((empty.version, empty.log), (None, None));
    assert!(empty.may_create && empty.server.starts_with("PostgreSQL "));
    assert_eq!(
        (empty.synchronous_commit.as_str(), empty.fsync),
        ("off", Some(false))
    );
    assert_eq!(look().version, None);
    let (store, epoch) = Node::new(&url).begin();
    store.append(epoch, None, &[b"a".to_vec()]).unwrap();
    let used = look();
    assert_eq!(used.version, Some(used.version_known));
    assert_eq!(used.log, Some((true, 1, 1)));
    assert!(used.clock_ahead_ms.abs() < 60_000);
    assert!(DatabaseUrl::parse(&url).is_ok());
}

/// `cargo test --release -p tests --test store_database -- --ignored --nocapture figures`
#[test]
#[ignore = "figures of this machine, with the server's disk waited for"]
fn figures_of_appends_and_blobs() {
    let Some(cluster) = Cluster::start("fsync = on\nsynchronous_commit = on") else {
        return;
    };
    let (store, epoch) = Node::new(&cluster.url()).begin();
    let spread = |mut times: Vec<u128>, events: usize| {
        times.sort_unstable();
        let at = |percent: usize| times[(times.len() * percent).div_ceil(100).max(1) - 1];
        let all: u128 = times.iter().sum();
        let rate = (times.len() * events) as f64 * 1e6 / all as f64;
        format!(
            "{rate:.0} a second, p50 {} µs, p95 {} µs, p99 {} µs",
            at(50),
            at(95),
            at(99)
        )
    };
    for events in [1, 16, 64] {
        let batch = vec![vec![7; 300]; events];
        let append = |_| {
            let begun = Instant::now();
            store.append(epoch, None, &batch).unwrap();
            begun.elapsed().as_micros()
        };
        let times: Vec<_> = (0..1_000).map(append).collect();
        println!("{events} events an append: {}", spread(times, events));
    }
    let put = |thread: u32, number: u32| {
        let mut bytes = vec![7; 8_000];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        bytes[4..8].copy_from_slice(&thread.to_le_bytes());
        let begun = Instant::now();
        store.put_blob(&bytes).unwrap();
        begun.elapsed().as_micros()
    };
    let begun = Instant::now();
    let times: Vec<u128> = std::thread::scope(|scope| {
        let put = &put;
        let one = |thread| {
            let puts = move || {
                (0..500)
                    .map(|number| put(thread, number))
                    .collect::<Vec<_>>()
            };
            scope.spawn(puts)
        };
        let all: Vec<_> = (0..8).map(one).collect();
        all.into_iter().flat_map(|it| it.join().unwrap()).collect()
    });
    let rate = times.len() as f64 / begun.elapsed().as_secs_f64();
    println!(
        "blobs of 8 kB on 8 threads: {rate:.0} a second in all; each {}",
        spread(times, 1)
    );
    assert_eq!(store.verify().unwrap().next, Position(81_000));
}
