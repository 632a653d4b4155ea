//! How tables and times are shown.

use comfy_table::Table;
use comfy_table::presets::NOTHING;

use crate::status::format;

pub(super) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(header);
    table
}

pub(super) fn seconds(ms: u64) -> String {
    match ms {
        0..60_000 => format!("{:.1} s", ms as f64 / 1000.0),
        _ => format::span(ms),
    }
}
