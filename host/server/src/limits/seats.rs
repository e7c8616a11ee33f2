//! Long answers that are open at the same time.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use super::Key;

/// How many long answers each caller has. There are no more keys than open answers.
#[derive(Debug, Default, Clone)]
pub struct Seats(Arc<Mutex<HashMap<Key, u32>>>);

/// The place of one long answer, until it is dropped.
#[derive(Debug)]
pub struct Seat {
    seats: Seats,
    key: Key,
}

impl Seats {
    /// A place for one more, if the caller has fewer than `max`.
    pub fn take(&self, key: &Key, max: u32) -> Option<Seat> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of_key = taken.get(key).copied().unwrap_or_default();
        if of_key >= max {
            return None;
        }
        taken.insert(key.clone(), of_key + 1);
        Some(Seat {
            seats: self.clone(),
            key: key.clone(),
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.get_mut(&self.key) {
            Some(of_key) if *of_key > 1 => *of_key -= 1,
            _ => _ = taken.remove(&self.key),
        }
    }
}

/// A body that has places until it ends or its client leaves.
pub struct Seated {
    pub body: Body,
    pub seats: Vec<Seat>,
}

impl HttpBody for Seated {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(None) = polled {
            self.seats.clear();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::super::key::Network;
    use super::*;

    #[test]
    fn a_place_is_free_after_its_answer_and_leaves_nothing() {
        let seats = Seats::default();
        let (ann, other) = (Key::Name("ann".into()), Key::Address(Network::default()));
        let taken = (seats.take(&ann, 2), seats.take(&ann, 2));
        assert!(taken.0.is_some() && taken.1.is_some());
        assert!(seats.take(&ann, 2).is_none());
        assert!(seats.take(&other, 2).is_some());
        drop(taken.0);
        let third = seats.take(&ann, 2);
        assert!(third.is_some() && seats.take(&ann, 2).is_none());
        drop((taken.1, third));
        assert!(seats.0.lock().unwrap().is_empty());
    }
}
