//! Measures what being watched costs: commands over HTTP at a host that nobody watches, and at one
//! whose metrics are read each second and which sends one in a hundred traces to a collector.

use std::fmt;
use std::io::BufRead;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::interval;

use super::Options;
use super::connection::Connection;
use super::http::{IN_FLIGHT, drive};
use super::place::Place;
use super::turns::{self, ROUNDS, Rate};

/// How often the metrics are read. Prometheus does it every 15 s by default.
const SCRAPE: Duration = Duration::from_secs(1);

/// The results.
#[derive(Debug, Clone, Serialize)]
pub struct Observed {
    /// Commands per second: not watched, and with metrics and traces.
    pub rates: Vec<Rate>,
    /// How often the metrics were read.
    pub scrapes: u64,
    /// Bytes of traces that the collector was sent.
    pub trace_bytes: u64,
}

/// Finds the program `quipu`.
pub fn program(options: &Options) -> Result<PathBuf> {
    let program = match &options.quipu {
        Some(file) => file.clone(),
        None => std::env::current_exe()?.with_file_name("quipu"),
    };
    // The whole path, because a name without a folder would be searched in PATH.
    program.canonicalize().with_context(|| {
        format!(
            "the load `observed` starts the program {}; build it with `cargo build --release --bin \
             quipu`, or name it with --quipu",
            program.display()
        )
    })
}

/// Measures on two new stores, at hosts that are processes of their own.
pub async fn measure(options: &Options, quipu: &Path, component: &[u8]) -> Result<Observed> {
    let folder = tempfile::tempdir()?;
    let modules = folder.path().join("modules");
    std::fs::create_dir(&modules)?;
    std::fs::write(modules.join("loan.wasm"), component)?;
    let collector = Collector::start().await?;
    let (quiet, loud) = (Place::new(options)?, Place::new(options)?);
    let plain = Process::start(quipu, &quiet, folder.path(), "plain", &[]).await?;
    let endpoint = format!("http://{}", collector.address);
    let traces = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"),
        ("OTEL_TRACES_SAMPLER_ARG", "0.01"),
    ];
    let watched = Process::start(quipu, &loud, folder.path(), "watched", &traces).await?;
    let streams = options.streams as u64;
    for process in [&plain, &watched] {
        submit(process.address, streams).await?;
    }
    let scrapes = Arc::new(AtomicU64::new(0));
    let mut rates = [
        ("not watched", Vec::new()),
        ("metrics, 1 % of traces", Vec::new()),
    ];
    for (order, counts) in turns::rounds(rates.len()) {
        for at in order {
            let process = [&plain, &watched][at];
            let scraping = (process.name == watched.name)
                .then(|| tokio::spawn(scrape(process.address, Arc::clone(&scrapes))));
            let rate = drive(process.address, None, streams, turns::slice(options)).await?;
            if let Some(scraping) = scraping {
                ensure!(!scraping.is_finished(), "the metrics could not be read");
                scraping.abort();
            }
            if counts {
                rates[at].1.push(rate);
            }
        }
    }
    for (process, place) in [(plain, quiet), (watched, loud)] {
        drop(process);
        place.remove().await?;
    }
    let (scrapes, trace_bytes) = (scrapes.load(Ordering::Relaxed), collector.end());
    ensure!(scrapes > 0 && trace_bytes > 0, "nothing was observed");
    Ok(Observed {
        rates: turns::compared(&rates),
        scrapes,
        trace_bytes,
    })
}

/// Opens every stream.
async fn submit(address: SocketAddr, streams: u64) -> Result<()> {
    let next = Arc::new(AtomicU64::new(0));
    let callers = (0..IN_FLIGHT).map(|_| {
        let next = Arc::clone(&next);
        tokio::spawn(async move {
            let mut connection = Connection::open(address, String::new()).await?;
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= streams {
                    return Ok::<_, anyhow::Error>(());
                }
                let path = format!("/v1/streams/loan-{number}/commands");
                let body = r#"{"type":"submit","data":{"amount":20000}}"#;
                let (status, answer) = connection.post(&path, body).await?;
                ensure!(status == 200, "unexpected answer: {status} {answer}");
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await??;
    }
    Ok(())
}

/// Reads the metrics until it is stopped.
async fn scrape(address: SocketAddr, count: Arc<AtomicU64>) -> Result<()> {
    let mut pause = interval(SCRAPE);
    loop {
        pause.tick().await;
        let mut stream = TcpStream::connect(address).await?;
        let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        ensure!(answer.starts_with(b"HTTP/1.1 200 "), "no metrics");
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// A host in a process of its own.
struct Process {
    name: &'static str,
    address: SocketAddr,
    child: Child,
}

impl Process {
    async fn start(
        quipu: &Path,
        place: &Place,
        folder: &Path,
        name: &'static str,
        variables: &[(&str, &str)],
    ) -> Result<Self> {
        // An address may have a password, which a list of processes would show.
        let store = folder.join(name);
        std::fs::write(&store, place.address())?;
        let mut child = Command::new(quipu)
            .args(["serve", "--listen", "127.0.0.1:0", "--store-file"])
            .arg(&store)
            .arg("--modules")
            .arg(folder.join("modules"))
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let output = child.stdout.take();
        let mut process = Self {
            name,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
            child,
        };
        let output = output.context("a child without an output")?;
        let reading = tokio::task::spawn_blocking(move || {
            let mut line = String::new();
            std::io::BufReader::new(output).read_line(&mut line)?;
            Ok::<_, std::io::Error>(line)
        });
        let line = reading.await??;
        let address = line.trim_end().strip_prefix("ready http://");
        let address = address.with_context(|| format!("the host is not ready: {line:?}"))?;
        process.address = address.parse()?;
        Ok(process)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, and then there is nothing to do.
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// Receives traces, and throws them away.
struct Collector {
    address: SocketAddr,
    bytes: Arc<AtomicU64>,
    serving: JoinHandle<Result<()>>,
}

impl Collector {
    async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let bytes = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&bytes);
        let serving = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                tokio::spawn(receive(stream, Arc::clone(&counted)));
            }
        });
        Ok(Self {
            address,
            bytes,
            serving,
        })
    }

    fn end(self) -> u64 {
        self.serving.abort();
        self.bytes.load(Ordering::Relaxed)
    }
}

/// Answers each request of a connection.
async fn receive(stream: TcpStream, bytes: Arc<AtomicU64>) -> Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if stream.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            let line = line.trim_end().to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse()?;
            }
            if line.is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        bytes.fetch_add(length as u64, Ordering::Relaxed);
        let answer =
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
        stream.write_all(answer.as_bytes()).await?;
    }
}

impl fmt::Display for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\nwatched, {IN_FLIGHT} connections, medians of {ROUNDS} rounds in turns: metrics read {} \
             times, {:.1} MiB of traces",
            self.scrapes,
            self.trace_bytes as f64 / f64::from(1 << 20)
        )?;
        turns::table(f, &self.rates)
    }
}
