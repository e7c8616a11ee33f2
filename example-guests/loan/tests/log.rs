//! The published log: the decider accepts all of it but work that overlaps.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};

use flate2::read::MultiGzDecoder;
use loan::Loan;
use quipu_guest::Context;
use quipu_guest::driver::{DecideError, Driver};
use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Line {
    id: String,
    r#type: String,
    data: Box<RawValue>,
}

#[test]
fn only_overlapping_work_of_the_published_log_is_rejected() {
    let Some(path) = std::env::var_os("QUIPU_LOAN_LOG") else {
        eprintln!("left out: QUIPU_LOAN_LOG names no log of loan commands (NDJSON, gz)");
        return;
    };
    let lines = BufReader::new(MultiGzDecoder::new(File::open(path).unwrap())).lines();
    let mut loans = HashMap::new();
    let mut rejected = BTreeMap::<(String, String), u64>::new();
    let mut accepted = 0_u64;
    for line in lines {
        let line: Line = serde_json::from_str(&line.unwrap()).unwrap();
        let loan: &mut Driver<Loan> = loans
            .entry(line.id.clone())
            .or_insert_with(|| Driver::open(line.id.as_str(), None).unwrap());
        match loan.decide(&line.r#type, 1, line.data.get(), Context::default()) {
            Ok(events) => {
                accepted += 1;
                for event in events {
                    loan.apply(event.event_type, event.schema_version, &event.body)
                        .unwrap();
                }
            }
            Err(DecideError::Rejected(rejection)) => {
                *rejected
                    .entry((line.r#type, rejection.code().to_owned()))
                    .or_default() += 1;
            }
            Err(error) => panic!("{} {}: {error}", line.id, line.r#type),
        }
    }
    eprintln!(
        "{} loans, {accepted} accepted, rejected: {rejected:?}",
        loans.len()
    );
    assert!(accepted > 0);
    for (command_type, code) in rejected.keys() {
        assert_eq!(
            (command_type.as_str(), code.as_str()),
            ("complete-work", "work-not-started")
        );
    }
}
