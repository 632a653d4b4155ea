//! Coordinators that share a database take turns: one leads, the others wait,
//! and one that has lost its turn writes nothing and serves nobody.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::time::Instant;

use common::host_port::HostPort;
use coordinator::store::{
    DatabaseMetrics, Lease, LeaseTerms, PostgresOptions, PostgresStore, Store as _, StoreError,
    Turn,
};
use rustix::process::Signal;
use tests::database::{Cluster, settings};
use tests::rig::look_until;
use tests::standby::{Coordinator, free_address};

#[test]
fn a_lease_has_one_holder_until_it_ends() {
    let Some(cluster) = Cluster::start("fsync = off") else {
        return;
    };
    let url = cluster.url();
    let terms = |name: &str| LeaseTerms::new(name.to_owned(), 60_000).unwrap();
    let at_a = LeaseTerms {
        address: HostPort::parse("a.example:4433"),
        ..terms("a")
    };
    let (a, b) = (at_a, terms("b"));
    let lease = |terms: &LeaseTerms| {
        let metrics = DatabaseMetrics::default();
        Lease::open(settings(&url), terms.clone(), metrics).unwrap()
    };
    let store = |folder: &Path, holder: &str| {
        let options = PostgresOptions::new(settings(&url), folder.join("postgres"));
        PostgresStore::open(PostgresOptions {
            holder: holder.to_owned(),
            ..options
        })
        .unwrap()
    };
    let (first, second) = (lease(&a), lease(&b));
    assert_eq!(first.try_take().unwrap(), Turn::Ours);
    match second.try_take().unwrap() {
        Turn::Theirs(leader) => {
            assert!(leader.name == "a" && leader.left_ms > 0 && leader.left_ms <= 60_000);
            assert_eq!(leader.address, a.address);
        }
        Turn::Ours => panic!("two lead"),
    }
    let homes = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let leader = store(homes[0].path(), &a.holder);
    let epoch = leader.open_epoch().unwrap();
    leader.append(epoch, None, &[b"a".to_vec()]).unwrap();
    // Neither one who waits nor one who knows of no lease begins beside it.
    let waiting = store(homes[1].path(), &b.holder);
    for other in [&waiting, &store(homes[2].path(), "")] {
        let refused = other.open_epoch();
        assert!(matches!(refused, Err(StoreError::Led { ref name, .. }) if name == "a"));
    }
    assert!(first.renew().unwrap() && !second.renew().unwrap());

    // The leader is held up for longer than its lease.
    cluster
        .ask("UPDATE store0.alambic_lease SET until = clock_timestamp() - interval '1 ms'")
        .unwrap();
    assert_eq!(second.try_take().unwrap(), Turn::Ours);
    assert!(!first.renew().unwrap(), "what was taken is not renewed");
    assert!(matches!(
        leader.append(epoch, None, &[b"late".to_vec()]),
        Err(StoreError::Fenced { .. })
    ));
    let next = waiting.open_epoch().unwrap();
    assert!(next > epoch);
    waiting.append(next, None, &[b"b".to_vec()]).unwrap();
    assert!(matches!(leader.open_epoch(), Err(StoreError::Led { .. })));
    assert_eq!(waiting.verify().unwrap().next.0, 2);

    // A version that knows of no addresses leaves the one of the holder before.
    cluster
        .ask("UPDATE store0.alambic_lease SET address = 'b.example:1', address_holder = holder")
        .unwrap();
    let told = |lease: &Lease| match lease.try_take().unwrap() {
        Turn::Theirs(leader) => leader.address,
        Turn::Ours => panic!("two lead"),
    };
    assert_eq!(told(&first), HostPort::parse("b.example:1"));
    cluster
        .ask("UPDATE store0.alambic_lease SET holder = 'old'")
        .unwrap();
    assert_eq!(told(&first), None);
    cluster
        .ask("UPDATE store0.alambic_lease SET holder = address_holder")
        .unwrap();

    // Given up, it is free at once.
    second.give_up().unwrap();
    assert_eq!(first.try_take().unwrap(), Turn::Ours);
}

const TASK: &str = "name = \"TASK\"\n[input]\nshape = [2]\n[classes]\nnames = [\"a\", \"b\"]";

/// Coordinators with the same keys on one database, who take turns.
fn coordinators(cluster: &Cluster, home: &Path, count: usize) -> Vec<Coordinator> {
    let environment = [
        "ALAMBIC_STORE_KIND=postgres".to_owned(),
        format!("ALAMBIC_STORE_URL={}", cluster.url()),
        "ALAMBIC_STORE_LEASE=3s".to_owned(),
    ];
    let keys = home.join("keys");
    tests::standby::init(&keys);
    let start = |number: usize| {
        let state = home.join(format!("node{number}"));
        Coordinator::start(&state, &keys, &free_address(), &environment)
    };
    (0..count).map(start).collect()
}

/// The one that serves, once one does.
fn leader(all: &mut [Coordinator]) -> usize {
    let mut leads = None;
    look_until(
        || {
            leads = all.iter().position(|one| one.client().is_some());
            leads.is_some()
        },
        || "nobody leads".to_owned(),
    );
    leads.unwrap()
}

#[test]
fn a_standby_takes_over_from_a_killed_leader() {
    let Some(cluster) = Cluster::start("") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let mut all = coordinators(&cluster, home.path(), 3);
    let mut taken = Vec::new();
    for turn in 0..TURNS {
        let leads = leader(&mut all);
        let serving = all.iter().filter(|one| one.client().is_some()).count();
        assert_eq!(serving, 1, "one leads");
        let mut client = all[leads].client().unwrap();
        client
            .create_task(&TASK.replace("TASK", &format!("turn-{turn}")))
            .unwrap();
        all[leads].signal(Signal::KILL);
        all[leads].end();
        let begun = Instant::now();
        let next = leader(&mut all);
        taken.push(begun.elapsed().as_millis());
        // All that was acknowledged is there.
        let status = all[next].client().unwrap().status().unwrap();
        assert_eq!(status.tasks.len(), turn + 1);
        all[leads].again();
    }
    taken.sort_unstable();
    println!("ms from a kill to a leader that serves, lease of 3 s, sorted: {taken:?}");
}

const TURNS: usize = 6;

#[test]
fn metrics_and_doctor_say_who_leads_on_each() {
    let Some(cluster) = Cluster::start("") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let mut all = coordinators(&cluster, home.path(), 2);
    let leads = leader(&mut all);
    let waits = 1 - leads;
    let tells = |one: &Coordinator, what: &str| {
        let found = || {
            one.get("/metrics")
                .lines()
                .any(|line| line.starts_with(what))
        };
        look_until(found, || format!("{what}: {}", one.get("/metrics")));
    };
    for told in [
        "alambic_leader 1.0",
        "alambic_lease_seconds{kind=\"length\"} 3.0",
        "alambic_lease_seconds{kind=\"age\"} ",
        "alambic_database_seconds_count{call=\"lease\"} ",
        "alambic_epoch ",
    ] {
        tells(&all[leads], told);
    }
    for told in [
        "alambic_leader 0.0",
        "alambic_lease_seconds{kind=\"left\"} ",
        "alambic_database_seconds_count{call=\"lease\"} ",
    ] {
        tells(&all[waits], told);
    }
    let said = all[waits].get("/");
    assert!(
        said.starts_with("HTTP/1.1 503") && said.contains(" leads"),
        "{said}"
    );
    let health = all[leads].get("/health");
    assert!(health.contains("other coordinators stand by"), "{health}");
    for one in &all {
        let said = one.doctor();
        assert!(said.contains("leads for another"), "{said}");
        assert!(said.contains("the database's is"), "{said}");
    }
    all[leads].signal(Signal::KILL);
    all[leads].end();
    tells(&all[waits], "alambic_leader 1.0");
}

#[test]
fn a_leader_paused_past_its_lease_writes_nothing() {
    let Some(cluster) = Cluster::start("") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let mut all = coordinators(&cluster, home.path(), 2);
    let old = leader(&mut all);
    let mut late = all[old].client().unwrap();
    all[old].signal(Signal::STOP);
    let new = 1 - old;
    look_until(|| all[new].client().is_some(), || all[new].told());
    let mut client = all[new].client().unwrap();
    client.create_task(&TASK.replace("TASK", "new")).unwrap();
    all[old].signal(Signal::CONT);
    // Whatever it does before it ends, it acknowledges nothing.
    assert!(late.create_task(&TASK.replace("TASK", "late")).is_err());
    assert_eq!(all[old].wait(), Some(1), "{}", all[old].told());
    all[old].again();
    look_until(|| all[old].told().contains("standby: "), || all[old].told());
    assert_eq!(client.status().unwrap().tasks.len(), 1);
    // One that is stopped in order hands over without a wait for its lease.
    all[new].signal(Signal::TERM);
    assert_eq!(all[new].wait(), Some(0), "{}", all[new].told());
    look_until(|| all[old].client().is_some(), || all[old].told());
    assert_eq!(all[old].client().unwrap().status().unwrap().tasks.len(), 1);
}

#[test]
fn a_leader_ends_without_its_database() {
    let Some(mut cluster) = Cluster::start("") else {
        return;
    };
    let home = tempfile::tempdir().unwrap();
    let mut all = coordinators(&cluster, home.path(), 2);
    let old = leader(&mut all);
    let mut client = all[old].client().unwrap();
    client.create_task(&TASK.replace("TASK", "before")).unwrap();
    cluster.kill();
    assert_eq!(all[old].wait(), Some(1), "{}", all[old].told());
    assert!(all[1 - old].client().is_none(), "nobody can know who leads");
    all[old].again();
    look_until(
        || all[old].told().contains("waiting for the database"),
        || all[old].told(),
    );
    cluster.resume();
    let next = leader(&mut all);
    assert_eq!(all[next].client().unwrap().status().unwrap().tasks.len(), 1);
}
