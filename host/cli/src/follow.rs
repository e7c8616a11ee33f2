//! Following the log or a stream, with reconnects.

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Result, anyhow};
use bytes::Bytes;
use rand::Rng;
use reqwest::{Method, Response};

use super::Client;
use super::client::HostProblem;
use quipu_api::Lines;
use quipu_api::Problem;

/// Longest line; an event has one or more.
const LINE_BYTES_MAX: usize = 64 << 20;
/// A connection without any data for this long, not even a heartbeat, is considered lost.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Pause before another attempt to connect.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// The longest pause that a host can ask for.
const RETRY_MAX: Duration = Duration::from_secs(60);
const PAUSE_FIRST: Duration = Duration::from_millis(100);

/// A subscription over HTTP that continues at the last id when its connection is lost.
pub struct Follow<'a> {
    client: &'a Client,
    path: &'a [&'a str],
    query: Vec<(&'a str, String)>,
    /// The last id that was seen.
    last_id: Option<String>,
    pause_max: Duration,
}

/// An event of a subscription.
#[derive(Debug, Default, PartialEq)]
struct Frame {
    id: Option<String>,
    name: String,
    data: Option<Vec<u8>>,
}

/// Why a connection is no longer used.
enum Broken {
    /// A new connection may help.
    Lost(String),
    /// A new connection would fail, too, or nobody wants more.
    Ended(Result<()>),
}

impl<'a> Follow<'a> {
    pub fn new(client: &'a Client, path: &'a [&'a str], query: Vec<(&'a str, String)>) -> Self {
        Self {
            client,
            path,
            query,
            last_id: None,
            pause_max: PAUSE_FIRST,
        }
    }

    /// Calls back with each event, or change of a document, as JSON, as long as the callback
    /// returns true; the parts of a split event are passed together. Only the first attempt to
    /// connect may fail.
    pub async fn run(mut self, mut each: impl FnMut(&[Vec<u8>]) -> Result<bool>) -> Result<()> {
        let mut response = self.connect().await?;
        loop {
            let why = match self.read(response, &mut each).await {
                Broken::Ended(end) => return end,
                Broken::Lost(why) => why,
            };
            // The reader may be gone.
            _ = writeln!(io::stderr(), "{why}; connecting again");
            response = self.connect_again().await?;
        }
    }

    async fn connect(&self) -> Result<Response> {
        let request = self.client.request(Method::GET, self.path);
        let request = request.query(&self.query);
        let request = match &self.last_id {
            Some(id) => request.header("Last-Event-ID", id),
            None => request,
        };
        self.client.send(request).await
    }

    async fn connect_again(&mut self) -> Result<Response> {
        loop {
            let pause = rand::rng().random_range(Duration::ZERO..=self.pause_max);
            self.pause_max = (self.pause_max * 2).min(PAUSE_MAX);
            tokio::time::sleep(pause).await;
            match self.connect().await {
                Err(error) => match error.downcast_ref::<HostProblem>() {
                    Some(HostProblem(problem)) if !problem.is_passing() => return Err(error),
                    Some(HostProblem(problem)) => {
                        let seconds = problem.retry_after_s.unwrap_or_default();
                        tokio::time::sleep(Duration::from_secs(seconds).min(RETRY_MAX)).await;
                    }
                    None => {}
                },
                connected => return connected,
            }
        }
    }

    async fn read(
        &mut self,
        response: Response,
        each: &mut impl FnMut(&[Vec<u8>]) -> Result<bool>,
    ) -> Broken {
        let mut lines = Lines::new(response.bytes_stream(), LINE_BYTES_MAX);
        let mut frame = Frame::default();
        // Parts of an event that is not complete yet. A new connection sends them from the first
        // part.
        let mut parts = Vec::new();
        loop {
            let line = match tokio::time::timeout(SILENCE_MAX, lines.next()).await {
                Err(_) => return Broken::Lost("nothing comes from the host".to_owned()),
                Ok(Ok(None)) => return Broken::Lost("the host ended the connection".to_owned()),
                Ok(Err(_)) => return Broken::Lost("the connection is lost".to_owned()),
                Ok(Ok(Some((_, line)))) => line,
            };
            if !line.is_empty() {
                frame.take(&line);
                continue;
            }
            let Frame { id, name, data } = std::mem::take(&mut frame);
            let is_whole = id.is_some();
            self.last_id = id.or(self.last_id.take());
            let data = data.unwrap_or_default();
            match name.as_str() {
                "event" | "document" | "switched" => {
                    parts.push(data);
                    if !is_whole {
                        continue;
                    }
                    self.pause_max = PAUSE_FIRST;
                    match each(&std::mem::take(&mut parts)) {
                        Ok(true) => {}
                        Ok(false) => return Broken::Ended(Ok(())),
                        Err(error) => return Broken::Ended(Err(error)),
                    }
                }
                "caught-up" | "heartbeat" => self.pause_max = PAUSE_FIRST,
                "too-slow" => return Broken::Lost("the output is too slow".to_owned()),
                "error" => return problem(&data),
                _ => {}
            }
        }
    }
}

fn problem(data: &[u8]) -> Broken {
    match serde_json::from_slice::<Box<Problem>>(data) {
        Ok(problem) if problem.is_passing() => Broken::Lost(problem.detail),
        Ok(problem) => Broken::Ended(Err(HostProblem(problem).into())),
        Err(_) => Broken::Ended(Err(anyhow!("the host ended the subscription"))),
    }
}

impl Frame {
    /// Parses a line according to the standard of server-sent events.
    fn take(&mut self, line: &Bytes) {
        let (field, value) = match line.iter().position(|byte| *byte == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (&line[..], &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        let text = || String::from_utf8_lossy(value).into_owned();
        match field {
            b"id" => self.id = Some(text()),
            b"event" => self.name = text(),
            b"data" => match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
                None => self.data = Some(value.to_vec()),
            },
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_data_are_put_together() {
        let mut frame = Frame::default();
        for line in [
            "id: 7",
            ": a comment",
            "event: event",
            "data: {",
            "data:",
            "data:}",
        ] {
            frame.take(&Bytes::from(line));
        }
        let expected = Frame {
            id: Some("7".to_owned()),
            name: "event".to_owned(),
            data: Some(b"{\n\n}".to_vec()),
        };
        assert_eq!(frame, expected);
    }
}
