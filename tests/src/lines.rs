//! The loan log: commands of many applications, from the published file or simulated.

use std::io::{BufRead, BufReader, Read};

use flate2::read::GzDecoder;
use loan::simulation::Simulation;
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
}

impl Line {
    /// The application's stream.
    pub fn stream(&self) -> StreamId {
        format!("loan-{}", self.id).parse().unwrap()
    }

    /// The command with an id made of the line's number.
    pub fn command(&self, number: usize) -> Command {
        Command::new(&self.r#type, self.data.get().to_owned())
            .unwrap()
            .with_id(&format!("line-{number}"))
            .unwrap()
    }

    /// The work item or amount of the body.
    pub fn body(&self) -> serde_json::Value {
        serde_json::from_str(self.data.get()).unwrap()
    }
}

/// So many commands, simulated.
pub fn simulated(seed: u64, count: u64) -> Vec<Line> {
    Simulation::new(seed, count)
        .map(|line| serde_json::from_str(&line.to_json()).unwrap())
        .collect()
}

/// The published log when `QUIPU_LOAN_LOG` names its file, plain or gzipped. None
/// when it does not.
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
