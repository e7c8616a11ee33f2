//! System calls of the program fail, one after the other, while clients send commands.
//!
//! `strace` makes the n-th call of a kind fail in each thread. Whatever fails: what was
//! acknowledged is stored once, every answer is one that a client can act on, and the host either
//! serves on or ends with an error that says why.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use quipu_tests::{examples, seed};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_quipu-program");

/// Calls that count: those on the store's files, or all of the program.
#[derive(Debug, Clone, Copy, PartialEq)]
enum On {
    Files,
    All,
}

/// The calls, the error of each, and at which call of a thread it occurs.
const CALLS: &[(&str, On, &str, &[u32])] = &[
    ("openat", On::Files, "EMFILE", &[3]),
    ("openat", On::Files, "EIO", &[2]),
    ("read", On::Files, "EIO", &[1]),
    ("pread64", On::Files, "EIO", &[1, 12]),
    ("write", On::Files, "EIO", &[1]),
    ("write", On::Files, "ENOSPC", &[1]),
    ("pwrite64", On::Files, "EIO", &[8, 30]),
    ("pwrite64", On::Files, "ENOSPC", &[20]),
    ("pwrite64", On::Files, "EROFS", &[25]),
    ("pwrite64", On::Files, "EFBIG", &[25]),
    ("fsync", On::Files, "EIO", &[2]),
    ("fsync", On::Files, "ENOSPC", &[3]),
    ("openat", On::Files, "EROFS", &[2]),
    ("ftruncate", On::Files, "EIO", &[1]),
    ("fcntl", On::Files, "EIO", &[1]),
    ("mmap", On::Files, "ENOMEM", &[1]),
    ("clone3", On::All, "EAGAIN", &[2, 6]),
    ("accept4", On::All, "EMFILE", &[1]),
    ("writev", On::All, "EIO", &[2]),
    ("epoll_wait", On::All, "EINTR", &[3]),
];

/// Further calls of a thread at which each fails in the long run, and from then on always.
const MORE: &[u32] = &[2, 4, 5, 7, 10, 15, 25, 60, 100];

const CLIENTS: usize = 4;
const COMMANDS: usize = 10;
/// A client gives a command up after this time: the host may have ended.
const GIVEN_UP: Duration = Duration::from_secs(4);
/// A host that neither answers nor ends for so long has died silently.
const SILENT: Duration = Duration::from_secs(60);

#[derive(Clone)]
struct Case {
    call: &'static str,
    on: On,
    error: &'static str,
    at: String,
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            call,
            on,
            error,
            at,
        } = self;
        write!(f, "{call:10} {on:5?} {error:7} {at:>4}")
    }
}

fn cases() -> Vec<Case> {
    let mut all = Vec::new();
    for (call, on, error, at) in CALLS {
        let mut at: Vec<String> = at.iter().map(u32::to_string).collect();
        if seed::is_long() {
            at.extend(MORE.iter().flat_map(|n| [n.to_string(), format!("{n}+")]));
        }
        let (call, on, error) = (*call, *on, *error);
        let cases = at.into_iter();
        all.extend(cases.map(|at| Case {
            call,
            on,
            error,
            at,
        }));
    }
    all
}

/// A process of the program, which this test started.
struct Running {
    /// The program, or `strace`, whose child it is.
    child: Child,
    is_traced: bool,
    errors: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts a host. Returns its address, unless it ends first.
    fn start(store: &Path, case: Option<(&Case, &Path)>) -> (Self, Option<String>) {
        let mut command = match case {
            Some((case, log)) => {
                let Case {
                    call, error, at, ..
                } = case;
                let mut strace = Command::new("strace");
                strace.args(["-f", "--seccomp-bpf", "-qq", "-o"]).arg(log);
                strace.args(["-e", "signal=none", "-e", &format!("trace={call}")]);
                strace.args(["-e", &format!("inject={call}:error={error}:when={at}")]);
                if case.on == On::Files {
                    for end in ["", "-wal", "-shm", ".lock"] {
                        strace.args(["-P", &format!("{}{end}", store.display())]);
                    }
                }
                strace.args(["--", PROGRAM]);
                strace
            }
            None => Command::new(PROGRAM),
        };
        let url = format!("sqlite:{}", store.display());
        command.args(["serve", "--store", &url, "--listen", "127.0.0.1:0"]);
        command.env_remove("QUIPU_LOG").stdin(Stdio::null());
        command.env("QUIPU_LOG_FORMAT", "text");
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("strace, or the program");
        let errors = Arc::new(Mutex::new(String::new()));
        let (sink, stderr) = (Arc::clone(&errors), child.stderr.take().unwrap());
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                *sink.lock().unwrap() += &(line + "\n");
            }
        });
        let (sender, receiver) = std::sync::mpsc::channel();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut line = String::new();
            let read = stdout.read_line(&mut line);
            // Nobody waits any more after a while.
            _ = sender.send(read.map(|_| line));
            // A closed pipe would be an error of its own.
            std::io::copy(&mut stdout, &mut std::io::sink())
        });
        let line = receiver.recv_timeout(SILENT).map(Result::unwrap);
        let line = line.unwrap_or_else(|_| "nothing".to_owned());
        let url = line.trim_end().strip_prefix("ready ").map(str::to_owned);
        let running = Self {
            child,
            is_traced: case.is_some(),
            errors,
            reader: Some(reader),
        };
        (running, url)
    }

    /// The process of the program itself.
    fn program(&self) -> Vec<String> {
        let pid = self.child.id();
        if !self.is_traced {
            return vec![pid.to_string()];
        }
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        let children = children.unwrap_or_default();
        children.split_whitespace().map(str::to_owned).collect()
    }

    /// Whether it has ended by itself, and how.
    fn has_ended(&mut self) -> Option<i32> {
        let ended = self.child.try_wait().unwrap();
        ended.map(|status| status.code().unwrap_or(-1))
    }

    /// Waits for the end. Returns its code; none when it does not end in time.
    async fn ended(&mut self) -> Option<i32> {
        let until = Instant::now() + SILENT;
        while Instant::now() < until {
            if let Some(code) = self.has_ended() {
                return Some(code);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }

    fn signal(&self, name: &str) {
        for pid in self.program() {
            _ = Command::new("kill").args(["-s", name, &pid]).output();
        }
    }

    /// What it wrote to stderr. It has ended.
    fn errors(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        self.errors.lock().unwrap().clone()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.has_ended().is_none() {
            self.signal("KILL");
            _ = self.child.kill();
            _ = self.child.wait();
        }
    }
}

/// The answers that clients received.
#[derive(Default)]
struct Answers {
    /// Acknowledged commands: their stream and version.
    acknowledged: HashMap<String, (String, u64)>,
    /// Errors, by code.
    failures: BTreeMap<String, usize>,
    /// Answers that no client can act on.
    useless: Vec<String>,
}

/// Sends commands to an account, each until it is acknowledged or given up.
async fn client(url: String, number: usize) -> Answers {
    let mut answers = Answers::default();
    let mut builder = reqwest::Client::builder().no_proxy().timeout(SILENT);
    if number.is_multiple_of(2) {
        // Each command on a connection of its own.
        builder = builder.pool_max_idle_per_host(0);
    }
    let requests = builder.build().unwrap();
    let stream = format!("account-{number}");
    for n in 0..COMMANDS {
        let (id, until) = (format!("{number}-{n}"), Instant::now() + GIVEN_UP);
        loop {
            let request = requests
                .post(format!("{url}/v1/streams/{stream}/commands"))
                .header("Idempotency-Key", &id)
                .json(&serde_json::json!({"type": "deposit", "data": {"amount": 1}}));
            match answer(request).await {
                Ok(version) => {
                    let place = (stream.clone(), version);
                    answers.acknowledged.insert(id, place);
                    break;
                }
                Err(Failed::Code(code)) => *answers.failures.entry(code).or_default() += 1,
                Err(Failed::Useless(why)) => answers.useless.push(why),
            }
            if Instant::now() > until {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    answers
}

enum Failed {
    Code(String),
    Useless(String),
}

async fn answer(request: reqwest::RequestBuilder) -> Result<u64, Failed> {
    let lost = |error: reqwest::Error| match error.is_timeout() {
        true => Failed::Useless("no answer".to_owned()),
        false => Failed::Code("connection".to_owned()),
    };
    let answer = request.send().await.map_err(lost)?;
    let status = answer.status();
    let text = answer.text().await.map_err(lost)?;
    let body: Value = serde_json::from_str(&text).unwrap_or_default();
    match (body["version"].as_u64(), body["code"].as_str()) {
        (Some(version), None) if status.is_success() => Ok(version),
        (_, Some(code)) if !status.is_success() => Err(Failed::Code(code.to_owned())),
        _ => Err(Failed::Useless(format!("{status} {text}"))),
    }
}

/// Copies a folder, with the folders in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let place = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &place),
            false => _ = std::fs::copy(entry.path(), place).unwrap(),
        }
    }
}

/// A store with open accounts, and the compiled component next to it.
async fn template(folder: &Path) -> PathBuf {
    let store = folder.join("template");
    std::fs::create_dir(&store).unwrap();
    let (mut running, url) = Running::start(&store.join("q.db"), None);
    let url = url.unwrap_or_else(|| panic!("not ready: {}", running.errors()));
    let component = folder.join("account.wasm");
    std::fs::write(&component, examples::account()).unwrap();
    let deployed = Command::new(PROGRAM)
        .arg("deploy")
        .arg(&component)
        .env("QUIPU_URL", &url)
        .output()
        .unwrap();
    assert!(deployed.status.success(), "{deployed:?}");
    for number in 0..CLIENTS {
        let opened = reqwest::Client::builder().no_proxy().build().unwrap();
        let opened = opened
            .post(format!("{url}/v1/streams/account-{number}/commands"))
            .json(&serde_json::json!({"type": "open", "data": {"owner": "ann"}}));
        assert!(opened.send().await.unwrap().status().is_success());
    }
    running.signal("TERM");
    assert_eq!(running.ended().await, Some(0), "{}", running.errors());
    store
}

/// The versions under each command id in the store, read by a host without disturbance.
async fn stored(store: &Path) -> HashMap<String, Vec<(String, u64)>> {
    let (mut running, url) = Running::start(store, None);
    let url = url.unwrap_or_else(|| panic!("no start afterwards: {}", running.errors()));
    let requests = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut found: HashMap<String, Vec<(String, u64)>> = HashMap::new();
    for number in 0..CLIENTS {
        let stream = format!("account-{number}");
        let page = requests.get(format!("{url}/v1/streams/{stream}/events?limit=1000"));
        let page: Value = page.send().await.unwrap().json().await.unwrap();
        for event in page["events"].as_array().unwrap() {
            let id = event["commit"]["command_id"].as_str().unwrap().to_owned();
            let version = event["version"].as_u64().unwrap();
            found.entry(id).or_default().push((stream.clone(), version));
        }
    }
    running.signal("TERM");
    assert_eq!(running.ended().await, Some(0), "{}", running.errors());
    found
}

/// The last line of the errors of a host that ended, which says why.
fn reason(errors: &str) -> String {
    let last = errors.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or_default().chars().take(160).collect()
}

/// Runs one case. Returns its outcome, or what is wrong.
async fn run(case: &Case, template: &Path, folder: &Path) -> Result<String, String> {
    copy(template, folder);
    let (store, log) = (folder.join("q.db"), folder.join("trace"));
    let (mut running, url) = Running::start(&store, Some((case, &log)));
    let mut answers = Answers::default();
    let mut wrong = Vec::new();
    if let Some(url) = &url {
        let clients = (0..CLIENTS).map(|number| client(url.clone(), number));
        for one in join_all(clients).await {
            answers.acknowledged.extend(one.acknowledged);
            answers.useless.extend(one.useless);
            for (code, count) in one.failures {
                *answers.failures.entry(code).or_default() += count;
            }
        }
    }
    let serves = url.is_some() && running.has_ended().is_none();
    if serves {
        running.signal("TERM");
    }
    let code = running.ended().await;
    if code.is_none() {
        wrong.push("it does not end".to_owned());
        running.signal("KILL");
        running.ended().await;
    }
    let errors = running.errors();
    let injected = std::fs::read_to_string(&log).unwrap_or_default();
    let injected = injected.matches("(INJECTED)").count();
    if injected == 0 && errors.contains("ptrace") {
        panic!(
            "strace may not trace here: {}; allow it (in a container: the capability SYS_PTRACE)",
            reason(&errors)
        );
    }
    // The errors of the loader have another form.
    let is_clear = errors.lines().any(|line| line.contains("error"));
    if !serves && !is_clear {
        wrong.push(format!("it ended with code {code:?} and says: {errors}"));
    }
    if !serves && code == Some(0) {
        wrong.push("it ended as if nothing had failed".to_owned());
    }
    wrong.extend(answers.useless.first().cloned());
    let stored = stored(&store).await;
    for (id, places) in &stored {
        if places.len() > 1 {
            wrong.push(format!("command {id} is stored {} times", places.len()));
        }
    }
    for (id, place) in &answers.acknowledged {
        if stored.get(id).and_then(|places| places.first()) != Some(place) {
            wrong.push(format!("acknowledged command {id} is not at {place:?}"));
        }
    }
    let how = match (injected, serves, url.is_some()) {
        (0, ..) => "no such call".to_owned(),
        (_, true, _) if errors.contains("panicked at") => "served on after a panic".to_owned(),
        (_, true, _) => "served on".to_owned(),
        (_, _, true) => format!("ended: {}", reason(&errors)),
        (_, _, false) => format!("did not start: {}", reason(&errors)),
    };
    let acknowledged = answers.acknowledged.len();
    let failures = match answers.failures.is_empty() {
        true => String::new(),
        false => format!(", answers {:?}", answers.failures),
    };
    let outcome = format!("{injected} failed, {acknowledged} acknowledged{failures}; {how}");
    match wrong.is_empty() {
        true => Ok(outcome),
        false => Err(format!("{outcome}\n    WRONG: {}", wrong.join("\n    "))),
    }
}

// Starting a host blocks a thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 6)]
async fn no_failing_system_call_loses_or_doubles_anything_or_ends_silently() {
    xtask::strace::find().unwrap_or_else(|error| panic!("{error:#}"));
    let folder = tempfile::tempdir().unwrap();
    let template = template(folder.path()).await;
    let chosen = std::env::var("QUIPU_CALL").ok();
    let cases = cases().into_iter();
    let cases = cases.filter(|case| chosen.as_ref().is_none_or(|call| call == case.call));
    let running = cases.enumerate().map(|(number, case)| {
        let (template, folder) = (template.clone(), folder.path().join(number.to_string()));
        async move {
            let of_case = case.clone();
            let running = async move { run(&of_case, &template, &folder).await };
            (case, tokio::spawn(running).await.unwrap())
        }
    });
    let outcomes: Vec<_> = futures::stream::iter(running).buffered(4).collect().await;
    let (mut wrong, mut injected) = (0, 0);
    for (case, outcome) in &outcomes {
        let (Ok(text) | Err(text)) = outcome;
        eprintln!("{case}  {text}");
        wrong += usize::from(outcome.is_err());
        injected += usize::from(!text.starts_with("0 failed"));
    }
    assert_eq!(wrong, 0, "see above");
    assert!(injected * 2 > outcomes.len(), "few calls failed at all");
}
