//! Subscriptions: no event is missed or delivered twice, and no buffer is unbounded.
#![allow(clippy::unwrap_used)]

mod ahead;
mod bounds;
mod broken;
mod commits;
mod failing;
mod follow;
mod idle;
mod lifted;
mod named;
mod parts;
mod random;
mod ring;
mod seam;
mod sse;
mod swap;
mod upcaster;
mod waking;
mod watched;
