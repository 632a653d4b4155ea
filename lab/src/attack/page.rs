//! An attack's page.

use std::fmt::Write;

use super::{Finding, Outcome};
use crate::report::{foot, head};
use draw::escape;

/// One self-contained page: the figures, and what each seed found.
pub fn render(outcome: &Outcome, found: &[(u64, Finding)], about: &str, command: &str) -> String {
    let mut page = head(&format!("Attack: {}", outcome.attack), command);
    let _ = write!(page, "<p>{}.</p>", escape(about));
    page.push_str("<section><h2>Means over the seeds</h2><table>");
    for (name, value) in outcome.figures() {
        row(&mut page, name, &value);
    }
    page.push_str("</table></section>");
    for (seed, finding) in found {
        let _ = write!(page, "<section><h2>Seed {seed}</h2><table>");
        let one = [(*seed, finding.clone())];
        for (name, value) in Outcome::of(&outcome.attack, None, &one).figures() {
            row(&mut page, name, &value);
        }
        for (name, value) in &finding.notes {
            row(&mut page, name, value);
        }
        page.push_str("</table></section>");
    }
    page.push_str(foot());
    page
}

fn row(page: &mut String, name: &str, value: &str) {
    let _ = write!(page, "<tr><th>{}<td>{}", escape(name), escape(value));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_says_what_was_found_and_runs_nothing() {
        let mut finding = Finding {
            auc: Some(0.975),
            ..Finding::default()
        };
        finding.note("best <statistic>", "leverage".to_owned());
        let found = [(3, finding)];
        let outcome = Outcome::of("membership", None, &found);
        let page = render(
            &outcome,
            &found,
            "a coordinator asks",
            "alambic-lab attack <x>",
        );
        for part in ["0.975", "Seed 3", "best &lt;statistic&gt;", "leverage"] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("<script") && !page.contains("<x>"));
    }
}
