//! What a program's `doctor` finds, in one form for both programs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::io::Errno;
use serde::Serialize;

use math::blas;
use protocol::ids::Time;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at, such as `clock`.
    pub check: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// What was seen, with its values.
    pub found: String,
    /// What to do about it; empty where there is nothing to do.
    pub advice: String,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// Could not be looked at, or does not matter here.
    Skipped,
    /// Works, and could be better.
    Warning,
    /// Does not work.
    Failed,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self::new(check, Verdict::Ok, found, "")
    }

    /// Not looked at, and why.
    pub fn skipped(check: &'static str, why: impl Into<String>) -> Self {
        Self::new(check, Verdict::Skipped, why, "")
    }

    /// Works, and could be better.
    pub fn warning(
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(check, Verdict::Warning, found, advice)
    }

    /// Does not work.
    pub fn failed(
        check: &'static str,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(check, Verdict::Failed, found, advice)
    }

    fn new(
        check: &'static str,
        verdict: Verdict,
        found: impl Into<String>,
        advice: impl Into<String>,
    ) -> Self {
        Self {
            check,
            verdict,
            found: found.into(),
            advice: advice.into(),
        }
    }

    /// For people: one line, and one more with what to do.
    pub fn text(&self) -> String {
        let sign = match self.verdict {
            Verdict::Ok => "ok",
            Verdict::Skipped => "skipped",
            Verdict::Warning => "warning",
            Verdict::Failed => "FAILED",
        };
        let line = format!("{:12} {sign:8} {}", self.check, self.found);
        if self.advice.is_empty() {
            line
        } else {
            format!("{line}\n{:21} what to do: {}", "", self.advice)
        }
    }
}

/// Prints what was found, for people or as JSON. Returns the checks that failed.
pub fn report(findings: &[Finding], as_json: bool) -> Vec<&'static str> {
    if as_json {
        println!("{:#}", serde_json::json!(findings));
    } else {
        for finding in findings {
            println!("{}", finding.text());
        }
    }
    let failed = findings.iter();
    let failed = failed.filter(|finding| finding.verdict == Verdict::Failed);
    failed.map(|finding| finding.check).collect()
}

/// Room on the disk of a program's state directory.
pub fn state_disk(state: &Path, free_bytes_min: u64) -> Finding {
    match rustix::fs::statvfs(state) {
        Ok(figures) => disk(figures.f_bavail * figures.f_frsize, free_bytes_min),
        Err(error) => Finding::failed(
            "disk",
            format!("{}: {error}", state.display()),
            "check --state, and that the disk is mounted",
        ),
    }
}

/// A state directory holds keys: it is for its owner only, who must be able to
/// write it. `advice` is for who is not its owner.
pub fn state_permissions(state: &Path, advice: &str) -> Finding {
    let Ok(facts) = fs::metadata(state) else {
        let found = format!("{} cannot be looked at", state.display());
        return Finding::failed("permissions", found, advice);
    };
    let mode = facts.permissions().mode() & 0o777;
    let found = format!("{} has mode {mode:o}", state.display());
    if mode & 0o077 != 0 {
        let advice = format!("chmod 700 {}", state.display());
        return Finding::failed("permissions", found, advice);
    }
    match rustix::fs::access(state, rustix::fs::Access::WRITE_OK) {
        Ok(()) => Finding::ok("permissions", found),
        Err(error) => unwritable(state, found, error, advice),
    }
}

/// Why a folder whose mode is right cannot be written.
fn unwritable(state: &Path, found: String, error: Errno, advice: &str) -> Finding {
    match error {
        Errno::ROFS => Finding::failed(
            "permissions",
            format!("{} is on a file system that is read-only", state.display()),
            "mount it for writing; a system that did so itself found its disk damaged (`dmesg`), \
             and a service needs ReadWritePaths= for a folder of its own",
        ),
        _ => Finding::failed("permissions", found, advice),
    }
}

/// The worst of what was found.
pub fn worst(findings: &[Finding]) -> Verdict {
    let verdicts = findings.iter().map(|finding| finding.verdict);
    verdicts.max().unwrap_or(Verdict::Ok)
}

/// Whether the clock can be right: not before `floor`, a time that certainly
/// has passed.
pub fn clock(now: Time, floor: Time) -> Finding {
    if now < floor {
        let found = format!("it says {}, but {} has passed", at(now), at(floor));
        Finding::failed("clock", found, "set the clock; install an NTP client")
    } else {
        Finding::ok("clock", at(now))
    }
}

/// `2026-11-23T23:49:05Z`; the raw number for a time out of the calendar.
fn at(time: Time) -> String {
    const YEAR_10000: u64 = 253_402_300_800;
    let seconds = time.0 / 1_000;
    if seconds >= YEAR_10000 {
        return format!("{seconds} s since 1970");
    }
    let since = Duration::from_secs(seconds);
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + since).to_string()
}

/// How long a certificate is still good for.
pub fn certificate(now: Time, not_after: Time) -> Finding {
    let days = not_after.since_ms(now) / DAY_MS;
    if now >= not_after {
        let found = format!("expired {} days ago", now.since_ms(not_after) / DAY_MS);
        Finding::failed(
            "certificate",
            found,
            "start the program; if it cannot renew, enrol anew",
        )
    } else if days < DAYS_LEFT_MIN {
        let found = format!("good for {days} days more");
        Finding::warning(
            "certificate",
            found,
            "see that the program runs, so that it renews",
        )
    } else {
        Finding::ok("certificate", format!("good for {days} days more"))
    }
}

/// Whether the disk has room for what the program writes.
fn disk(free_bytes: u64, needed_bytes: u64) -> Finding {
    let found = format!("{} MiB free", free_bytes >> 20);
    if free_bytes < needed_bytes {
        let advice = format!("free some: {} MiB are needed", needed_bytes >> 20);
        Finding::failed("disk", found, advice)
    } else {
        Finding::ok("disk", found)
    }
}

/// Which kernels OpenBLAS chose, and whether the processor offers better ones.
pub fn blas() -> Finding {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    judge_blas(&blas::kernel_name(), &cpuinfo)
}

fn judge_blas(kernel: &str, cpuinfo: &str) -> Finding {
    let flags = cpuinfo
        .lines()
        .find(|line| line.starts_with("flags") || line.starts_with("Features"))
        .unwrap_or_default();
    let has = |flag: &str| flags.split_whitespace().any(|found| found == flag);
    let offered = if has("avx512f") {
        "avx512"
    } else if has("avx2") {
        "avx2"
    } else if has("avx") {
        "avx"
    } else {
        ""
    };
    let found = match offered {
        "" => format!("OpenBLAS kernel {kernel}"),
        _ => format!("OpenBLAS kernel {kernel}; the processor offers {offered}"),
    };
    let is_old = OLD_KERNELS
        .iter()
        .any(|old| old.eq_ignore_ascii_case(kernel));
    if is_old && matches!(offered, "avx2" | "avx512") {
        let advice =
            "set OPENBLAS_CORETYPE=Haswell in the program's environment: up to twice as fast";
        Finding::warning("blas", found, advice)
    } else {
        Finding::ok("blas", found)
    }
}

/// Kernels for processors without AVX2.
const OLD_KERNELS: [&str; 9] = [
    "generic",
    "Prescott",
    "Core2",
    "Penryn",
    "Dunnington",
    "Nehalem",
    "Atom",
    "Sandybridge",
    "Barcelona",
];
const DAY_MS: u64 = 24 * 3_600_000;
/// A certificate is renewed long before this many days are left.
const DAYS_LEFT_MIN: u64 = 7;

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Time = Time(DAY_MS);

    #[test]
    fn a_clock_before_what_has_passed_is_wrong() {
        assert_eq!(clock(Time(5_000), Time(4_000)).verdict, Verdict::Ok);
        assert_eq!(clock(Time(3_000), Time(4_000)).verdict, Verdict::Failed);
        let found = clock(Time(1_763_942_945_999), Time(0)).found;
        assert_eq!(found, "2025-11-24T00:09:05Z");
        assert!(clock(Time(u64::MAX), Time(0)).found.ends_with("since 1970"));
    }

    #[test]
    fn a_read_only_file_system_is_told_from_another_user() {
        let of = |error| unwritable(Path::new("/s"), "/s has mode 700".into(), error, "be it");
        let found = of(Errno::ROFS);
        assert_eq!(found.verdict, Verdict::Failed);
        assert!(found.found.contains("read-only"), "{found:?}");
        assert!(found.advice.contains("mount"), "{found:?}");
        assert_eq!(of(Errno::ACCESS).advice, "be it");
    }

    #[test]
    fn a_certificate_warns_before_it_fails() {
        let in_days = |days: u64| DAY.after_ms(days * DAY_MS);
        assert_eq!(certificate(DAY, in_days(30)).verdict, Verdict::Ok);
        assert_eq!(certificate(DAY, in_days(3)).verdict, Verdict::Warning);
        assert_eq!(certificate(DAY, DAY).verdict, Verdict::Failed);
    }

    #[test]
    fn an_outdated_blas_kernel_is_a_warning() {
        let modern = "processor : 0\nflags : fpu sse2 avx avx2 fma\n";
        assert_eq!(judge_blas("Prescott", modern).verdict, Verdict::Warning);
        assert_eq!(judge_blas("Haswell", modern).verdict, Verdict::Ok);
        assert_eq!(
            judge_blas("Prescott", "flags : fpu sse2\n").verdict,
            Verdict::Ok
        );
        assert_eq!(
            judge_blas("ARMV8", "Features : fp asimd\n").verdict,
            Verdict::Ok
        );
    }

    #[test]
    fn failed_checks_are_named_and_advice_is_printed() {
        let findings = [Finding::ok("clock", "fine"), disk(1 << 20, 1 << 30)];
        assert_eq!(report(&findings, false), ["disk"]);
        assert!(findings[1].text().contains("1 MiB free"));
        assert!(
            findings[1]
                .text()
                .contains("what to do: free some: 1024 MiB")
        );
    }
}
