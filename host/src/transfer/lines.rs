//! Splits an incoming file into lines.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};

use super::Error;

/// Longest line, in bytes. It has room for the largest component that a host accepts, encoded as
/// base64.
pub const LINE_BYTES_MAX: usize = 128 << 20;

/// Reads the input line by line. A line break ends a line. The last line may lack it.
pub struct Lines<S> {
    input: Pin<Box<S>>,
    buffer: BytesMut,
    /// Number of bytes at the start of the buffer that have no line break.
    scanned: usize,
    number: u64,
    bytes_max: usize,
}

impl<S, E> Lines<S>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: std::fmt::Display,
{
    pub fn new(input: S, bytes_max: usize) -> Self {
        Self {
            input: Box::pin(input),
            buffer: BytesMut::new(),
            scanned: 0,
            number: 0,
            bytes_max,
        }
    }

    /// Returns the number of the last line that was read.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Returns the next line, or `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        loop {
            let rest = &self.buffer[self.scanned..];
            if let Some(found) = rest.iter().position(|byte| *byte == b'\n') {
                let mut line = self.buffer.split_to(self.scanned + found + 1).freeze();
                line.truncate(line.len() - 1);
                return self.take(line);
            }
            self.scanned = self.buffer.len();
            if self.scanned > self.bytes_max {
                let line = self.buffer.split().freeze();
                return self.take(line);
            }
            match self.input.next().await {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(error)) => return Err(Error::Read(error.to_string())),
                None if self.buffer.is_empty() => return Ok(None),
                None => {
                    let line = self.buffer.split().freeze();
                    return self.take(line);
                }
            }
        }
    }

    fn take(&mut self, line: Bytes) -> Result<Option<Bytes>, Error> {
        self.scanned = 0;
        self.number += 1;
        if line.len() > self.bytes_max {
            return Err(Error::Line {
                line: self.number,
                reason: format!("the line has more than {} bytes", self.bytes_max),
            });
        }
        Ok(Some(line))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn read(chunks: &[&str], bytes_max: usize) -> Vec<Result<String, String>> {
        let chunks: Vec<_> = chunks
            .iter()
            .map(|chunk| Ok::<_, String>(Bytes::copy_from_slice(chunk.as_bytes())))
            .collect();
        let mut lines = Lines::new(futures::stream::iter(chunks), bytes_max);
        let mut read = Vec::new();
        loop {
            match lines.next().await {
                Ok(Some(line)) => read.push(Ok(String::from_utf8(line.to_vec()).unwrap())),
                Ok(None) => return read,
                Err(error) => {
                    read.push(Err(error.to_string()));
                    return read;
                }
            }
        }
    }

    #[tokio::test]
    async fn lines_are_put_together_from_chunks() {
        let expected = ["ab", "", "c", "d"].map(|line| Ok(line.to_owned()));
        assert_eq!(read(&["a", "b\n", "\nc\nd"], 2).await, expected);
        assert_eq!(read(&["ab\n\nc\nd\n"], 2).await, expected);
    }

    #[tokio::test]
    async fn a_line_is_bounded() {
        for chunks in [&["ab\nabc\n"][..], &["ab\nab", "c"], &["ab\nabcdef"]] {
            let read = read(chunks, 2).await;
            assert_eq!(read[0], Ok("ab".to_owned()));
            let error = read[1].as_ref().unwrap_err();
            assert!(error.starts_with("line 2: the line has more"), "{error}");
        }
    }
}
