//! Live progress on a terminal; a line a step elsewhere.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use coordinator::status::Progress as Step;

use crate::simulation::Seen;

/// Shows what is going on, on standard error.
#[derive(Clone, Debug)]
pub struct Progress {
    bar: ProgressBar,
    live: bool,
    quiet: bool,
}

impl Progress {
    /// Live on a terminal, lines elsewhere, nothing if `quiet`.
    pub fn new(quiet: bool) -> Self {
        let live = !quiet && std::io::stderr().is_terminal();
        let bar = if live {
            ProgressBar::new_spinner()
        } else {
            ProgressBar::hidden()
        };
        bar.enable_steady_tick(Duration::from_millis(100));
        Self { bar, live, quiet }
    }

    /// A new stage begins.
    pub fn stage(&mut self, what: &str) {
        self.bar.set_style(ProgressStyle::default_spinner());
        self.bar.set_message(what.to_owned());
        if !self.live && !self.quiet {
            eprintln!("{what}");
        }
    }

    /// The stage has this many steps.
    pub fn bar(&mut self, steps: u64) {
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} [{bar:30}] {pos}/{len}") {
            self.bar.set_style(style);
        }
        self.bar.set_length(steps);
        self.bar.set_position(0);
    }

    /// One step is done.
    pub fn advance(&mut self) {
        self.bar.inc(1);
    }

    /// Whether somebody watches.
    pub fn is_live(&self) -> bool {
        self.live
    }

    /// What a simulation is at.
    pub fn simulated(&mut self, seen: &Seen) {
        match *seen {
            Seen::Device {
                phase,
                begun,
                devices,
            } => {
                if begun == 1 {
                    self.stage(&format!("    {phase}: devices"));
                    self.bar(devices as u64);
                }
                self.bar.set_position(begun as u64);
            }
            Seen::Job { phase } => self.stage(&format!("    {phase}: coordinator")),
            Seen::Step { step, steps } => {
                if self.bar.length() != Some(u64::from(steps)) {
                    self.bar(u64::from(steps));
                }
                self.bar.set_position(u64::from(step));
            }
        }
    }

    /// What the coordinator says of its round.
    pub fn round(&mut self, step: &Step) {
        match step {
            Step::PhaseOpened {
                phase,
                participants,
                ..
            } => {
                let whom = match participants {
                    0 => String::new(),
                    1 => ", 1 device".to_owned(),
                    many => format!(", {many} devices"),
                };
                self.stage(&format!("  {phase}{whom}"));
                if *participants > 0 {
                    self.bar(*participants as u64);
                }
            }
            Step::Accepted { contributed, .. } => self.bar.set_position(*contributed as u64),
            Step::Released {
                version,
                bytes,
                lineage,
                ..
            } => {
                self.stage(&format!(
                    "  student {version} released: {bytes} bytes from {lineage} devices"
                ));
            }
            _ => {}
        }
    }

    /// Nothing more to show.
    pub fn finish(&mut self) {
        self.bar.finish_and_clear();
    }
}
