//! Lines of a stream of bytes, each limited in length.

use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};

use crate::{Code, Problem};

/// The lines of a body, each limited in length.
pub struct Lines<S> {
    stream: Pin<Box<S>>,
    buffer: BytesMut,
    /// Bytes of the buffer that hold no line break.
    scanned: usize,
    number: u64,
    line_bytes_max: usize,
    is_done: bool,
}

impl<S, E> Lines<S>
where
    S: Stream<Item = Result<Bytes, E>>,
    E: std::fmt::Display,
{
    /// The lines of a stream of bytes.
    pub fn new(stream: S, line_bytes_max: usize) -> Self {
        Self {
            stream: Box::pin(stream),
            buffer: BytesMut::new(),
            scanned: 0,
            number: 0,
            line_bytes_max,
            is_done: false,
        }
    }

    /// Whether there are no more.
    pub fn is_done(&self) -> bool {
        self.is_done
    }

    /// The next line with its number; none at the end. After an error there are no more lines. May
    /// be dropped and called a second time.
    pub async fn next(&mut self) -> Result<Option<(u64, Bytes)>, (u64, Box<Problem>)> {
        loop {
            if let Some(found) = self.buffer[self.scanned..].iter().position(|b| *b == b'\n') {
                let mut line = self.buffer.split_to(self.scanned + found + 1).freeze();
                self.scanned = 0;
                line.truncate(line.len() - 1);
                return self.take(line).map(Some);
            }
            self.scanned = self.buffer.len();
            if self.scanned > self.line_bytes_max {
                let line = self.buffer.split().freeze();
                return self.take(line).map(Some);
            }
            match self.stream.next().await {
                Some(Ok(chunk)) => self.buffer.extend_from_slice(&chunk),
                Some(Err(error)) => {
                    self.is_done = true;
                    let detail = format!("the body broke off: {error}");
                    return Err((self.number + 1, Problem::bad_request(detail)));
                }
                None => {
                    self.is_done = true;
                    if self.buffer.is_empty() {
                        return Ok(None);
                    }
                    let line = self.buffer.split().freeze();
                    return self.take(line).map(Some);
                }
            }
        }
    }

    fn take(&mut self, line: Bytes) -> Result<(u64, Bytes), (u64, Box<Problem>)> {
        self.number += 1;
        if line.len() > self.line_bytes_max {
            self.is_done = true;
            let max = self.line_bytes_max;
            let detail = format!("the line has more than {max} bytes; what follows is not read");
            return Err((self.number, Box::new(Problem::new(Code::TooLarge, detail))));
        }
        Ok((self.number, line))
    }
}
