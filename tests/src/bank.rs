//! Banks: hosts with clients in processes of their own, which can be killed and frozen, and
//! the check that nothing they acknowledged is lost or doubled.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use quipu::Host;

use crate::{Place, build, examples, log};

/// Few, so that hosts get in each other's way.
pub const ACCOUNTS: usize = 6;

/// More deposits than a test comes to.
const DEPOSITS: usize = 1_000_000;

/// Without an answer for so long, a test fails.
const STALLED: Duration = Duration::from_secs(180);

/// Acknowledged deposits by number: version and position.
pub type Answers = HashMap<usize, (u64, u64)>;

/// A host with a client, started as often as it is killed.
pub struct Bank {
    program: &'static str,
    name: String,
    url: String,
    component: std::path::PathBuf,
    known: std::path::PathBuf,
    answers: Arc<Mutex<Answers>>,
    running: Option<Running>,
}

struct Running {
    child: Child,
    readers: Vec<std::thread::JoinHandle<()>>,
    errors: Arc<Mutex<String>>,
}

/// Opens the accounts of a place.
pub async fn open_accounts(place: &Place) {
    let host = place.bank().await;
    std::fs::write(place.path("account.wasm"), examples::account()).unwrap();
    for n in 0..ACCOUNTS {
        let open = build::command("open", r#"{"owner":"ann"}"#);
        let account = build::stream(&format!("account-{n}"));
        host.execute(&account, open).await.unwrap();
    }
    host.shutdown().await.unwrap();
}

/// Checks that every acknowledged deposit is where it was said to be, and none is there twice.
pub async fn check(place: &Place, banks: &[Bank]) {
    let host = place.host().await;
    check_on(&host, banks).await;
    host.shutdown().await.unwrap();
}

async fn check_on(host: &Host, banks: &[Bank]) {
    let log = log::whole(host).await;
    assert_eq!(log::check(&log).len(), ACCOUNTS);
    let deposits = log.iter().filter(|it| it.name.as_str() == "deposited");
    let mut recorded: HashMap<&str, (u64, u64)> = HashMap::new();
    for event in deposits {
        let id = event.commit.command_id.as_ref().unwrap().as_str();
        let place = (event.version.0, event.position.0);
        let before = recorded.insert(id, place);
        assert_eq!(before, None, "{id} was recorded twice");
    }
    let mut acknowledged = 0;
    for bank in banks {
        let answers = bank.answers();
        acknowledged += answers.len();
        for (n, place) in answers {
            let id = format!("{}-{n}", bank.name);
            assert_eq!(recorded.get(&*id), Some(&place), "{id}");
        }
    }
    let places: HashSet<_> = recorded.values().map(|(_, position)| position).collect();
    assert_eq!(places.len(), recorded.len());
    eprintln!("{acknowledged} acknowledged, {} recorded", recorded.len());
}

impl Bank {
    /// One that runs `program`, which is `bank_client`, at a place whose accounts are open.
    pub fn new(place: &Place, program: &'static str, name: &str) -> Self {
        Self {
            program,
            name: name.to_owned(),
            url: place.url().to_owned(),
            component: place.path("account.wasm"),
            known: place.path(&format!("answered-{name}")),
            answers: Arc::default(),
            running: None,
        }
    }

    /// What was acknowledged so far.
    pub fn answers(&self) -> Answers {
        self.answers.lock().unwrap().clone()
    }

    /// How many deposits were acknowledged so far.
    pub fn count(&self) -> usize {
        self.answers.lock().unwrap().len()
    }

    /// Starts it with the deposits that are not acknowledged.
    pub fn start(&mut self) {
        let answers = self.answers();
        let numbers: String = answers.keys().map(|n| format!("{n}\n")).collect();
        std::fs::write(&self.known, numbers).unwrap();
        let mut child = Command::new(self.program)
            .arg(&self.url)
            .arg(&self.component)
            .arg(&self.name)
            .args([ACCOUNTS.to_string(), DEPOSITS.to_string()])
            .arg(&self.known)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (output, mut said) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
        let (answers, errors) = (Arc::clone(&self.answers), Arc::<Mutex<String>>::default());
        let sink = Arc::clone(&errors);
        let readers = vec![
            std::thread::spawn(move || read(output, &answers)),
            std::thread::spawn(move || {
                let mut text = Vec::new();
                _ = said.read_to_end(&mut text);
                sink.lock()
                    .unwrap()
                    .push_str(&String::from_utf8_lossy(&text));
            }),
        ];
        self.running = Some(Running {
            child,
            readers,
            errors,
        });
    }

    /// Waits until at least `more` more deposits have been acknowledged.
    pub fn wait_for(&mut self, more: usize) {
        let wanted = self.count() + more;
        let (mut last, mut since) = (self.count(), Instant::now());
        while last < wanted {
            let running = self.running.as_mut().expect("it was started");
            if let Some(status) = running.child.try_wait().unwrap() {
                let errors = self.ended();
                panic!("{} ended by itself, {status}: {errors}", self.name);
            }
            let now = self.count();
            if now > last {
                (last, since) = (now, Instant::now());
            }
            let stalled = since.elapsed();
            assert!(stalled < STALLED, "{}: no answer in {stalled:?}", self.name);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Kills it with SIGKILL. What it had acknowledged by then counts.
    pub fn kill(&mut self) {
        let running = self.running.as_mut().expect("it was started");
        if let Some(status) = running.child.try_wait().unwrap() {
            let errors = self.ended();
            panic!("{} ended by itself, {status}: {errors}", self.name);
        }
        running.child.kill().unwrap();
        self.ended();
    }

    /// Stops it with SIGSTOP.
    pub fn freeze(&self) {
        self.signal("STOP");
    }

    /// Lets it go on.
    pub fn thaw(&self) {
        self.signal("CONT");
    }

    fn signal(&self, name: &str) {
        let running = self.running.as_ref().expect("it was started");
        let pid = running.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// Reads what is left of what it said: its standard error.
    fn ended(&mut self) -> String {
        let Some(mut running) = self.running.take() else {
            return String::new();
        };
        running.child.wait().unwrap();
        for reader in running.readers {
            reader.join().unwrap();
        }
        std::mem::take(&mut running.errors.lock().unwrap())
    }
}

impl Drop for Bank {
    fn drop(&mut self) {
        if let Some(running) = &mut self.running {
            _ = running.child.kill();
            _ = running.child.wait();
        }
    }
}

fn read(output: impl Read, answers: &Mutex<Answers>) {
    let mut output = BufReader::new(output);
    loop {
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        // A line that was cut off by the end was not acknowledged.
        let Some(answer) = line.strip_suffix('\n') else {
            return;
        };
        let numbers = answer.split(' ').take(3).map(|it| it.parse().unwrap());
        let numbers: Vec<u64> = numbers.collect();
        let place = (numbers[1], numbers[2]);
        let before = answers.lock().unwrap().insert(numbers[0] as usize, place);
        assert_eq!(before, None, "deposit {} was answered twice", numbers[0]);
    }
}
