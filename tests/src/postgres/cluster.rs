//! A temporary PostgreSQL server: its process and its files.

use std::collections::VecDeque;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use xtask::postgres::Programs;

use super::template::{self, DATA, USER};
use super::user::User;

const START_MAX: Duration = Duration::from_secs(120);
const LOG_LINES_MAX: usize = 200;

/// Free ports to try: another process may take one before the server does.
const PORTS_MAX: usize = 5;

/// The files of a server, and its process while it runs.
#[derive(Debug)]
pub struct Cluster {
    programs: Programs,
    user: Option<User>,
    folder: PathBuf,
    password: String,
    port: u16,
    running: Option<Running>,
}

#[derive(Debug)]
struct Running {
    child: Child,
    log: Arc<Log>,
}

/// How to stop a server.
#[derive(Debug, Clone, Copy)]
pub enum Stop {
    /// Clients are disconnected, then everything is flushed.
    Fast,
    /// Like a crash: the next start recovers from the write-ahead log.
    Immediate,
}

impl Cluster {
    /// Creates a cluster and starts its server.
    pub fn start(programs: Programs) -> Self {
        let user = User::other();
        let folder = fresh_folder(user);
        let password = template::copy(&programs, user, &folder);
        Self {
            programs,
            user,
            folder,
            password,
            port: 0,
            running: None,
        }
        .started()
    }

    fn started(mut self) -> Self {
        let mut last_log = String::new();
        for _ in 0..PORTS_MAX {
            self.port = free_port();
            match self.try_start() {
                Ok(()) => return self,
                Err(log) => last_log = log,
            }
        }
        panic!("PostgreSQL did not start:\n{last_log}");
    }

    /// Copies this cluster to a standby that receives its log, and starts the standby's server.
    pub fn standby(&self) -> Self {
        let folder = fresh_folder(self.user);
        let mut backup = self.client("pg_basebackup");
        backup
            .args(["--write-recovery-conf", "--wal-method=stream"])
            .args(["--checkpoint=fast", "--no-sync"])
            .arg(format!("--pgdata={}", folder.join(DATA).display()))
            .current_dir(&folder)
            .stdin(Stdio::null());
        if let Some(user) = self.user {
            user.run(&mut backup);
        }
        let output = backup.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pg_basebackup failed: {said}");
        Self {
            programs: self.programs.clone(),
            user: self.user,
            folder,
            password: self.password.clone(),
            port: 0,
            running: None,
        }
        .started()
    }

    /// A client program of this server.
    fn client(&self, program: &str) -> Command {
        // `postgres` may be a link to where the other programs are.
        let server = self.programs.folder.join("postgres").canonicalize();
        let mut client = Command::new(server.unwrap().with_file_name(program));
        client
            .arg("--host=127.0.0.1")
            .arg(format!("--port={}", self.port))
            .arg(format!("--username={USER}"))
            .env("PGPASSWORD", &self.password);
        client
    }

    /// The statements that make a schema with its content.
    pub fn dump(&self, schema: &str) -> Vec<u8> {
        let mut dump = self.client("pg_dump");
        dump.arg(format!("--schema={schema}"));
        let output = dump.arg("postgres").stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "pg_dump failed: {said}");
        output.stdout
    }

    /// Executes the statements of a dump.
    pub fn restore(&self, dump: &[u8]) {
        let mut restore = self.client("psql");
        restore.args(["--quiet", "--no-psqlrc", "--set=ON_ERROR_STOP=1"]);
        let mut child = restore
            .arg("postgres")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(dump).unwrap();
        assert!(child.wait().unwrap().success(), "psql failed");
    }

    /// The address for clients.
    pub fn url(&self) -> String {
        let Self { password, port, .. } = self;
        format!("postgres://{USER}:{password}@127.0.0.1:{port}/postgres")
    }

    /// The server's files.
    #[cfg(test)]
    pub fn folder(&self) -> PathBuf {
        self.folder.clone()
    }

    /// Starts the server at its previous port; does nothing if it runs.
    pub fn start_again(&mut self) {
        if self.running.is_none()
            && let Err(log) = self.try_start()
        {
            panic!("PostgreSQL did not restart:\n{log}");
        }
    }

    /// Stops the server; does nothing if it does not run.
    pub fn stop(&mut self, how: Stop) {
        let Some(mut running) = self.running.take() else {
            return;
        };
        let signal = match how {
            Stop::Fast => "INT",
            Stop::Immediate => "QUIT",
        };
        // A server that has ended by itself takes no signal.
        let mut input = running.child.stdin.take().unwrap();
        let _ = writeln!(input, "{signal}");
        running.child.wait().unwrap();
        running.log.wait_for_end();
    }

    /// Err contains the server's output before it ended.
    fn try_start(&mut self) -> Result<(), String> {
        let mut command = Command::new("sh");
        command
            .args(["-c", include_str!("supervise.sh"), "supervise.sh"])
            .arg(&self.folder)
            .arg(self.programs.folder.join("postgres"))
            .arg("-D")
            .arg(self.folder.join(DATA));
        let settings = [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={}", self.port),
            format!("unix_socket_directories={}", self.folder.display()),
            "shared_buffers=64MB".to_owned(),
            "max_connections=300".to_owned(),
        ];
        for setting in settings {
            command.arg("-c").arg(setting);
        }
        command
            .current_dir(&self.folder)
            .env("LC_ALL", "C")
            // A signal from the terminal is meant for the tests; the server stops after them.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        if let Some(user) = self.user {
            user.run(&mut command);
        }
        let mut child = command.spawn().unwrap();
        let log = Log::of(child.stderr.take().unwrap());
        if log.wait_until_ready() {
            self.running = Some(Running { child, log });
            return Ok(());
        }
        // Otherwise its supervisor would remove the files.
        let _ = writeln!(child.stdin.take().unwrap(), "QUIT");
        child.wait().unwrap();
        Err(log.text())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop(Stop::Immediate);
        if let Err(error) = fs::remove_dir_all(&self.folder) {
            eprintln!("{} was not removed: {error}", self.folder.display());
        }
    }
}

/// The output of a server, read while it runs.
#[derive(Debug, Default)]
struct Log {
    said: Mutex<Said>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Said {
    lines: VecDeque<String>,
    ready: bool,
    ended: bool,
}

impl Log {
    fn of(output: ChildStderr) -> Arc<Self> {
        let log = Arc::new(Self::default());
        let reader = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                let mut said = reader.said.lock().unwrap();
                said.ready |= is_ready(&line);
                said.lines.push_back(line);
                if said.lines.len() > LOG_LINES_MAX {
                    said.lines.pop_front();
                }
                reader.changed.notify_all();
            }
            reader.said.lock().unwrap().ended = true;
            reader.changed.notify_all();
        });
        log
    }

    /// False if the server ended first, or took too long.
    fn wait_until_ready(&self) -> bool {
        let said = self.said.lock().unwrap();
        let waiting = |said: &mut Said| !said.ready && !said.ended;
        let waited = self.changed.wait_timeout_while(said, START_MAX, waiting);
        waited.unwrap().0.ready
    }

    /// Waits until every process of the server has gone.
    fn wait_for_end(&self) {
        let said = self.said.lock().unwrap();
        let waited = self.changed.wait_while(said, |said| !said.ended);
        drop(waited.unwrap());
    }

    fn text(&self) -> String {
        let said = self.said.lock().unwrap();
        said.lines.iter().map(|line| format!("{line}\n")).collect()
    }
}

/// Also of a standby, which accepts read-only connections.
fn is_ready(line: &str) -> bool {
    line.contains("ready to accept connections") || line.contains("ready to accept read-only")
}

fn fresh_folder(user: Option<User>) -> PathBuf {
    let folder = tempfile::Builder::new()
        .prefix("quipu-postgres-")
        .tempdir()
        .unwrap()
        .keep();
    if let Some(user) = user {
        user.own(&folder);
    }
    folder
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
