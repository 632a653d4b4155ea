//! What coordinators that take turns do about it: wait, take the lease, renew
//! it, and end before it does; and what goes wrong with them.

use coordinator::store::Store;

use super::simulator::{Simulator, SimulatorEvent};

/// What a coordinator does about its turn.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// It waits, and looks whether it is its turn.
    Look,
    /// It asks to hold the lease for longer,
    Renew { life: u64 },
    /// and is told that it does, from when it asked on.
    Renewed { life: u64, asked: u64 },
    /// It looks whether its time is over.
    Watch { life: u64 },
    /// Something goes wrong.
    Fault,
}

impl Simulator {
    /// The process at this host is started, and waits for its turn.
    pub(super) fn wait_for_turn(&mut self) {
        if self.server.is_up() || self.server.host.waits {
            return;
        }
        self.server.host.waits = true;
        self.turn(0, Step::Look);
    }

    fn turn(&mut self, after_ms: u64, step: Step) {
        let node = self.server.host.number;
        let at = self.now + after_ms;
        self.at(at, SimulatorEvent::Turn { node, step });
    }

    pub(super) fn take_step(&mut self, step: Step) {
        let is_of = |life| life == self.server.life && self.server.is_up();
        match step {
            Step::Look if self.server.host.waits => self.look(),
            Step::Renew { life } if is_of(life) => self.renew(),
            Step::Renewed { life, asked } if is_of(life) => self.renewed(asked),
            Step::Watch { life } if is_of(life) => self.watch(),
            Step::Fault => self.turn_fault(),
            _ => {}
        }
    }

    /// Takes the lease if nobody has it, and opens the next epoch with it.
    fn look(&mut self) {
        let (now, node) = (self.now, self.server.host.number);
        if self.is_led_by_another() {
            return self.turn(LOOK_MS, Step::Look);
        }
        self.server.store.restart();
        if self.server.store.open_epoch().is_err() {
            return self.turn(1_000, Step::Look);
        }
        let Some(turns) = &mut self.turns else { return };
        let lead_on = turns.others.iter().filter(|one| {
            one.process.is_some() && one.host.paused_until <= now && now < one.host.trusted_until
        });
        let two = lead_on.count() > 0 && !turns.has_jumped;
        turns.holder = Some(node);
        turns.until = turns.clock(now) + turns.lease_ms as i64;
        let (trusted_ms, lease_ms) = (turns.trusted_ms(), turns.lease_ms);
        if two {
            self.hold(Err("a coordinator begins while another serves".to_owned()));
        }
        self.survived.turns += 1;
        self.server.host.waits = false;
        self.server.host.trusted_until = now + trusted_ms;
        self.begin_process();
        let life = self.server.life;
        self.turn(lease_ms / RENEWALS, Step::Renew { life });
        self.turn(trusted_ms, Step::Watch { life });
    }

    fn renew(&mut self) {
        let (now, node) = (self.now, self.server.host.number);
        let Some(turns) = &mut self.turns else { return };
        if turns.holder != Some(node) {
            return self.end_process();
        }
        turns.until = turns.clock(now) + turns.lease_ms as i64;
        let answered_in = turns.random.between(0, turns.lease_ms / 8);
        let life = self.server.life;
        self.turn(answered_in, Step::Renewed { life, asked: now });
    }

    fn renewed(&mut self, asked: u64) {
        let Some(turns) = &self.turns else { return };
        let (trusted_ms, every_ms) = (turns.trusted_ms(), turns.lease_ms / RENEWALS);
        let host = &mut self.server.host;
        host.trusted_until = host.trusted_until.max(asked + trusted_ms);
        let life = self.server.life;
        self.turn(every_ms, Step::Renew { life });
    }

    fn watch(&mut self) {
        let left = self.server.host.trusted_until.saturating_sub(self.now);
        if left == 0 {
            return self.end_process();
        }
        let life = self.server.life;
        self.turn(left, Step::Watch { life });
    }

    /// The process ends itself, and is started again.
    pub(super) fn end_process(&mut self) {
        self.remark(|| "a coordinator ends itself".to_owned());
        self.crash_server(false);
        let node = self.server.host.number;
        let at = self.now + self.random.duration(100, 5_000);
        self.at(at, SimulatorEvent::ServerStart { node });
    }

    pub(super) fn next_turn_fault(&mut self) {
        let Some(mean) = self.scenario.faults_ms else {
            return;
        };
        let Some(turns) = &mut self.turns else { return };
        let after_ms = turns.random.between(1, 2 * mean);
        self.turn(after_ms, Step::Fault);
    }

    /// The leader is paused or cut off from the database, or the database's
    /// clock is set.
    fn turn_fault(&mut self) {
        if self.is_calm {
            return;
        }
        let now = self.now;
        let Some(turns) = &mut self.turns else { return };
        let until = now + turns.random.duration(50, 60_000);
        match turns.random.between(0, 5) {
            0..3 => self.pause(until),
            3 => self.server.host.cut_until = until,
            _ => {
                let far = turns.random.duration(1, 60_000) as i64;
                let sign = if turns.random.chance(0.5) { 1 } else { -1 };
                turns.ahead_ms += sign * far;
                turns.has_jumped = true;
                self.survived.clock_jumps += 1;
            }
        }
        self.next_turn_fault();
    }

    /// What the process has sent to the database may still arrive; it learns
    /// of that when it runs again. Its devices look elsewhere.
    fn pause(&mut self, until: u64) {
        if self.is_paused() {
            return;
        }
        self.remark(|| format!("the leader is paused until {until}"));
        let (now, is_sent) = (self.now, self.random.chance(0.5));
        self.server.host.paused_until = until;
        self.survived.pauses += 1;
        let Some(process) = self.process() else {
            return;
        };
        let at = (process.epoch, process.next);
        let sent = process.appending.clone().filter(|_| is_sent);
        let is_open = process.landed.is_none();
        let sessions: Vec<_> = process.sessions.iter().map(|(a, b)| (*a, *b)).collect();
        if let Some(entries) = sent.filter(|_| is_open) {
            let landed = self.append(at, &entries);
            if let Some(process) = self.process() {
                process.landed = Some(landed);
            }
        }
        for (session, device) in sessions {
            let lost = now + self.random.between(10_000, 14_000);
            if lost < until {
                self.at(lost, SimulatorEvent::LinkLost { device, session });
            }
        }
    }
}

/// As in `coordinator::cli::standby`.
const RENEWALS: u64 = 6;
const LOOK_MS: u64 = 200;
