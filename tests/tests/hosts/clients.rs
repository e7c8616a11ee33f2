//! Hosts in processes of their own, one of which is killed while it works.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};

use quipu::model::Position;
use quipu::store::{Direction, Filter};
use quipu_tests::{Place, build, examples, log, seed};

/// A small number, so that the hosts compete.
const ACCOUNTS: usize = 6;

/// Answers by deposit: version and position.
type Answers = HashMap<usize, (u64, u64)>;

struct Client {
    child: Child,
    output: BufReader<ChildStdout>,
}

impl Client {
    fn start(place: &Place, name: &str, count: usize, answered: &Answers) -> Self {
        let known = place.path(&format!("answered-{name}"));
        let numbers: String = answered.keys().map(|n| format!("{n}\n")).collect();
        std::fs::write(&known, numbers).unwrap();
        let component = place.path("account.wasm");
        let mut child = Command::new(env!("CARGO_BIN_EXE_bank_client"))
            .args([place.url(), component.to_str().unwrap(), name])
            .args([ACCOUNTS.to_string(), count.to_string()])
            .arg(known)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    /// Reads at most this number of answers.
    fn read(&mut self, most: usize, answers: &mut Answers) {
        for _ in 0..most {
            let mut line = String::new();
            self.output.read_line(&mut line).unwrap();
            // An answer that was cut off by the end does not count.
            let Some(text) = line.strip_suffix('\n') else {
                return;
            };
            let numbers: Vec<u64> = text
                .split(' ')
                .take(3)
                .map(|it| it.parse().unwrap())
                .collect();
            let before = answers.insert(numbers[0] as usize, (numbers[1], numbers[2]));
            assert_eq!(before, None, "deposit {} was answered twice", numbers[0]);
        }
    }

    fn finish(mut self, answers: &mut Answers) {
        self.read(usize::MAX, answers);
        assert!(self.child.wait().unwrap().success());
    }
}

/// This number of hosts deposit at the same time. The first is killed, and its client continues at
/// a new host with the ids of the deposits that may or may not have been answered.
async fn check(hosts: usize, each: usize) {
    let seed = seed::seeds(1)[0];
    let mut random = seed::random(seed);
    let place = Place::postgres();
    let bank = place.bank().await;
    std::fs::write(place.path("account.wasm"), examples::account()).unwrap();
    for n in 0..ACCOUNTS {
        let open = build::command("open", r#"{"owner":"ann"}"#);
        bank.execute(&build::stream(&format!("account-{n}")), open)
            .await
            .unwrap();
    }
    let names: Vec<String> = (0..hosts).map(|n| format!("host{n}")).collect();
    let mut answers: Vec<Answers> = vec![Answers::new(); hosts];
    let mut clients: Vec<Client> = names
        .iter()
        .map(|name| Client::start(&place, name, each, &Answers::new()))
        .collect();
    let reading = tokio::spawn(follow(bank.clone(), ACCOUNTS + hosts * each));

    let kill_after = rand::Rng::random_range(&mut random, 1..each / 2);
    clients[0].read(kill_after, &mut answers[0]);
    clients[0].child.kill().unwrap();
    clients[0].read(usize::MAX, &mut answers[0]);
    clients[0].child.wait().unwrap();
    // All ids a second time: recorded deposits are replayed.
    clients[0] = Client::start(&place, &names[0], each, &Answers::new());
    let first_answers = std::mem::take(&mut answers[0]);
    for (client, answers) in clients.into_iter().zip(&mut answers) {
        client.finish(answers);
        assert_eq!(answers.len(), each);
    }
    for (n, place) in &first_answers {
        assert_eq!(answers[0][n], *place, "deposit {n} of the killed host");
    }

    let log = log::whole(&bank).await;
    let streams = log::check(&log);
    assert_eq!(log.len(), ACCOUNTS + hosts * each);
    assert_eq!(streams.len(), ACCOUNTS);
    for event in log
        .iter()
        .filter(|event| event.name.as_str() == "deposited")
    {
        let id = event.commit.command_id.as_ref().unwrap().as_str();
        let (name, n) = id.split_once('-').unwrap();
        let host: usize = name.strip_prefix("host").unwrap().parse().unwrap();
        let answer = answers[host][&n.parse().unwrap()];
        assert_eq!(answer, (event.version.0, event.position.0), "{id}");
    }
    let followed = reading.await.unwrap();
    let positions: Vec<u64> = log.iter().map(|event| event.position.0).collect();
    assert_eq!(followed, positions, "a reader at the time saw another log");
    bank.shutdown().await.unwrap();
}

/// Reads the log while it grows, from the first position, until it has this number of events.
async fn follow(host: quipu::Host, count: usize) -> Vec<u64> {
    let (mut seen, mut after) = (Vec::new(), Position(0));
    while seen.len() < count {
        let page = host
            .read_log(after, Direction::Forward, 1_000, &Filter::default())
            .await
            .unwrap();
        seen.extend(page.events.iter().map(|event| event.position.0));
        if let Some(last) = page.events.last() {
            after = last.position;
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_lose_and_duplicate_nothing_though_one_is_killed() {
    check(2, if seed::is_long() { 5_000 } else { 800 }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hosts_lose_and_duplicate_nothing_though_one_is_killed() {
    check(4, if seed::is_long() { 5_000 } else { 400 }).await;
}
