//! The published log of loan applications, or its simulation, from the first line to the last,
//! compared with counts made only from the file.
#![allow(clippy::unwrap_used)]

mod views;

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use futures::{StreamExt, stream};
use quipu::Host;
use quipu::engine::Error;
use quipu::model::{Position, StreamId};
use quipu::proof::Scope;
use quipu_tests::lines::{self, Answer, Line};
use quipu_tests::{Place, examples, log};

const IN_FLIGHT: usize = 256;
const SIMULATED: u64 = 30_000;

/// The expected results of a file, computed only from its lines.
#[derive(Default)]
struct Count {
    /// For each line, whether it is accepted.
    accepted: Vec<bool>,
    /// The final status of an application.
    statuses: HashMap<StreamId, &'static str>,
}

/// Work is completed at most as often as it was started; nothing else is rejected.
fn count(lines: &[Line]) -> Count {
    let mut counted = Count::default();
    let mut open: HashMap<(&str, String), u32> = HashMap::new();
    for line in lines {
        let item = line.body()["item"].as_str().unwrap_or_default().to_owned();
        let open = open.entry((&line.id, item)).or_default();
        let is_accepted = match &*line.r#type {
            "complete-work" if *open == 0 => false,
            "complete-work" => {
                *open -= 1;
                true
            }
            "start-work" => {
                *open += 1;
                true
            }
            _ => true,
        };
        counted.accepted.push(is_accepted);
        if let Some(status) = status_after(&line.r#type) {
            counted.statuses.insert(line.stream(), status);
        }
    }
    counted
}

fn status_after(command: &str) -> Option<&'static str> {
    Some(match command {
        "submit" => "submitted",
        "partly-submit" => "partly-submitted",
        "preaccept" => "preaccepted",
        "accept" => "accepted",
        "finalize" => "finalized",
        "approve" | "register" | "activate" => "granted",
        "decline" => "declined",
        "cancel" => "cancelled",
        _ => return None,
    })
}

async fn run(host: &Host, lines: &[Line]) -> Vec<Answer> {
    let start = Instant::now();
    let answers: Vec<Answer> = stream::iter(lines.iter().enumerate())
        .map(|(number, line)| lines::start(host, line, number))
        .buffered(IN_FLIGHT)
        .collect()
        .await;
    let rate = answers.len() as f64 / start.elapsed().as_secs_f64();
    eprintln!("{} commands, {rate:.0} a second", answers.len());
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_of_the_log_gets_the_expected_answer() {
    let published = lines::published();
    let is_published = published.is_some();
    let lines = published.unwrap_or_else(|| {
        eprintln!("QUIPU_LOAN_LOG is not set: {SIMULATED} simulated commands instead");
        lines::simulated(2012, SIMULATED)
    });
    let expected = count(&lines);
    let place = Place::sqlite();
    let host = place.host().await;
    examples::deploy(&host, examples::loan()).await;

    let first = run(&host, &lines).await;
    check_answers(&lines, &expected, &first);
    let accepted = expected.accepted.iter().filter(|it| **it).count();
    eprintln!("{accepted} accepted, {} rejected", lines.len() - accepted);
    if is_published {
        assert_eq!((accepted, lines.len() - accepted), (261_160, 1_040));
    }
    check_log(&host, &lines, &expected).await;
    check_statuses(&host, &expected).await;

    // Every decision is verified.
    let begin = Instant::now();
    let verified = host.verify(&Scope::default(), &mut |_| {}).await.unwrap();
    assert!(verified.is_sound(), "{:?}", verified.findings);
    let same: u64 = verified.commands.values().map(|tally| tally.same).sum();
    assert_eq!(same, accepted as u64);
    let rate = same as f64 / begin.elapsed().as_secs_f64();
    eprintln!("{same} decisions verified, {rate:.0} per second");

    // A second run adds nothing.
    let head = host.log_head().await.unwrap();
    let second = run(&host, &lines).await;
    check_answers(&lines, &expected, &second);
    for (first, second) in first.iter().flatten().zip(second.iter().flatten()) {
        assert!(!first.replayed && second.replayed);
        assert_eq!(
            (first.version, first.position),
            (second.version, second.position)
        );
        assert_eq!(first.events[0].id, second.events[0].id);
    }
    assert_eq!(host.log_head().await.unwrap(), head);
    assert_eq!(head, Position(accepted as u64));
    host.shutdown().await.unwrap();
}

/// Checks that it is accepted where this is expected, and otherwise rejected because the work was
/// not started.
fn check_answers(lines: &[Line], expected: &Count, answers: &[Answer]) {
    assert_eq!(answers.len(), lines.len());
    for (number, answer) in answers.iter().enumerate() {
        let context = || format!("line {number}: {} -> {answer:?}", lines[number].r#type);
        match answer {
            Ok(executed) => {
                assert!(expected.accepted[number], "{}", context());
                assert_eq!(executed.events.len(), 1, "{}", context());
            }
            Err(Error::Rejected { rejection, .. }) => {
                assert!(!expected.accepted[number], "{}", context());
                assert_eq!(rejection.code, "work-not-started", "{}", context());
            }
            Err(_) => panic!("{}", context()),
        }
    }
}

/// Checks that each application's events are its accepted lines, in order.
async fn check_log(host: &Host, lines: &[Line], expected: &Count) {
    let mut numbers: BTreeMap<StreamId, Vec<String>> = BTreeMap::new();
    for (number, line) in lines.iter().enumerate() {
        if expected.accepted[number] {
            let numbers = numbers.entry(line.stream()).or_default();
            numbers.push(format!("line-{number}"));
        }
    }
    let recorded: BTreeMap<StreamId, Vec<String>> = log::check(&log::whole(host).await)
        .into_iter()
        .map(|(stream, events)| {
            let ids = events.iter().map(|event| event.commit.command_id.as_ref());
            (stream, ids.map(|id| id.unwrap().to_string()).collect())
        })
        .collect();
    assert!(
        recorded == numbers,
        "the log has other commands or another order"
    );
}

async fn check_statuses(host: &Host, expected: &Count) {
    let states = expected.statuses.iter().map(|(stream, status)| async move {
        let view = host.state(stream).await.unwrap();
        let state: serde_json::Value = serde_json::from_str(&view.state).unwrap();
        assert_eq!(state["status"], *status, "{stream}");
    });
    stream::iter(states).buffer_unordered(16).count().await;
}
