//! The loan log: commands of many applications, from the published file or simulated.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};

use flate2::read::GzDecoder;
use futures::FutureExt;
use futures::future::BoxFuture;
use loan::simulation::Simulation;
use quipu::Host;
use quipu::engine::{Error, Executed};
use quipu::model::{Command, StreamId};
use serde::Deserialize;
use serde_json::value::RawValue;

/// A command of the log.
#[derive(Deserialize)]
pub struct Line {
    /// The application.
    pub id: String,
    /// The command's type.
    pub r#type: String,
    /// Its body.
    pub data: Box<RawValue>,
    /// The time of the request, from the log.
    pub at: Option<String>,
    /// The user who made the request.
    pub actor: Option<String>,
}

impl Line {
    /// The application's stream.
    pub fn stream(&self) -> StreamId {
        format!("loan-{}", self.id).parse().unwrap()
    }

    /// The command, with an id made from the line's number, and the user and time in its metadata.
    pub fn command(&self, number: usize) -> Command {
        let mut command = Command::new(&self.r#type, self.data.get().to_owned())
            .unwrap()
            .with_id(&format!("line-{number}"))
            .unwrap();
        let members = [("at", &self.at), ("actor", &self.actor)];
        let members: BTreeMap<_, _> = members
            .into_iter()
            .filter_map(|(name, value)| Some((name, value.as_ref()?)))
            .collect();
        if !members.is_empty() {
            command.metadata = Some(serde_json::to_vec(&members).unwrap().into());
        }
        command
    }

    /// The work item or amount of the body.
    pub fn body(&self) -> serde_json::Value {
        serde_json::from_str(self.data.get()).unwrap()
    }
}

/// This number of simulated commands.
pub fn simulated(seed: u64, count: u64) -> Vec<Line> {
    Simulation::new(seed, count)
        .map(|line| serde_json::from_str(&line.to_json()).unwrap())
        .collect()
}

/// The published log if `QUIPU_LOAN_LOG` names its file, plain or gzipped; none if the variable is
/// not set.
pub fn published() -> Option<Vec<Line>> {
    let path = std::env::var_os("QUIPU_LOAN_LOG")?;
    let mut bytes = Vec::new();
    let file = std::fs::File::open(&path).unwrap();
    BufReader::new(file).read_to_end(&mut bytes).unwrap();
    let text: Box<dyn BufRead> = if bytes.starts_with(&[0x1f, 0x8b]) {
        Box::new(BufReader::new(GzDecoder::new(&*bytes)))
    } else {
        Box::new(&*bytes)
    };
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(&line.unwrap()));
    Some(lines.collect::<Result<_, _>>().unwrap())
}

/// Starts a command immediately, so that commands arrive in the order of these calls.
pub fn start(host: &Host, line: &Line, number: usize) -> BoxFuture<'static, Answer> {
    let (host, stream, command) = (host.clone(), line.stream(), line.command(number));
    let mut executing = async move { host.execute(&stream, command).await }.boxed();
    match (&mut executing).now_or_never() {
        Some(answer) => std::future::ready(answer).boxed(),
        None => executing,
    }
}

/// The outcome of a command of the log.
pub type Answer = Result<Executed, Error>;
