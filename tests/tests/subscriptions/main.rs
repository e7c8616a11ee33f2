//! Subscriptions: none misses an event or gets it twice, none is buffered without end.
#![allow(clippy::unwrap_used)]

mod bounds;
mod commits;
mod failing;
mod follow;
mod idle;
mod named;
mod random;
mod ring;
mod seam;
mod sse;
mod watched;
