use super::*;
use common::ids::{DeviceId, TaskHash, Time};
use common::round::{Kind, Reason};

use crate::status::DeviceName;

#[test]
fn refusals_are_counted_by_reason_without_a_device() {
    let metrics = Metrics::new(None);
    metrics.step(&Progress::Refused {
        task: TaskHash([7; 32]),
        device: DeviceName {
            device: DeviceId([9; 16]),
            label: "pump".into(),
        },
        kind: Kind::Moments,
        reason: Reason::NotFinite,
        at: Time(1),
    });
    metrics.turned_away(&TransportError::NoCommonProtocol);
    metrics.flushed(Duration::from_millis(3));
    let text = metrics.text();
    let refused = "alambic_contributions_total{kind=\"moments\",result=\"not_finite\"} 1";
    assert!(text.contains(refused), "{text}");
    assert!(text.contains("alambic_handshake_failures_total{reason=\"protocol\"} 1"));
    assert!(text.contains("alambic_store_flush_seconds_count 1"));
    assert!(!text.contains("pump") && !text.contains("0909"));
}

#[test]
fn metrics_tell_who_leads_and_for_how_long() {
    let database = DatabaseMetrics::default();
    let standby = text_of_standby(&database, Some(1_500));
    assert!(standby.contains("alambic_leader 0.0"), "{standby}");
    assert!(standby.contains("alambic_lease_seconds{kind=\"left\"} 1.5"));
    assert!(!standby.contains("kind=\"age\""), "its age is another's");
    // One who takes no turns has no lease.
    let alone = Metrics::new(Some(&database));
    assert_eq!(alone.lease_at(1_000), None);
    assert!(!alone.text().contains("alambic_leader"));

    database.lease.extended(1_000, 3_000, 3_400);
    let leads = Metrics::new(Some(&database));
    assert_eq!(leads.lease_at(1_500).map(|now| now.left_ms), Some(1_900));
    let text = leads.text();
    assert!(text.contains("alambic_leader 1.0"), "{text}");
    for told in [
        "{kind=\"age\"} 0.5",
        "{kind=\"left\"} 1.9",
        "{kind=\"length\"} 3.0",
    ] {
        assert!(
            text.contains(&format!("alambic_lease_seconds{told}")),
            "{text}"
        );
    }
}

#[test]
fn dashboard_and_alerts_ask_for_nothing_that_is_not_told() {
    // Families tell nothing before their first labels, so the source is
    // asked for the names.
    let source = include_str!("../metrics.rs");
    let told = |name: &str| {
        let name = name.trim_start_matches("alambic_");
        let parts = ["", "_total", "_bucket", "_sum", "_count"];
        let mut bases = parts.iter().filter_map(|part| name.strip_suffix(part));
        bases.any(|base| source.contains(&format!("\"{base}\"")))
    };
    for file in [
        include_str!("../../../configs/grafana-dashboard.json"),
        include_str!("../../../configs/prometheus-alerts.yml"),
    ] {
        let words = file.split(|c: char| !c.is_ascii_lowercase() && c != '_');
        let names: Vec<_> = words.filter(|word| word.starts_with("alambic_")).collect();
        assert!(names.len() > 8);
        for name in names {
            assert!(told(name), "{name} is not told");
        }
    }
}
