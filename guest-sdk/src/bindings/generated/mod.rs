pub mod decider;
pub mod manifest;
pub mod projection;
pub mod upcaster;
