//! The rules of `tests::layers`, held against the workspace, and against
//! copies of it in which each is broken.
#![allow(clippy::unwrap_used)]

use std::sync::LazyLock;

use tests::layers::{Tree, breaches, circles};

static TREE: LazyLock<Tree> = LazyLock::new(|| Tree::of_workspace().unwrap());

static BREACHES: LazyLock<Vec<String>> = LazyLock::new(|| breaches(&TREE));

/// The breaches that an addition to the workspace makes.
fn breaches_by(path: &str, text: &str) -> Vec<String> {
    let mut found = breaches(&TREE.with(path, text).unwrap());
    found.retain(|breach| !BREACHES.contains(breach));
    found
}

#[test]
fn the_workspace_keeps_to_its_rules() {
    assert!(BREACHES.is_empty(), "\n{}\n", BREACHES.join("\n"));
}

#[test]
fn no_rooms_import_one_another_in_a_circle() {
    let found = circles(&TREE);
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn a_planted_circle_is_found_whole() {
    let mut tree = TREE.clone();
    for (room, other) in [
        ("one", "two"),
        ("two", "three"),
        ("three", "one"),
        ("four", "one"),
    ] {
        let path = format!("edge-agent/src/{room}.rs");
        tree = tree.with(&path, &format!("use crate::{other};")).unwrap();
    }
    let circle = ["one", "three", "two"].map(|room| format!("edge-agent::{room}"));
    assert_eq!(circles(&tree), [circle.to_vec()]);
}

#[test]
fn an_unlisted_room_is_a_breach() {
    for (path, text, line, room) in [
        ("common/protocol/src/gossip.rs", "", 1, "gossip"),
        (
            "common/math/src/tensor/mod.rs",
            "use crate::kernel;",
            1,
            "tensor",
        ),
        ("edge-agent/src/radio/antenna.rs", "", 1, "radio"),
        (
            "coordinator/src/lib.rs",
            "mod inline { use crate::cli; }",
            TREE.lines("coordinator/src/lib.rs") + 1,
            "inline",
        ),
    ] {
        let said = format!(
            "{path}:{line}: no layer names the module {room}: add it to tests/src/layers/rules.rs"
        );
        assert_eq!(breaches_by(path, text), [said]);
    }
}

#[test]
fn an_unlisted_crate_is_a_breach() {
    let said = "common/gossip/Cargo.toml: no rule names this crate: add it to \
                tests/src/layers/rules.rs";
    let manifest = "[package]\nname = \"gossip\"";
    assert_eq!(breaches_by("common/gossip/Cargo.toml", manifest), [said]);
}

#[test]
fn a_forbidden_dependency_is_a_breach() {
    for (path, text, said) in [
        (
            "common/math/Cargo.toml",
            "[target.'cfg(unix)'.dependencies]\nalambic-protocol.workspace = true",
            "alambic-protocol must not be a dependency here",
        ),
        (
            "common/protocol/Cargo.toml",
            "[target.'cfg(unix)'.dependencies]\nasync = { package = \"tokio\" }",
            "tokio does I/O, which this crate does not",
        ),
        (
            "coordinator/engine/Cargo.toml",
            "[target.'cfg(unix)'.dependencies]\nsled.workspace = true",
            "sled does I/O, which this crate does not",
        ),
        (
            "coordinator/Cargo.toml",
            "[target.'cfg(unix)'.dev-dependencies]\nedge-agent.workspace = true",
            "edge-agent must not be a dependency here",
        ),
    ] {
        assert_eq!(breaches_by(path, text), [format!("{path}: {said}")]);
    }
}

/// A source file, what is added at its end, the line of that which breaks a
/// rule, and the rule.
const PLANTED: &[(&str, &str, usize, &str)] = &[
    (
        "common/math/src/kernel/forward.rs",
        "use crate::{liveness,\n network};",
        2,
        "kernel may not import network",
    ),
    (
        "common/math/src/random.rs",
        "fn f() { super::cluster::fit() }",
        1,
        "random may not import cluster",
    ),
    (
        "common/protocol/src/codec.rs",
        "use crate::summary::Summary;",
        1,
        "codec may not import summary",
    ),
    (
        "common/protocol/src/labels/frame.rs",
        "use super::super::wire::codec;",
        1,
        "labels may not import wire",
    ),
    (
        "common/protocol/src/model.rs",
        "mod inner { use super::super::wire; }",
        1,
        "model may not import wire",
    ),
    (
        "common/net/src/rate.rs",
        "use crate::Listener;",
        1,
        "rate may not import listener",
    ),
    (
        "common/host/src/pipe.rs",
        "use crate::signals;",
        1,
        "pipe may not import signals",
    ),
    (
        "coordinator/src/journal/mod.rs",
        "use crate::server::Shared;",
        1,
        "journal may not import server",
    ),
    (
        "coordinator/engine/src/status/mod.rs",
        "use crate::core::Core;",
        1,
        "status may not import core",
    ),
    (
        "coordinator/engine/src/rollout.rs",
        "use crate::round::Event;",
        1,
        "rollout may not import round",
    ),
    (
        "coordinator/src/admin/server.rs",
        "use crate::page::PageServer;",
        1,
        "admin may not import page",
    ),
    (
        "lab/src/data/mod.rs",
        "use crate::cli::Failure;",
        1,
        "data may not import cli",
    ),
    (
        "edge-agent/src/state.rs",
        "use crate::gone::Gone;",
        1,
        "`crate::gone::Gone` leads to no module",
    ),
    (
        "coordinator/src/validation.rs",
        "fn f() { bincode::decode_from_slice(b, c); }",
        1,
        "bincode belongs in common/protocol/src/codec.rs",
    ),
    (
        "coordinator/src/server/store_handle.rs",
        "/* a\n b */ use sled::{Db, Tree};",
        2,
        "sled belongs in coordinator/src/store/sled_log.rs",
    ),
    (
        "common/math/src/exact.rs",
        "use ndarray_linalg::Cholesky as _;",
        1,
        "ndarray_linalg belongs in common/math/src/linalg.rs",
    ),
    (
        "lab/src/plan.rs",
        "fn f() {\n unsafe { g() } }",
        2,
        "unsafe belongs in common/host/src/program_pages.rs or common/math/src/blas.rs or \
         common/math/src/kernel/simd.rs",
    ),
    (
        "coordinator/engine/src/round/engine.rs",
        "use std::{fmt, time::Instant};",
        1,
        "an engine does no I/O: std::time",
    ),
    (
        "edge-agent/src/session/engine.rs",
        "fn f() { tokio::time::Instant::now(); }",
        1,
        "an engine does no I/O: tokio",
    ),
    (
        "coordinator/engine/src/round/engine.rs",
        "async fn f() {}",
        1,
        "an engine does no I/O: async",
    ),
    (
        "common/protocol/src/trust/keys.rs",
        "use std::fs;",
        1,
        "the protocol does no I/O: std::fs",
    ),
    (
        "common/math/src/cluster/kmeans.rs",
        "fn f() { std::thread::spawn(g); }",
        1,
        "mathematics does no I/O: std::thread",
    ),
    (
        "tests/tests/fleet.rs",
        "fn f() { std::thread::sleep(d); }",
        1,
        "a test that sleeps to wait is wrong",
    ),
    (
        "edge-agent/src/fleet.rs",
        "fn f() { sleep(d) }",
        1,
        "a test that sleeps to wait is wrong",
    ),
    (
        "common/protocol/src/ids.rs",
        "#[cfg(test)]\nmod more {\n fn f() { sleep (d) }\n}",
        3,
        "a test that sleeps to wait is wrong",
    ),
    (
        "common/protocol/src/task/mod.rs",
        "#[path = \"elsewhere.rs\"]\nmod here;",
        1,
        "a module lies where its name says",
    ),
    (
        "common/math/src/exact.rs",
        "#[cfg(test)]\nmod more {\n #[test]\n fn \
         a_claim_that_goes_on_and_on_and_is_one_character_too_long_now() {}\n}",
        4,
        "a function's name has at most 60 characters",
    ),
];

#[test]
fn a_planted_breach_is_named_with_its_line() {
    for (path, text, line, rule) in PLANTED {
        let said = format!("{path}:{}: {rule}", TREE.lines(path) + line);
        assert_eq!(breaches_by(path, text), [said], "{text}");
    }
}

#[test]
fn what_is_allowed_is_no_breach() {
    for (path, text) in [
        (
            "coordinator/src/store/mod.rs",
            "// sled::Db\nconst PLANTED: &str = \"sled::Db\";",
        ),
        (
            "common/protocol/src/ids.rs",
            "use bincode::{Decode, Encode};",
        ),
        ("common/protocol/src/model.rs", "use crate::codec;"),
        (
            "common/protocol/src/codec.rs",
            "use bincode::config; fn f<'a>() { r#\"\"unsafe\"\"#; '\"'; }",
        ),
        (
            "common/math/src/exact.rs",
            "#[cfg(test)]\nmod more { use super::super::network; }",
        ),
        (
            "common/math/src/kernel/pass.rs",
            "mod inner { use super::super::forward; }",
        ),
        (
            "coordinator/src/server/driver.rs",
            "async fn f() { tokio::time::sleep(wait).await }",
        ),
        (
            "coordinator/engine/src/round/state.rs",
            "#[cfg(test)]\nmod more { use std::time::Instant; }",
        ),
    ] {
        let found = breaches_by(path, text);
        assert!(found.is_empty(), "{path}: {text}\n{}", found.join("\n"));
    }
}
