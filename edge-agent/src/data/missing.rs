//! How tables and arrays write that there is nothing.

/// Whether a cell says that there is no value.
pub(super) fn is_missing(cell: &str) -> bool {
    let cell = cell.trim();
    is_nothing(cell) || is_one_of(cell, &SIGNS)
}

/// Whether a label says that there is none. Words and signs that may be the name of
/// a class, such as `none`, are not among them.
pub(super) fn is_nothing(cell: &str) -> bool {
    is_one_of(cell.trim(), &NOTHING)
}

fn is_one_of(cell: &str, written: &[&str]) -> bool {
    written.iter().any(|one| cell.eq_ignore_ascii_case(one))
}

/// What programs write for a value that is not there: pandas, R, Excel, SQL's
/// exports, and the C libraries' ways to print a NaN.
const NOTHING: [&str; 20] = [
    "",
    "nan",
    "-nan",
    "+nan",
    "na",
    "n/a",
    "<na>",
    "nat",
    "null",
    "\\n",
    "#n/a",
    "#na",
    "#n/a n/a",
    "nan(ind)",
    "-nan(ind)",
    "nan(snan)",
    "1.#qnan",
    "-1.#qnan",
    "1.#ind",
    "-1.#ind",
];
/// What people write.
const SIGNS: [&str; 6] = ["none", "nil", "-", "--", "?", "."];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_program_s_way_to_write_nothing_is_known() {
        for cell in [
            "",
            " ",
            "NaN",
            "NA",
            "<NA>",
            "\\N",
            "#N/A",
            "-nan(ind)",
            "1.#IND",
            "NaT",
        ] {
            assert!(is_missing(cell) && is_nothing(cell), "{cell:?}");
        }
        for cell in ["-", "?", "None", "."] {
            assert!(is_missing(cell) && !is_nothing(cell), "{cell:?}");
        }
        for cell in ["0", "nano", "-1", "1.5"] {
            assert!(!is_missing(cell), "{cell:?}");
        }
    }
}
