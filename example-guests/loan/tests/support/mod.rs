//! Runs loan commands through the decider and computes figures, for the published log and for the
//! simulation.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};

use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use loan::Loan;
use quipu_guest::Context;
use quipu_guest::driver::{DecideError, Driver};
use serde::Deserialize;
use serde_json::Value;

/// One line of a log of loan commands.
#[derive(Deserialize)]
struct Line {
    id: String,
    r#type: String,
    data: Value,
    at: String,
    actor: Option<String>,
}

/// Returns the lines of the published log. If `QUIPU_LOAN_LOG` does not name it, reports this on
/// stderr and returns nothing.
pub fn published_log() -> Option<impl Iterator<Item = String>> {
    let Some(path) = std::env::var_os("QUIPU_LOAN_LOG") else {
        eprintln!("left out: QUIPU_LOAN_LOG names no log of loan commands (NDJSON, gz)");
        return None;
    };
    let lines = BufReader::new(MultiGzDecoder::new(File::open(path).unwrap())).lines();
    Some(lines.map(Result::unwrap))
}

/// The results of the commands.
#[derive(Default)]
pub struct Run {
    /// Number of rejections by command type and code.
    pub rejected: BTreeMap<(String, String), u64>,
    commands: f64,
    types: BTreeMap<String, f64>,
    starts: BTreeMap<String, f64>,
    actors: BTreeMap<Option<String>, f64>,
    changes: f64,
    loans: HashMap<String, Application>,
}

struct Application {
    driver: Driver<Loan>,
    commands: f64,
    offers: f64,
    rejected: bool,
    first: Timestamp,
    last: Timestamp,
}

impl Run {
    /// Runs the commands.
    ///
    /// # Panics
    /// When a line can't be read, or a command results in anything other than events or a
    /// rejection.
    pub fn of(lines: impl Iterator<Item = String>) -> Self {
        let mut run = Run::default();
        let mut before = String::new();
        for line in lines {
            let line: Line = serde_json::from_str(&line).unwrap();
            run.changes += f64::from(u8::from(line.id != before));
            before.clone_from(&line.id);
            run.take(line);
        }
        run
    }

    fn take(&mut self, line: Line) {
        let at: Timestamp = line.at.parse().unwrap();
        let application = self
            .loans
            .entry(line.id)
            .or_insert_with_key(|id| Application {
                driver: Driver::open(id.as_str(), None).unwrap(),
                commands: 0.0,
                offers: 0.0,
                rejected: false,
                first: at,
                last: at,
            });
        application.last = at;
        application.commands += 1.0;
        application.offers += f64::from(u8::from(line.r#type == "select-offer"));
        self.commands += 1.0;
        if line.r#type == "start-work" {
            *self
                .starts
                .entry(line.data["item"].as_str().unwrap().to_owned())
                .or_default() += 1.0;
        }
        *self.actors.entry(line.actor).or_default() += 1.0;
        *self.types.entry(line.r#type.clone()).or_default() += 1.0;
        let driver = &mut application.driver;
        match driver.decide(&line.r#type, 1, &line.data.to_string(), Context::default()) {
            Ok(events) => {
                for event in events {
                    driver
                        .apply(event.event_type, event.schema_version, &event.body)
                        .unwrap();
                }
            }
            Err(DecideError::Rejected(rejection)) => {
                application.rejected = true;
                *self
                    .rejected
                    .entry((line.r#type, rejection.code().to_owned()))
                    .or_default() += 1;
            }
            Err(error) => panic!("{}: {error}", line.r#type),
        }
    }

    /// Returns figures by name. Shares are in percent.
    pub fn figures(&self) -> BTreeMap<String, f64> {
        let mut figures = BTreeMap::new();
        let mut put = |name: &str, value: f64| {
            figures.insert(name.to_owned(), value);
        };
        let loans = self.loans.len() as f64;
        let views: Vec<Value> = self
            .loans
            .values()
            .map(|loan| serde_json::from_str(&loan.driver.view().unwrap()).unwrap())
            .collect();
        let ends = ["granted", "declined", "cancelled"];
        let share = |status: &str| {
            100.0 / loans * views.iter().filter(|view| view["status"] == status).count() as f64
        };
        for end in ends {
            put(&format!("% {end}"), share(end));
        }
        put("% open", 100.0 - ends.map(share).iter().sum::<f64>());

        let commands = sorted(self.loans.values().map(|loan| loan.commands));
        put("commands per application, mean", self.commands / loans);
        put("commands per application, median", at(&commands, 0.5));
        put("commands per application, 90 %", at(&commands, 0.9));
        put("commands per application, 99 %", at(&commands, 0.99));
        for (command_type, count) in &self.types {
            put(
                &format!("{command_type}, of 1,000 commands"),
                1000.0 / self.commands * count,
            );
        }
        for (item, count) in &self.starts {
            put(&format!("{item}, starts per application"), count / loans);
        }

        let offers = sorted(
            self.loans
                .values()
                .map(|loan| loan.offers)
                .filter(|n| *n > 0.0),
        );
        let one = offers.iter().filter(|n| **n == 1.0).count() as f64;
        put("offers per application with any", mean(&offers));
        put(
            "% with one offer, of those with any",
            100.0 * one / offers.len() as f64,
        );

        let amount = |name: &str| sorted(views.iter().filter_map(|view| view[name].as_f64()));
        put("amount, mean", mean(&amount("amount")));
        put("amount, median", at(&amount("amount"), 0.5));
        put("amount granted, mean", mean(&amount("granted_amount")));

        let rejected = self.rejected.values().sum::<u64>() as f64;
        let touched = self.loans.values().filter(|loan| loan.rejected).count() as f64;
        put(
            "rejected, of 1,000 commands",
            1000.0 / self.commands * rejected,
        );
        put(
            "% of applications with a rejection",
            100.0 / loans * touched,
        );

        let by = |actor: Option<&str>| {
            let count = self
                .actors
                .get(&actor.map(str::to_owned))
                .copied()
                .unwrap_or_default();
            100.0 / self.commands * count
        };
        put("% of commands by the automaton", by(Some("112")));
        put("% of commands by nobody known", by(None));
        let officers: BTreeSet<_> = self
            .actors
            .keys()
            .flatten()
            .filter(|actor| *actor != "112")
            .collect();
        put("officers", officers.len() as f64);

        let day = 86_400.0;
        let days = sorted(
            self.loans
                .values()
                .map(|loan| loan.last.duration_since(loan.first).as_secs_f64() / day),
        );
        put("days from first to last command, median", at(&days, 0.5));
        put("days from first to last command, 75 %", at(&days, 0.75));
        put("days from first to last command, 90 %", at(&days, 0.9));
        put(
            "% of commands after another application's",
            100.0 / self.commands * self.changes,
        );
        figures
    }
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn at(sorted: &[f64], share: f64) -> f64 {
    sorted[((sorted.len() as f64 * share) as usize).min(sorted.len() - 1)]
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}
