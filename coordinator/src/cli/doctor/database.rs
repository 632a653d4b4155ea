//! What stands in the way of the database that holds the store.

use common::health::Finding;

use crate::store::{DatabaseSettings, Examination, Leader, examine as look};

/// Looks at the database and changes nothing in it.
pub(super) fn examine(settings: &DatabaseSettings) -> Vec<Finding> {
    match look(settings) {
        Ok(seen) => vec![
            reached(&seen),
            tables(&seen),
            leader(&seen, settings.lease_ms),
            durable(&seen),
            clock(&seen),
        ],
        // What went wrong says itself what to do.
        Err(error) => {
            let text = error.to_string();
            let (found, advice) = text.rsplit_once("; ").unwrap_or((&text, ""));
            vec![Finding::failed("database", found, advice)]
        }
    }
}

fn reached(seen: &Examination) -> Finding {
    let ms = seen.answered_in.as_secs_f64() * 1e3;
    let found = format!("{} at {}, answers in {ms:.1} ms", seen.server, seen.address);
    match ms <= ANSWER_MS_MAX {
        true => Finding::ok("database", found),
        false => Finding::warning(
            "database",
            found,
            "each batch of events waits for it: bring the two nearer, or look at its load",
        ),
    }
}

fn tables(seen: &Examination) -> Finding {
    let known = seen.version_known;
    match (seen.version, seen.log) {
        (None, _) if seen.may_create => Finding::ok(
            "tables",
            "none yet; `serve` makes them, `store copy` fills them",
        ),
        (None, _) => Finding::failed(
            "tables",
            "none yet, and this user may make none",
            "ALTER DATABASE … OWNER TO …, or GRANT CREATE ON SCHEMA … TO …",
        ),
        (Some(found), _) if found > known => Finding::failed(
            "tables",
            format!("of version {found}, this program knows {known}"),
            "run the newer program that made them",
        ),
        (Some(found), _) if found < known => Finding::warning(
            "tables",
            format!("of version {found}, this program knows {known}"),
            "`serve` brings them up; make a backup before",
        ),
        (Some(found), Some((true, epoch, next))) => Finding::ok(
            "tables",
            format!("version {found}, epoch {epoch}, the log continues at {next}"),
        ),
        (Some(_), _) => Finding::failed(
            "tables",
            "they hold no store that can be used: it was moved, or not copied to its end",
            "see where `store copy` moved it, or run that again",
        ),
    }
}

fn leader(seen: &Examination, lease_ms: Option<u64>) -> Finding {
    match (&seen.leader, lease_ms) {
        (Some(leader), Some(_)) => {
            let Leader { name, left_ms, .. } = leader;
            let at = match &leader.address {
                Some(address) => format!("devices reach it at {address}"),
                None => "devices that ask a standby are not told where it is".to_owned(),
            };
            Finding::ok(
                "lease",
                format!("{name} leads for another {left_ms} ms; {at}"),
            )
        }
        (Some(leader), None) => Finding::warning(
            "lease",
            format!(
                "{} leads, and this configuration takes no turns",
                leader.name
            ),
            "set store.lease to the same value on every coordinator of the database",
        ),
        (None, Some(_)) => Finding::ok("lease", "nobody leads; `serve` takes it"),
        (None, None) => Finding::skipped("lease", "one coordinator at a time, by hand"),
    }
}

fn durable(seen: &Examination) -> Finding {
    let mode = &seen.synchronous_commit;
    let fsync = match seen.fsync {
        Some(true) => ", fsync on",
        Some(false) => ", fsync off",
        None => "",
    };
    let found = format!("synchronous_commit {mode}{fsync}");
    match (mode.as_str(), seen.fsync) {
        (_, Some(false)) => Finding::failed(
            "durability",
            found,
            "set fsync = on: without it a loss of power loses what was acknowledged",
        ),
        // The coordinator turns it on for itself.
        ("off", _) => Finding::warning(
            "durability",
            format!("{found}; the coordinator sets it on for its own connections"),
            "set synchronous_commit = on if others rely on it too",
        ),
        _ => Finding::ok("durability", found),
    }
}

fn clock(seen: &Examination) -> Finding {
    let ahead = seen.clock_ahead_ms;
    let found = match ahead {
        0.. => format!("the database's is {ahead} ms ahead of this machine's"),
        _ => format!("the database's is {} ms behind this machine's", -ahead),
    };
    match ahead.abs() <= CLOCK_MS_MAX {
        true => Finding::ok("clocks", found),
        false => Finding::warning("clocks", found, "let NTP set both, such as by chrony"),
    }
}

/// An answer that takes longer is felt by every device.
const ANSWER_MS_MAX: f64 = 50.0;
/// Clocks that are set by NTP differ by less.
const CLOCK_MS_MAX: i64 = 2_000;
