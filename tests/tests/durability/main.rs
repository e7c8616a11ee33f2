//! Semantics 2.5: a client with its host is killed repeatedly. No acknowledged answer is lost, and in the end
//! everything is as if the process had never been killed.
#![allow(clippy::unwrap_used)]

mod clock;
mod disk;
mod kills;
mod locked;
mod syscalls;

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use quipu::model::{RecordedEvent, StreamId};
use quipu_tests::{Place, examples, log, seed};
use rand::Rng;

/// Answers by line: versions and positions, or the code of a rejection.
type Answers = HashMap<usize, String>;

struct Client {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Client {
    fn start(place: &Place, seed: u64, lines: u64, answered: &Answers) -> Self {
        let (component, known) = (place.path("loan.wasm"), place.path("answered"));
        std::fs::write(&component, examples::loan()).unwrap();
        let numbers: String = answered
            .keys()
            .map(|number| format!("{number}\n"))
            .collect();
        std::fs::write(&known, numbers).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_loan_client"))
            .args([place.url(), component.to_str().unwrap()])
            .args([seed.to_string(), lines.to_string()])
            .arg(known)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// Reads one more answer; returns false at the end.
    fn read(&mut self, answers: &mut Answers) -> bool {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        // An answer that was cut off by the end does not count.
        let Some(text) = line.strip_suffix('\n') else {
            return false;
        };
        let (number, answer) = text.split_once(' ').unwrap();
        let before = answers.insert(number.parse().unwrap(), answer.to_owned());
        assert_eq!(before, None, "line {number} was answered twice");
        true
    }

    /// Sends SIGKILL and reads the answers up to then.
    fn kill(mut self, answers: &mut Answers) {
        self.child.kill().unwrap();
        while self.read(answers) {}
        self.child.wait().unwrap();
    }

    fn finish(mut self, answers: &mut Answers) {
        while self.read(answers) {}
        assert!(self.child.wait().unwrap().success());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_host_continues_without_losing_or_repeating_anything() {
    let (kills, lines): (u64, u64) = if seed::is_long() {
        (25, 60_000)
    } else {
        (3, 6_000)
    };
    let seed = seed::seeds(1)[0];
    let mut random = seed::random(seed);

    // Given an uninterrupted run
    let undisturbed = Place::sqlite();
    let mut expected = Answers::new();
    Client::start(&undisturbed, seed, lines, &expected).finish(&mut expected);
    assert_eq!(expected.len() as u64, lines);

    // When another run is killed at any moment, also during its start, and is resumed
    let place = Place::sqlite();
    let mut answers = Answers::new();
    for kill in 0..kills {
        let mut client = Client::start(&place, seed, lines, &answers);
        let more = random.random_range(0..=lines / (kills + 1));
        let read = (0..more).take_while(|_| client.read(&mut answers)).count();
        client.kill(&mut answers);
        eprintln!("kill {kill} after {read} answers, {} in all", answers.len());
    }
    Client::start(&place, seed, lines, &answers).finish(&mut answers);

    // Then every line got the same answer
    assert_eq!(answers.len() as u64, lines);
    for (number, answer) in &answers {
        let without_place = |answer: &str| match answer.split_once(' ').unwrap() {
            ("rejected", code) => code.to_owned(),
            (version, _) => version.to_owned(),
        };
        assert_eq!(
            without_place(answer),
            without_place(&expected[number]),
            "line {number}: {answer}"
        );
    }
    // and the streams are the same, and every answer is stored
    let (recorded, streams) = read(&place).await;
    check_answers(&answers, &recorded);
    let (recorded, expected_streams) = read(&undisturbed).await;
    check_answers(&expected, &recorded);
    assert!(streams == expected_streams, "the streams differ");
}

/// A stream's versions, types and data.
type Streams = BTreeMap<StreamId, Vec<(u64, String, Vec<u8>)>>;

async fn read(place: &Place) -> (Vec<RecordedEvent>, Streams) {
    let host = place.host().await;
    let log = log::whole(&host).await;
    host.shutdown().await.unwrap();
    let event = |it: &RecordedEvent| {
        let data = it.body.bytes().to_vec();
        (it.version.0, it.name.to_string(), data)
    };
    let streams = log::check(&log)
        .into_iter()
        .map(|(stream, events)| (stream, events.iter().map(event).collect()))
        .collect();
    (log, streams)
}

/// Checks that every acknowledged acceptance is stored at its position, and nothing else.
fn check_answers(answers: &Answers, recorded: &[RecordedEvent]) {
    let mut by_line: HashMap<usize, String> = recorded
        .iter()
        .map(|event| {
            let id = event.commit.command_id.as_ref().unwrap().as_str();
            let number = id.strip_prefix("line-").unwrap().parse().unwrap();
            (number, format!("{} {}", event.version, event.position))
        })
        .collect();
    for (number, answer) in answers {
        let place = by_line.remove(number);
        match place {
            Some(place) => assert!(
                answer.starts_with(&format!("{place} ")),
                "line {number}: {answer}, {place}"
            ),
            None => assert!(answer.starts_with("rejected "), "line {number}: {answer}"),
        }
    }
    assert_eq!(by_line.len(), 0, "recorded and never answered: {by_line:?}");
}
