//! The export of a host, line by line.

use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use bytes::{Bytes, BytesMut};
use reqwest::{Method, Response};
use tokio::time::timeout;

use super::super::Client;
use super::super::client::{HostProblem, NoAnswer};
use super::line::{Begin, Kind, Line};
use super::manifest::Manifest;
use quipu::transfer::{FORMAT, LINE_BYTES_MAX};

/// How long a host may send nothing.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// The host did not answer, or not to the end. It may later. The context of the error itself.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Away(String);

/// The lines of an export that begins where a manifest ends.
pub struct Incoming {
    client: Client,
    response: Response,
    buffer: BytesMut,
    /// Bytes of the buffer without a line feed.
    scanned: usize,
    /// The position of the last event.
    pub head: u64,
}

impl Incoming {
    /// Asks the host.
    ///
    /// # Errors
    /// [`Away`] when the host does not answer now. Otherwise when it refuses, or its log is not the
    /// one of the manifest.
    pub async fn begin(client: &Client, manifest: &Manifest) -> Result<Self> {
        let request = client.request(Method::GET, &["v1", "export"]);
        let request = request.query(&[("after", manifest.last())]);
        let sending = timeout(SILENCE_MAX, client.send(request)).await;
        let response = sending.map_err(|_| silent())?;
        let response = response.map_err(|error| other_log(error, manifest.last()))?;
        let mut incoming = Self {
            client: client.clone(),
            response,
            buffer: BytesMut::new(),
            scanned: 0,
            head: 0,
        };
        let first = incoming.next().await?.ok_or_else(cut_off)?;
        let line = Line::read(&first)?;
        if line.kind()? != Kind::Begin {
            bail!("the host's answer is not an export");
        }
        let begin: Begin = line.data()?;
        check(&begin, manifest)?;
        incoming.head = begin.head;
        Ok(incoming)
    }

    /// The next line, with its line feed; none at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        loop {
            let rest = self.buffer.get(self.scanned..).unwrap_or_default();
            if let Some(found) = rest.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.scanned + found + 1);
                self.scanned = 0;
                return Ok(Some(line.freeze()));
            }
            self.scanned = self.buffer.len();
            if self.scanned > LINE_BYTES_MAX {
                bail!("the host sent a line of more than {LINE_BYTES_MAX} bytes");
            }
            let read = timeout(SILENCE_MAX, self.response.chunk()).await;
            match read.map_err(|_| silent())? {
                Ok(Some(chunk)) => self.buffer.extend_from_slice(&chunk),
                Ok(None) if self.buffer.is_empty() => return Ok(None),
                Ok(None) => return Err(cut_off()),
                Err(error) => return Err(away(self.client.unreached(&error))),
            }
        }
    }
}

/// Checks that the export continues the log of the manifest.
fn check(begin: &Begin, manifest: &Manifest) -> Result<()> {
    if begin.format > FORMAT {
        let found = begin.format;
        bail!(
            "the host exports format {found}, this program knows up to {FORMAT}: use a newer one"
        );
    }
    let (last, id) = (manifest.last(), manifest.last_id());
    if begin.head < last {
        let head = begin.head;
        bail!(
            "the folder is of another log: it ends at position {last}, and the host's log at \
             position {head}; if the store was restored from an older copy, ship it into a new folder"
        );
    }
    if begin.after != last || begin.after_id.as_deref() != id {
        let (own, other) = (id.unwrap_or("none"), begin.after_id.as_deref());
        let (after, other) = (begin.after, other.unwrap_or("none"));
        bail!(
            "the folder is of another log: its event at position {last} is {own}, and the last one \
             of the host up to there is {other} at position {after}; if the store was restored from \
             an older copy, ship it into a new folder"
        );
    }
    Ok(())
}

fn silent() -> anyhow::Error {
    let seconds = SILENCE_MAX.as_secs();
    away(NoAnswer(format!("the host sent nothing for {seconds} s")).into())
}

/// The error of an export that ended early.
pub fn cut_off() -> anyhow::Error {
    away(NoAnswer("the host's export was cut off".to_owned()).into())
}

fn away(error: anyhow::Error) -> anyhow::Error {
    let text = format!("{error:#}");
    error.context(Away(text))
}

/// An error that may pass becomes [`Away`].
fn passing(error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<HostProblem>() {
        Some(HostProblem(problem)) if problem.status < 500 && problem.status != 429 => error,
        _ => away(error),
    }
}

/// The error of a request for the events after a position. A host refuses one that it does not have.
fn other_log(error: anyhow::Error, last: u64) -> anyhow::Error {
    match error.downcast_ref::<HostProblem>() {
        Some(HostProblem(problem)) if last > 0 && problem.code == "bad-request" => anyhow!(
            "the folder is of another log: it ends at position {last}; if the store was restored \
             from an older copy, ship it into a new folder: {}",
            problem.detail
        ),
        _ => passing(error),
    }
}

/// The position of the last event of a host that has the log of the manifest.
pub async fn head(client: &Client, manifest: &Manifest) -> Result<u64> {
    let incoming = Incoming::begin(client, manifest).await;
    let not_compared =
        |error: anyhow::Error| anyhow!("the host was not compared: {}", crate::shown(&error));
    Ok(incoming.map_err(not_compared)?.head)
}
