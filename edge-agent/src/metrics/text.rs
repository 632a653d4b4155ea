//! Readings in the text format of OpenMetrics 1.0.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::readings::Readings;
use crate::driver::status::Bytes;

/// Names and values of labels. Values come from fixed sets, or are the first
/// digits of tasks.
type Labels = Vec<(&'static str, String)>;
type Gauges = Family<Labels, Gauge<f64, AtomicU64>>;
type Counters = Family<Labels, Counter<f64, AtomicU64>>;

/// The text of a scrape. What was not read is left out, so that an alert on
/// its absence can tell it from zero.
pub fn render(readings: &Readings) -> String {
    let mut page = Page(Registry::with_prefix("alambic_agent"));
    outbox(&mut page, readings);
    process(&mut page, readings);
    link(&mut page, readings);
    let epochs = readings
        .students
        .iter()
        .map(|(task, version)| (vec![("task", task.short())], f64::from(version.epoch)));
    let help = "Epoch of the version of the student in use";
    page.gauges("student_version_epoch", help, epochs.collect());
    let numbers = readings
        .students
        .iter()
        .map(|(task, version)| (vec![("task", task.short())], version.number as f64));
    let help = "Number of the version of the student in use";
    page.gauges("student_version_number", help, numbers.collect());
    if let Some(ends) = readings.certificate_ends {
        let help = "When the device's certificate ends, seconds since 1970";
        page.gauge(
            "certificate_expiry_timestamp_seconds",
            help,
            seconds(ends.0),
        );
    }
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut text, &page.0);
    text
}

fn outbox(page: &mut Page, readings: &Readings) {
    let entries = readings.outbox_entries as f64;
    page.gauge(
        "outbox_entries",
        "Contributions that wait for an answer",
        entries,
    );
    let bytes = readings.outbox_bytes as f64;
    page.gauge("outbox_bytes", "Their length", bytes);
}

fn process(page: &mut Page, readings: &Readings) {
    if let Some(usage) = readings.usage {
        let help = "Processor time of the agent and of the processes that worked for it";
        let of = |what: &str| vec![("of", what.to_owned())];
        let values = vec![(of("agent"), usage.agent_s), (of("work"), usage.work_s)];
        page.counters("cpu_seconds", help, values);
    }
    let kind = |kind: &str| vec![("kind", kind.to_owned())];
    let mut memory = vec![(kind("resident"), readings.resident_bytes as f64)];
    if let Some(status) = &readings.status {
        let peak = status.resident_peak_kib as f64 * 1024.0;
        memory.push((kind("peak"), peak));
    }
    let help = "Memory: of the agent now, and the most of it and what worked for it together";
    page.gauges("memory_bytes", help, memory);
}

fn link(page: &mut Page, readings: &Readings) {
    let Some(status) = &readings.status else {
        return;
    };
    let help = "When the agent was started, seconds since 1970";
    page.gauge("start_timestamp_seconds", help, seconds(status.started_ms));
    let connected = f64::from(u8::from(status.connected));
    page.gauge(
        "connected",
        "Whether the coordinator is connected",
        connected,
    );
    if let Some(last) = status.last_contact_ms {
        let help = "When the coordinator was last heard, seconds since 1970";
        page.gauge("last_contact_timestamp_seconds", help, seconds(last));
    }
    let problem = |of: &str, problem: &Option<String>| {
        let labels = vec![("of", of.to_owned())];
        (labels, f64::from(u8::from(problem.is_some())))
    };
    let help = "Whether something is wrong with the link, with the device's work, or with the \
                coordinator's keys";
    let problems = vec![
        problem("link", &status.link_error),
        problem("work", &status.work_error),
        problem("trust", &status.trust_error),
    ];
    page.gauges("problem", help, problems);
    let bytes = |kind: &'static str, bytes: Bytes| {
        let labels = move |direction: &str| {
            vec![
                ("direction", direction.to_owned()),
                ("kind", kind.to_owned()),
            ]
        };
        [
            (labels("up"), bytes.up as f64),
            (labels("down"), bytes.down as f64),
        ]
    };
    let all = bytes("handshake", status.handshake_bytes)
        .into_iter()
        .chain(bytes("work", status.work_bytes));
    let help = "UDP payload since the start, of handshakes and of work";
    page.counters("link_bytes", help, all.collect());
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1000.0
}

/// What is being written.
struct Page(Registry);

impl Page {
    fn gauge(&mut self, name: &str, help: &str, value: f64) {
        let made = Gauge::<f64, AtomicU64>::default();
        made.set(value);
        self.0.register(name, help, made);
    }

    fn gauges(&mut self, name: &str, help: &str, values: Vec<(Labels, f64)>) {
        if values.is_empty() {
            return;
        }
        let made = Gauges::default();
        for (labels, value) in values {
            made.get_or_create(&labels).set(value);
        }
        self.0.register(name, help, made);
    }

    fn counters(&mut self, name: &str, help: &str, values: Vec<(Labels, f64)>) {
        let made = Counters::default();
        for (labels, value) in values {
            made.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, made);
    }
}
