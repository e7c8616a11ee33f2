//! Runs both generations on the commands of one application.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};

use flate2::read::MultiGzDecoder;
use loan::simulation::Simulation;
use loan_v2::LoanUpcasts;
use quipu_guest::driver::{DecideError, Driver, NewEvent, migrate};
use quipu_guest::testing::lifted;
use quipu_guest::{Context, Guest, Manifest};
use serde::Deserialize;
use serde_json::Value;

/// Type and body of a command.
pub type Command = (String, String);

#[derive(Deserialize)]
struct Line {
    id: String,
    r#type: String,
    data: Value,
}

/// Returns the commands of each application of a simulation.
pub fn simulated(seed: u64, commands: u64) -> Vec<Vec<Command>> {
    applications(Simulation::new(seed, commands).map(|line| line.to_json()))
}

/// Returns the commands of the published log. If `QUIPU_LOAN_LOG` does not name it, reports this on
/// stderr and returns nothing.
pub fn published() -> Option<Vec<Vec<Command>>> {
    let Some(path) = std::env::var_os("QUIPU_LOAN_LOG") else {
        eprintln!("left out: QUIPU_LOAN_LOG names no log of loan commands (NDJSON, gz)");
        return None;
    };
    let lines = BufReader::new(MultiGzDecoder::new(File::open(path).unwrap())).lines();
    Some(applications(lines.map(Result::unwrap)))
}

fn applications(lines: impl Iterator<Item = String>) -> Vec<Vec<Command>> {
    let mut applications: BTreeMap<String, Vec<Command>> = BTreeMap::new();
    for line in lines {
        let line: Line = serde_json::from_str(&line).unwrap();
        let command = (line.r#type, line.data.to_string());
        applications.entry(line.id).or_default().push(command);
    }
    applications.into_values().collect()
}

/// One application in one generation.
pub struct Application<G: Guest>(Driver<G>);

pub type First = Application<loan::Loan>;
pub type Second = Application<loan_v2::Loan>;

/// A rejection as a client sees it: code, message, details.
pub type No = (String, String, Option<String>);

impl<G: Guest> Application<G> {
    pub fn new() -> Self {
        Application(Driver::open("1", None).unwrap())
    }

    pub fn decide(&self, (command_type, body): &Command) -> Result<Vec<NewEvent>, No> {
        match self.0.decide(command_type, 1, body, Context::default()) {
            Ok(events) => Ok(events),
            Err(DecideError::Rejected(no)) => {
                let details = no.details_json().map(str::to_owned);
                Err((no.code().to_owned(), no.message().to_owned(), details))
            }
            Err(error) => panic!("{command_type} {body}: {error}"),
        }
    }

    /// Folds events of this generation.
    pub fn fold(&mut self, events: &[NewEvent]) {
        for event in events {
            let NewEvent {
                event_type,
                schema_version,
                body,
                ..
            } = event;
            self.0.apply(event_type, *schema_version, body).unwrap();
        }
    }

    /// Decides a command and folds the resulting events.
    pub fn execute(&mut self, command: &Command) -> Result<(), No> {
        let events = self.decide(command)?;
        self.fold(&events);
        Ok(())
    }

    pub fn state(&self) -> String {
        self.0.snapshot().unwrap().body
    }

    pub fn view(&self) -> Value {
        serde_json::from_str(&self.0.view().unwrap()).unwrap()
    }
}

impl First {
    /// Returns the state, migrated to the second generation.
    pub fn migrated(&self) -> String {
        let old = self.0.snapshot().unwrap();
        let new = migrate::<loan_v2::Loan>(&old).unwrap();
        assert_eq!(new.state_schema_version, 2);
        new.body
    }
}

impl Second {
    /// Folds events of the first generation as a host does: lifted, and with the current names of
    /// their types.
    pub fn fold_lifted(&mut self, events: &[NewEvent]) {
        let manifest = Manifest::of::<loan_v2::Loan>();
        for event in events {
            let lifted = lifted::<LoanUpcasts>(event.event_type, event.schema_version, &event.body);
            for part in lifted.events() {
                let known = manifest.event(&part.event_type).unwrap();
                self.0
                    .apply(known.name, part.schema_version, &part.body)
                    .unwrap();
            }
        }
    }
}

/// Panics unless the view of the second generation is that of the first with a currency.
#[track_caller]
pub fn same_view(first: &First, second: &Second) {
    let mut expected = first.view();
    expected["currency"] = "EUR".into();
    assert_eq!(second.view(), expected);
}
