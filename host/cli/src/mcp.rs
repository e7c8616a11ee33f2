use std::time::Duration;

use anyhow::Result;
use clap::{Args, ValueEnum};
use futures::FutureExt;
use futures::future::BoxFuture;
use reqwest::Method;
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncWriteExt, BufReader, stdin, stdout};

use super::client::warn_of_deprecation;
use super::{Client, Connection};
use quipu_mcp::{ANSWER_BYTES_MAX, Answer, Host, MESSAGE_BYTES_MAX, Request, Session, too_large};

/// How long an operation of a tool may take.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Offer tools for agents over stdin and stdout
///
/// Speaks the Model Context Protocol (MCP). A program that runs agents starts this command. The tools send requests to a host, with the
/// rights of the token. They only read, unless --mode is propose or act: then there is also a tool for
/// each type of commands. Ends when stdin ends.
#[derive(Debug, Args)]
pub struct Mcp {
    /// read: tools that read; propose: also tools that propose commands, see `quipu proposal`; act:
    /// also tools that execute commands
    #[arg(long, value_enum, default_value_t = Mode::Read)]
    mode: Mode,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "lower")]
enum Mode {
    #[value(help = None)]
    Read,
    #[value(help = None)]
    Propose,
    #[value(help = None)]
    Act,
}

impl From<Mode> for quipu_mcp::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Read => Self::Read,
            Mode::Propose => Self::Propose,
            Mode::Act => Self::Act,
        }
    }
}

impl Mcp {
    pub async fn run(self) -> Result<()> {
        let host = Remote(Client::of(&self.connection)?);
        let mut session = Session::new(self.mode.into(), env!("CARGO_PKG_VERSION"));
        let mut messages = BufReader::new(stdin());
        let mut out = stdout();
        loop {
            let answer = match next(&mut messages).await? {
                Line::Message(message) => session.answer(&message, &host).await,
                Line::Empty => None,
                Line::TooLong => Some(too_large()),
                Line::End => return Ok(()),
            };
            if let Some(answer) = answer {
                out.write_all(format!("{answer}\n").as_bytes()).await?;
                out.flush().await?;
            }
        }
    }
}

/// A line of stdin.
#[derive(Debug, PartialEq, Eq)]
enum Line {
    Message(Vec<u8>),
    Empty,
    TooLong,
    End,
}

/// Reads the next line. Of a line that is too long nothing is kept.
async fn next(reader: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Line> {
    let (mut line, mut length) = (Vec::new(), 0_usize);
    loop {
        let part = reader.fill_buf().await?;
        if part.is_empty() && length == 0 {
            return Ok(Line::End);
        }
        let end = part.iter().position(|byte| *byte == b'\n');
        let taken = end.unwrap_or(part.len());
        length = length.saturating_add(taken);
        if length <= MESSAGE_BYTES_MAX {
            line.extend_from_slice(&part[..taken]);
        }
        let is_last = end.is_some() || part.is_empty();
        let used = end.map_or(part.len(), |end| end + 1);
        reader.consume(used);
        if is_last {
            return Ok(match line.trim_ascii() {
                _ if length > MESSAGE_BYTES_MAX => Line::TooLong,
                [] => Line::Empty,
                message => Line::Message(message.to_vec()),
            });
        }
    }
}

/// A host that is reached over HTTP.
struct Remote(Client);

impl Host for Remote {
    fn send(&self, request: Request) -> BoxFuture<'_, Result<Answer, String>> {
        self.execute(request).boxed()
    }
}

impl Remote {
    async fn execute(&self, call: Request) -> Result<Answer, String> {
        let method = match call.method {
            quipu_mcp::Method::Get => Method::GET,
            quipu_mcp::Method::Post => Method::POST,
        };
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        let mut request = self.0.request(method, &path).query(&call.query);
        for (name, value) in call.headers {
            request = request.header(name, value);
        }
        if let Some(body) = call.body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let sent = request.timeout(TIME_MAX).send().await;
        let mut response = sent.map_err(|error| self.0.unreached(&error).to_string())?;
        warn_of_deprecation(&response);
        let status = response.status().as_u16();
        let mut body = Vec::new();
        loop {
            let part = response.chunk().await;
            let part = part.map_err(|error| self.0.unreached(&error).to_string())?;
            let Some(part) = part else {
                return Ok(Answer { status, body });
            };
            if body.len() + part.len() > ANSWER_BYTES_MAX {
                return Err(format!("the answer has more than {ANSWER_BYTES_MAX} bytes"));
            }
            body.extend_from_slice(&part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_are_messages_and_long_ones_are_dropped() {
        let mut text = b"{\"a\":1}\r\n\n  \n".to_vec();
        text.extend(vec![b'x'; MESSAGE_BYTES_MAX + 1]);
        text.extend(b"\nlast");
        let mut reader = BufReader::with_capacity(7, &text[..]);
        let mut lines = Vec::new();
        loop {
            match next(&mut reader).await.unwrap() {
                Line::End => break,
                line => lines.push(line),
            }
        }
        let message = |text: &str| Line::Message(text.as_bytes().to_vec());
        let expected = [
            message("{\"a\":1}"),
            Line::Empty,
            Line::Empty,
            Line::TooLong,
            message("last"),
        ];
        assert_eq!(lines, expected);
    }
}
