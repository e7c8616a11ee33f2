use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use super::Data;
use super::figures::{
    AUTOMATON, CALL_AGAIN, CANCELLED_FIRST, End, FRAUD_SHARE, FRAUD_TIMES, LEAD_TIMES, NOBODY,
    OFFICERS, Path, Reach, SELECTED_EARLY, path, repeats, times,
};
use super::quantiles::{
    AMOUNT_FINALIZED, AMOUNT_OTHERS, CALL, COMPLETE, FRAUD, Item, LEAD, MISSING, VALIDATE,
    WORK_SECONDS, sample,
};
use super::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

/// One command of one application.
#[derive(Clone, Copy)]
pub(super) struct Step {
    pub at_ms: u64,
    pub command: &'static str,
    pub data: Data,
    pub actor: Option<u32>,
}

/// Returns all commands of an application, ordered by time. The result depends only on the
/// arguments.
pub(super) fn application(seed: u64, submitted_ms: u64) -> Vec<Step> {
    let mut rng = StdRng::seed_from_u64(seed);
    let path = path(&mut rng);
    let mut script = Script {
        rng,
        path,
        submitted_ms,
        now_ms: submitted_ms,
        actor: None,
        steps: Vec::new(),
    };
    script.run();
    script.steps
}

/// The commands of an application while they are generated.
struct Script {
    rng: StdRng,
    path: &'static Path,
    submitted_ms: u64,
    now_ms: u64,
    /// The actor of the next commands.
    actor: Option<u32>,
    steps: Vec<Step>,
}

impl Script {
    fn run(&mut self) {
        self.actor = Some(AUTOMATON);
        let amounts = match self.path.reach {
            Reach::Finalized => &AMOUNT_FINALIZED,
            _ => &AMOUNT_OTHERS,
        };
        let amount = match sample(&mut self.rng, amounts) {
            small @ ..1000 => small,
            amount => amount / 500 * 500,
        };
        self.ask("submit", Data::Amount { amount });
        self.say("partly-submit");
        if self.rng.random_bool(FRAUD_SHARE) {
            self.schedule(&FRAUD);
            self.work(&FRAUD, FRAUD_TIMES, |_| ());
        }
        if self.rng.random_bool(self.path.lead) {
            self.schedule(&LEAD);
            self.work(&LEAD, LEAD_TIMES, Script::first_decision);
        } else {
            self.actor = Some(AUTOMATON);
            self.wait(30 * SECOND_MS, 50 * SECOND_MS);
            self.first_decision();
        }
        if self.path.reach >= Reach::Preaccepted {
            self.complete_application();
        }
        if self.path.reach == Reach::Finalized {
            self.call_about_offers();
        }
    }

    fn first_decision(&mut self) {
        if self.path.reach == Reach::PartlySubmitted {
            self.say("decline");
        } else {
            self.say("preaccept");
            self.schedule(&COMPLETE);
        }
    }

    fn complete_application(&mut self) {
        let lapses = self.path.reach != Reach::Finalized && self.rng.random_bool(self.path.lapse);
        self.work(&COMPLETE, self.path.complete_times, |script| {
            if script.path.reach >= Reach::Accepted {
                script.say("accept");
            }
            if script.path.reach == Reach::Finalized {
                script.first_offer();
            } else if !lapses {
                script.end();
            }
        });
        if lapses {
            self.lapse(&COMPLETE);
        }
    }

    fn first_offer(&mut self) {
        let mut pair = ["finalize", "select-offer"];
        if self.rng.random_bool(SELECTED_EARLY) {
            pair.reverse();
        }
        self.say_all(&pair);
        self.say_all(&["create-offer", "send-offer"]);
        self.schedule(&CALL);
    }

    fn call_about_offers(&mut self) {
        let offers = repeats(&mut self.rng, self.path.more_offers);
        for _ in 0..offers {
            self.work(&CALL, 1.0, Script::another_offer);
        }
        let validated = self.rng.random_bool(self.path.validated);
        let lapses = !validated && self.rng.random_bool(self.path.lapse);
        let times = (self.path.call_times - self.path.more_offers).max(1.0);
        self.work(&CALL, times, |script| {
            if validated {
                script.say("return-offer");
                script.schedule(&VALIDATE);
            } else if !lapses {
                script.end();
            }
        });
        if validated {
            self.validate();
        }
        if lapses {
            self.lapse(&CALL);
        }
    }

    fn another_offer(&mut self) {
        let mut pair = ["cancel-offer", "select-offer"];
        pair.shuffle(&mut self.rng);
        self.say_all(&pair);
        self.say_all(&["create-offer", "send-offer"]);
        if self.rng.random_bool(CALL_AGAIN) {
            self.schedule(&CALL);
        }
    }

    fn validate(&mut self) {
        let missing = self.rng.random_bool(self.path.missing);
        let rounds = if missing {
            times(&mut self.rng, self.path.missing_rounds)
        } else {
            0
        };
        let ends_missing = matches!(self.path.end, End::Cancelled | End::Open);
        for round in 1..=rounds {
            self.work(&VALIDATE, self.path.validate_times, |script| {
                script.schedule(&MISSING)
            });
            let last = ends_missing && round == rounds;
            self.work(&MISSING, self.path.missing_times, |script| {
                if last {
                    script.end();
                } else {
                    script.schedule(&VALIDATE);
                }
            });
            if last {
                return;
            }
        }
        self.work(&VALIDATE, self.path.validate_times, Script::end);
    }

    /// Ends the application during a piece of work, and settles its offer.
    fn end(&mut self) {
        let offered = self.path.reach == Reach::Finalized;
        match self.path.end {
            End::Granted => {
                let mut all = ["approve", "register", "activate", "accept-offer"];
                all.shuffle(&mut self.rng);
                self.say_all(&all);
            }
            End::Declined => {
                let mut pair = ["decline", "decline-offer"];
                pair.shuffle(&mut self.rng);
                self.say_all(if offered { &pair } else { &["decline"] });
            }
            End::Cancelled => self.cancel(),
            End::Open => {}
        }
    }

    fn cancel(&mut self) {
        let mut pair = ["cancel-offer", "cancel"];
        if self.rng.random_bool(CANCELLED_FIRST) {
            pair.reverse();
        }
        let offered = self.path.reach == Reach::Finalized;
        self.say_all(if offered { &pair } else { &["cancel"] });
    }

    /// Cancels an application after a month without an answer. A program first completes the
    /// current item, although nobody has started it.
    fn lapse(&mut self, item: &Item) {
        let month_ms = 30 * DAY_MS + 8 * HOUR_MS + self.rng.random_range(0..16 * HOUR_MS);
        self.now_ms = self.now_ms.max(self.submitted_ms + month_ms);
        self.actor = Some(AUTOMATON);
        self.ask("complete-work", Data::Item { item: item.name });
        self.cancel();
    }

    fn schedule(&mut self, item: &Item) {
        self.ask("schedule-work", Data::Item { item: item.name });
    }

    /// Works on a scheduled item: starts and completes it several times, with `last` during the
    /// last time.
    fn work(&mut self, item: &Item, mean_times: f64, last: impl FnOnce(&mut Self)) {
        let times = times(&mut self.rng, mean_times);
        for time in 1..=times {
            let quantiles = if time == 1 {
                &item.first_minutes
            } else {
                &item.pause_minutes
            };
            let pause_ms = sample(&mut self.rng, quantiles) * MINUTE_MS;
            self.wait(pause_ms, pause_ms + MINUTE_MS);
            self.wait_for_office_hours();
            let officer = self.officer();
            let known = if self.rng.random_bool(NOBODY) {
                None
            } else {
                Some(officer)
            };
            self.actor = known;
            self.ask("start-work", Data::Item { item: item.name });
            let work_ms = sample(&mut self.rng, &WORK_SECONDS) * SECOND_MS;
            self.wait(work_ms, work_ms + SECOND_MS);
            if time == times {
                self.actor = Some(officer);
                break;
            }
            self.ask("complete-work", Data::Item { item: item.name });
        }
        let known = self.steps.last().and_then(|step| step.actor);
        last(self);
        self.actor = known;
        self.ask("complete-work", Data::Item { item: item.name });
    }

    fn say(&mut self, command: &'static str) {
        self.ask(command, Data::None {});
    }

    fn say_all(&mut self, commands: &[&'static str]) {
        for command in commands {
            self.say(command);
        }
    }

    fn ask(&mut self, command: &'static str, data: Data) {
        self.steps.push(Step {
            at_ms: self.now_ms,
            command,
            data,
            actor: self.actor,
        });
        self.wait(0, SECOND_MS);
    }

    fn wait(&mut self, low_ms: u64, high_ms: u64) {
        self.now_ms += self.rng.random_range(low_ms..=high_ms);
    }

    /// Waits for office hours: 8 to 21 o'clock, except on Sundays.
    fn wait_for_office_hours(&mut self) {
        // Day 0 of the clock, 1970-01-01, was a Thursday.
        const SUNDAY: u64 = 3;
        let (day, time_ms) = (self.now_ms / DAY_MS, self.now_ms % DAY_MS);
        let open = 8 * HOUR_MS..21 * HOUR_MS;
        let late = time_ms >= open.end;
        let mut next = if late { day + 1 } else { day };
        if next % 7 == SUNDAY {
            next += 1;
        }
        if next != day || time_ms < open.start {
            self.now_ms = next * DAY_MS + open.start + self.rng.random_range(0..3 * HOUR_MS);
        }
    }

    /// Returns a random officer. Some are busier than others.
    fn officer(&mut self) -> u32 {
        const FIRST: u32 = 10_609;
        const APART: u32 = 9;
        let busy = self.rng.random_range(0..OFFICERS);
        FIRST + APART * busy.min(self.rng.random_range(0..OFFICERS))
    }
}
