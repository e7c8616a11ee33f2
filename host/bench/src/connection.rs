//! A client that costs little.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A connection that writes a request and reads until the answer has come.
pub struct Connection {
    stream: TcpStream,
    headers: String,
    answer: Vec<u8>,
}

impl Connection {
    /// Connects. Each request gets the headers, of which each ends with a line break.
    pub async fn open(address: SocketAddr, headers: String) -> Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            headers,
            answer: vec![0; 16 << 10],
        })
    }

    /// Sends JSON to a path. Returns the status of the answer and its body.
    pub async fn post(&mut self, path: &str, body: &str) -> Result<(u16, &str)> {
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {}\r\n{}\r\n{body}",
            body.len(),
            self.headers
        );
        self.stream.write_all(request.as_bytes()).await?;
        let mut read = 0;
        loop {
            let more = self.stream.read(&mut self.answer[read..]).await?;
            if more == 0 {
                bail!("the host has closed the connection, or its answer is too long");
            }
            read += more;
            if let Some(head) = whole(&self.answer[..read])? {
                let text = std::str::from_utf8(&self.answer[..read])?;
                let status = text
                    .split(' ')
                    .nth(1)
                    .context("an answer without a status")?;
                return Ok((status.parse()?, &text[head..]));
            }
        }
    }
}

/// Where the body of an answer begins, if it has come to its end.
fn whole(answer: &[u8]) -> Result<Option<usize>> {
    let text = std::str::from_utf8(answer)?;
    let Some((head, body)) = text.split_once("\r\n\r\n") else {
        return Ok(None);
    };
    let mut lengths = head
        .lines()
        .filter_map(|line| line.strip_prefix("content-length: "));
    let length: usize = lengths
        .next_back()
        .context("an answer without a length")?
        .parse()?;
    Ok((body.len() >= length).then_some(head.len() + 4))
}
