//! The sections of the configuration file.

use std::ops::RangeInclusive;

use super::super::policies::Policies;
use super::section::{ByCategory, Millis, Names, section};
use quipu::model::AppendLimits;
use quipu::{engine, projection, runtime, subscribe};
use quipu_server as http;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// A time in milliseconds.
const TIME: RangeInclusive<u64> = 1..=DAY_MS;
/// A number of at least one.
const SOME: RangeInclusive<u64> = 1..=u64::MAX;
/// Threads, or other things that keep a thread busy.
const THREADS: RangeInclusive<u64> = 1..=1_024;
/// A number of things that each use a little memory.
const MANY: RangeInclusive<u64> = 1..=1_000_000;

section! {
    /// How commands are executed.
    Engine "engine"
    engine::Options {
        workers: usize in THREADS => workers;
        in_flight_max: usize in MANY => in_flight_max;
        deadline_ms: Millis in TIME => deadline;
        warm_aggregates_max: usize in SOME => warm_aggregates_max;
        warm_bytes_max: usize in SOME => warm_bytes_max;
        /// Number of rejections stored for each category; 0 stores none.
        rejections_max: usize => rejections_max;
        /// Decide everything twice, in instances that share nothing.
        check_purity: bool => check_purity;
        /// Maximum number of events since the newest usable snapshot.
        stream_events_max: ByCategory => stream_events_max;
        snapshots: Policies => snapshots;
    }
}

section! {
    /// Limits of one append, decided or raw.
    Limits "limits"
    AppendLimits {
        events_max: usize in SOME => events_max;
        event_bytes_max: usize in SOME => event_bytes_max;
        append_bytes_max: usize in SOME => append_bytes_max;
        metadata_bytes_max: usize => metadata_bytes_max;
        type_bytes_max: usize in SOME => type_bytes_max;
        tags_max: usize => tags_max;
        tag_bytes_max: usize => tag_bytes_max;
    }
}

section! {
    /// Limits of guests, and of the compilation of their components.
    Guests "guests"
    runtime::Limits {
        fuel_per_call: u64 in SOME => fuel_per_call;
        deadline_ms: Millis in TIME => deadline;
        memory_bytes_max: usize in 1 << 16..=4 << 30 => memory_bytes_max;
        output_bytes_max: usize in SOME => output_bytes_max;
        /// Also the longest body that uploads a component.
        component_bytes_max: usize in SOME => component_bytes_max;
    }
    runtime::Compiler {
        /// Maximum address space for compiling one component.
        compile_memory_bytes_max: u64 in 256 << 20..=u64::MAX => memory_bytes_max;
        /// Maximum time for compiling one component.
        compile_time_max_ms: Millis in 1_000..=DAY_MS => time_max;
    }
}

section! {
    /// Limits of requests and connections.
    Http "http"
    http::Options {
        body_bytes_max: usize in SOME => body_bytes_max;
        line_bytes_max: usize in SOME => line_bytes_max;
        lines_in_flight_max: usize in SOME => lines_in_flight_max;
        request_time_max_ms: Millis in TIME => request_time_max;
        /// The same for an upload of a component, which is compiled before the answer.
        upload_time_max_ms: Millis in TIME => upload_time_max;
        slow_reader_max_ms: Millis in TIME => slow_reader_max;
        /// Maximum number of open connections.
        connections_max: usize in MANY => connections_max;
        /// Maximum number of requests in flight of one HTTP/2 connection.
        connection_requests_max: u32 in 1..=10_000 => connection_requests_max;
        /// Time limit for a request's line and headers.
        head_time_max_ms: Millis in TIME => head_time_max;
        /// Time limit for a connection without a request in flight.
        idle_max_ms: Millis in TIME => idle_max;
        /// Time limit for 16 KiB of a body, or its rest.
        body_wait_max_ms: Millis in TIME => body_wait_max;
        /// Time limit for the next line of NDJSON.
        lines_wait_max_ms: Millis in TIME => lines_wait_max;
        /// Bytes in memory of all bodies. Its minimum depends on the largest body.
        bodies_bytes_max: usize => bodies_bytes_max;
        /// Bytes in memory of all answers with pages.
        answers_bytes_max: usize in 64 << 20..=u64::MAX => answers_bytes_max;
        /// Names under which the host is reached.
        hosts: Names => hosts;
        /// Origins of web pages that may call the host.
        origins: Names => origins;
    }
}

section! {
    /// Limits of subscriptions.
    Subscriptions "subscriptions"
    subscribe::Options {
        max: usize in SOME => subscriptions_max;
        /// Newest events in memory that all subscriptions share.
        ring_events_max: usize in SOME => ring_events_max;
        ring_bytes_max: usize in SOME => ring_bytes_max;
        /// Bytes in memory of all subscriptions while they catch up.
        catch_up_bytes_max: usize in SOME => catch_up_bytes_max;
        heartbeat_ms: Millis in TIME => heartbeat;
    }
}

section! {
    /// How projections are run.
    Projections "projections"
    projection::Options {
        /// Lease of a build: how long a host owns it without renewing.
        lease_ms: Millis in 100..=DAY_MS => lease;
        /// Documents in memory for each build.
        cache_bytes: usize in SOME => cache_bytes;
        /// Attempts for an event that can't be folded before the policy applies.
        attempts: u32 in SOME => attempts;
        /// The initial pause between two attempts.
        retry_first_ms: Millis in TIME => retry.0;
        /// The maximum pause between two attempts.
        retry_max_ms: Millis in TIME => retry.1;
        /// Maximum number of parked events of one build.
        parked_max: usize in SOME => parked_max;
        /// Number of pages that are folded at the same time.
        folding_max: usize in THREADS => folding_max;
        /// Threads that fold one page of a build that lags.
        threads: usize in THREADS => threads;
        /// Time that each inline projection may use for a batch of appends.
        inline_ms: Millis in TIME => inline_time;
        /// Failed appends in a row after which an inline projection counts as failing.
        failing_after: u32 in SOME => failing_after;
        /// Time limit for the comparison before a rebuild takes over.
        comparison_ms: Millis in TIME => comparison_time;
        verify_bytes: usize in SOME => verify_bytes;
    }
}
