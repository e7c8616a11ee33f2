//! The sections of the configuration.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use toml::Value as Toml;

use super::super::policies::Policies;
use super::super::secret::Secret;
use super::key::Kind;
use super::section::section;
use super::value::{
    Address, ByCategory, Listen, Millis, Names, Path, Text, Texts, Validations, Value,
};
use quipu::model::AppendLimits;
use quipu::{engine, projection, runtime, subscribe};
use quipu_server::{self as http, ConsoleMode};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;
/// A time in milliseconds.
const TIME: RangeInclusive<u64> = 1..=DAY_MS;
/// A number of at least one.
const SOME: RangeInclusive<u64> = 1..=u64::MAX;
/// Threads, or other things that keep a thread busy.
const THREADS: RangeInclusive<u64> = 1..=1_024;
/// A number of things that each use a little memory.
const MANY: RangeInclusive<u64> = 1..=1_000_000;

/// What the host serves, and where.
#[derive(Debug, Clone)]
pub struct General {
    /// The address of the store.
    pub store: Secret,
    /// A file with the address of the store.
    pub store_file: Option<PathBuf>,
    /// The address to listen on.
    pub listen: String,
    /// Listen on an address that other machines reach.
    pub allow_unauthenticated: bool,
    /// A folder of components.
    pub modules: Option<PathBuf>,
    /// Where compiled components are stored.
    pub cache_dir: Option<PathBuf>,
    /// Public keys of those who may bring modules.
    pub keys: Vec<String>,
    /// What is logged.
    pub log: String,
    /// How lines of the log are written.
    pub log_format: String,
    /// Added to the metadata of every command and direct append.
    pub metadata: Texts,
}

impl Default for General {
    fn default() -> Self {
        Self {
            store: "sqlite:quipu.db".into(),
            store_file: None,
            listen: "127.0.0.1:7878".to_owned(),
            allow_unauthenticated: false,
            modules: None,
            cache_dir: None,
            keys: Vec::new(),
            log: "info".to_owned(),
            log_format: "auto".to_owned(),
            metadata: Texts::new(),
        }
    }
}

/// What the host serves besides its interface, and where.
#[derive(Debug, Clone, Default)]
pub struct Addresses {
    /// The address of administration.
    pub admin_listen: Option<String>,
    /// What the console does.
    pub console: ConsoleMode,
}

impl Value for ConsoleMode {
    type Option = Self;
    const KIND: Kind = Kind::Text;

    fn parse(given: &Toml) -> Result<Option<Self>, String> {
        given.as_str().map(str::parse).transpose()
    }

    fn option(&self) -> Self {
        *self
    }

    fn shown(option: &Self) -> Option<Toml> {
        Some(Toml::String(option.as_str().to_owned()))
    }
}

/// The files of the host's certificate.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain of certificates.
    pub certificate: Option<PathBuf>,
    /// The private key.
    pub key: Option<PathBuf>,
    /// The authorities of client certificates.
    pub client_authorities: Option<PathBuf>,
    /// Whether every client needs a certificate.
    pub client_required: bool,
}

/// The files that say who may do what besides tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccessFiles {
    /// Issuers of JSON web tokens, and client certificates.
    pub identities: Option<PathBuf>,
    /// The policy.
    pub policy: Option<PathBuf>,
}

/// Tools for agents.
#[derive(Debug, Clone)]
pub struct McpSettings {
    /// Which tools there are.
    pub mode: String,
    /// Whether who proposed a command may approve it.
    pub approve_own: bool,
}

impl Default for McpSettings {
    fn default() -> Self {
        Self {
            mode: "off".to_owned(),
            approve_own: false,
        }
    }
}

/// Where tenants are, and how many may be open.
#[derive(Debug, Clone)]
pub struct TenantSettings {
    /// A folder, or the beginning of the names of schemas; empty without tenants.
    pub place: String,
    /// Tenants whose stores are open.
    pub open_max: usize,
    /// One tenant may use one part of this many.
    pub share: usize,
    /// A folder with the rules of tenants.
    pub rules: Option<PathBuf>,
}

impl Default for TenantSettings {
    fn default() -> Self {
        Self {
            place: String::new(),
            open_max: 100,
            share: 8,
            rules: None,
        }
    }
}

section! {
    /// Keys before the first section.
    Top ""
    General {
        /// The store: sqlite:PATH, postgres://USER:PASSWORD@HOST/DATABASE?schema=NAME, or memory:.
        store: Address => store;
        /// A file whose only line is the address of the store; excludes `store`.
        store_file: Path => store_file ("\"/run/secrets/quipu-store\"", "none");
        /// The address to listen on; port 0 picks a free port.
        listen: Text => listen;
        /// Listen on an address that other machines reach, although the host asks nobody who it is.
        allow_unauthenticated: bool => allow_unauthenticated;
        /// A folder of components, which are uploaded at the start, and activated if new.
        modules: Path => modules ("\"modules\"", "none");
        /// Where compiled components are stored. Only the host may be able to write there.
        cache_dir: Path => cache_dir ("\"quipu.db.compiled\"", "FILE.compiled next to the file of a SQLite store, otherwise none");
        /// Public keys: only components that one of them has signed are accepted. Read at every reload.
        keys: Names => keys;
        /// What is logged, as `info` or `quipu=debug`. Read at every reload.
        log: Text => log;
        /// How lines of the log are written: `text`, `json`, or `auto`, which is json unless stderr is a terminal.
        log_format: Text => log_format;
        /// Added to the metadata of every command and direct append; never replaces the caller's.
        metadata: Texts => metadata;
    }
}

section! {
    /// Further addresses of the host, and its console.
    Server "server"
    Addresses {
        /// Administration is answered only at this address: status, components, tokens and so on.
        admin_listen: Listen => admin_listen ("\"127.0.0.1:7879\"", "none, so `listen` answers everything");
        /// Pages for a web browser at the address of the host: `off`, `read`, or `full` with actions. With
        /// `admin_listen` they are only there.
        console: ConsoleMode => console;
    }
}

section! {
    /// The certificate of the host. With both files it serves https, otherwise http.
    Tls "tls"
    TlsFiles {
        /// The certificate and those of its authorities, in PEM. Read at every reload.
        certificate: Path => certificate ("\"tls.crt\"", "none");
        /// The private key of the certificate, in PEM. Read at every reload.
        key: Path => key ("\"tls.key\"", "none");
        /// The authorities whose client certificates are taken, in PEM. Read at every reload.
        client_authorities: Path => client_authorities ("\"clients.crt\"", "none");
        /// Refuse connections without a client certificate. Read at every reload.
        client_required: bool => client_required;
    }
}

section! {
    /// Who may do what, besides tokens and their roles.
    Access "access"
    AccessFiles {
        /// A file with the issuers of JSON web tokens and the client certificates that the host takes. Read at every reload.
        identities: Path => identities ("\"identities.toml\"", "none");
        /// A policy in Cedar, which permits more than the roles or forbids what they allow. Read at every reload.
        policy: Path => policy ("\"policy.cedar\"", "none");
    }
}

section! {
    /// How commands are executed.
    Engine "engine"
    engine::Options {
        /// Threads that decide.
        workers: usize in THREADS => workers ("4", "the number of processors, at most 8");
        /// Commands in flight; one more is answered with `overloaded`.
        in_flight_max: usize in MANY => in_flight_max;
        /// How long one more would wait, judged by the number in flight and the rate of answers; above that it is
        /// answered with `overloaded`. Counts from 256 in flight.
        wait_max_ms: Millis in TIME => wait_max;
        /// How long a command is re-decided after conflicts.
        deadline_ms: Millis in TIME => deadline;
        /// Aggregates that one worker keeps in memory.
        warm_aggregates_max: usize in SOME => warm_aggregates_max;
        /// Guest memory that one worker uses for them.
        warm_bytes_max: usize in SOME => warm_bytes_max;
        /// Rejections stored for each category; 0 stores none.
        rejections_max: usize => rejections_max;
        /// Decide everything twice, in instances that share nothing; a difference is a fault.
        check_purity: bool => check_purity;
        /// Compare events with the digests of their commits whenever they are read; a change is `store-damaged`.
        check_reads: bool => check_reads;
        /// By category: events since the newest usable snapshot.
        stream_events_max: ByCategory => stream_events_max;
        /// By category: "off", "report" or "enforce", for commands that do not match their schema.
        validate: Validations => validate;
        /// By category: "off", { every = EVENTS } or { load_ms = MILLISECONDS }.
        snapshots: Policies => snapshots;
    }
}

section! {
    /// Limits of one append, decided or direct, of each caller, and of each tenant.
    Limits "limits"
    AppendLimits {
        /// Events of one append.
        events_max: usize in SOME => events_max;
        /// Data of one event.
        event_bytes_max: usize in SOME => event_bytes_max;
        /// Data of all events of one append.
        append_bytes_max: usize in SOME => append_bytes_max;
        /// Metadata of one event.
        metadata_bytes_max: usize => metadata_bytes_max;
        /// Length of the name of a type.
        type_bytes_max: usize in SOME => type_bytes_max;
        /// Tags of one event.
        tags_max: usize => tags_max;
        /// Length of one tag.
        tag_bytes_max: usize => tag_bytes_max;
    }
    http::Limits {
        /// Requests of one caller per second, and as many at once; further ones get 429
        /// `rate-limited`. A caller is a token, or an address without one. 0: no limit. Read at every
        /// reload, as the following ones.
        requests_per_second: u32 in 0..=1_000_000 => requests_per_second;
        /// Bytes of bodies of one caller per second. A longer body is taken once. 0: no limit.
        bytes_per_second: u64 => bytes_per_second;
        /// Subscriptions and other long answers that one caller has open. 0: no limit.
        subscriptions: u32 => subscriptions;
        /// Components in the store; one more can't be uploaded. 0: no limit.
        modules: u32 => modules;
        /// Open connections of one IPv4 address, or of one IPv6 network of 64 bits. 0: no limit.
        address_connections: u32 => address_connections;
        /// Refused credentials of one address per minute; further ones get 429. 0: no limit.
        failed_logins_per_minute: u32 in 0..=1_000_000 => failed_logins_per_minute;
        /// Requests of all callers of one tenant per second, and as many at once. 0: no limit.
        tenant_requests_per_second: u32 in 0..=1_000_000 => tenant_requests_per_second;
        /// Bytes of bodies of all callers of one tenant per second. 0: no limit.
        tenant_bytes_per_second: u64 => tenant_bytes_per_second;
        /// Subscriptions and other long answers that all callers of one tenant have open. 0: no limit.
        tenant_subscriptions: u32 => tenant_subscriptions;
    }
}

section! {
    /// Limits of guests, and of the compilation of their components.
    Guests "guests"
    runtime::Limits {
        /// Fuel of one call.
        fuel_per_call: u64 in SOME => fuel_per_call;
        /// Time of one call.
        deadline_ms: Millis in TIME => deadline;
        /// Linear memory of one instance.
        memory_bytes_max: usize in 1 << 16..=4 << 30 => memory_bytes_max;
        /// What one call may return.
        output_bytes_max: usize in SOME => output_bytes_max;
        /// Size of a component, and of the body that uploads it.
        component_bytes_max: usize in SOME => component_bytes_max;
    }
    runtime::Compiler {
        /// Address space for compiling one component.
        compile_memory_bytes_max: u64 in 256 << 20..=u64::MAX => memory_bytes_max;
        /// Processor time for compiling one component; the run time may be twice as long.
        compile_time_max_ms: Millis in 1_000..=DAY_MS => time_max;
    }
}

section! {
    /// Limits of requests and connections.
    Http "http"
    http::Options {
        /// A larger JSON body is refused: 413 `too-large`.
        body_bytes_max: usize in SOME => body_bytes_max;
        /// A longer line of NDJSON ends the request: `too-large`.
        line_bytes_max: usize in SOME => line_bytes_max;
        /// Commands of one NDJSON request in flight; further ones wait.
        lines_in_flight_max: usize in SOME => lines_in_flight_max;
        /// Time from the head of a request to its answer; then 504 `timeout`.
        request_time_max_ms: Millis in TIME => request_time_max;
        /// The same for the upload of a component, which is compiled before the answer.
        upload_time_max_ms: Millis in TIME => upload_time_max;
        /// A client that reads nothing of an answer for this long is disconnected.
        slow_reader_max_ms: Millis in TIME => slow_reader_max;
        /// Open connections; one more closes the one that has been idle for longest.
        connections_max: usize in MANY => connections_max;
        /// Requests in flight of one HTTP/2 connection.
        connection_requests_max: u32 in 1..=10_000 => connection_requests_max;
        /// Time for the line and the headers of a request, and for the TLS handshake.
        head_time_max_ms: Millis in TIME => head_time_max;
        /// How long a connection without a request in flight stays open.
        idle_max_ms: Millis in TIME => idle_max;
        /// Time for 16 KiB of a body, or its rest; then 408 `body-timeout`.
        body_wait_max_ms: Millis in TIME => body_wait_max;
        /// Time until the next line of NDJSON begins.
        lines_wait_max_ms: Millis in TIME => lines_wait_max;
        /// Memory for all bodies; at least four times the largest body.
        bodies_bytes_max: usize => bodies_bytes_max;
        /// Memory for all answers with pages.
        answers_bytes_max: usize in 64 << 20..=u64::MAX => answers_bytes_max;
        /// After SIGTERM: how long requests are still accepted while `/readyz` says that the host is not ready.
        drain_delay_ms: Millis => drain_delay;
        /// Names under which the host is reached; addresses and names without a dot need no entry.
        hosts: Names => hosts;
        /// Origins of web pages that may call the host, as `https://shop.example`.
        origins: Names => origins;
    }
}

section! {
    /// Limits of subscriptions.
    Subscriptions "subscriptions"
    subscribe::Options {
        /// Subscriptions of this host.
        max: usize in SOME => subscriptions_max;
        /// Newest events in memory that all subscriptions share.
        ring_events_max: usize in SOME => ring_events_max;
        /// Bytes of these events.
        ring_bytes_max: usize in SOME => ring_bytes_max;
        /// Pages in memory of all subscriptions while they catch up.
        catch_up_bytes_max: usize in SOME => catch_up_bytes_max;
        /// A subscription that has sent nothing for this long sends a heartbeat.
        heartbeat_ms: Millis in TIME => heartbeat;
    }
}

section! {
    /// How projections are run.
    Projections "projections"
    projection::Options {
        /// Lease of a build: how long a host owns it without renewing.
        lease_ms: Millis in 100..=DAY_MS => lease;
        /// Documents in memory, for each build.
        cache_bytes: usize in SOME => cache_bytes;
        /// Attempts for an event that can't be folded, before the policy applies.
        attempts: u32 in SOME => attempts;
        /// The first pause between two attempts.
        retry_first_ms: Millis in TIME => retry.0;
        /// The longest pause between two attempts.
        retry_max_ms: Millis in TIME => retry.1;
        /// Parked events of one build, and dropped events of one projection.
        parked_max: usize in SOME => parked_max;
        /// Pages that are folded at the same time, of all projections.
        folding_max: usize in THREADS => folding_max ("2", "half of the processors, at least 2");
        /// Threads that fold one page of a build that lags.
        threads: usize in THREADS => threads ("4", "the number of processors, at most 4");
        /// Time that each inline projection may use for a batch of appends.
        inline_ms: Millis in TIME => inline_time;
        /// Failed appends in a row after which an inline projection is failing.
        failing_after: u32 in SOME => failing_after;
        /// Time for the comparison before a rebuild takes over.
        comparison_ms: Millis in TIME => comparison_time;
        /// Documents in memory during `verify --projections`.
        verify_bytes: usize in SOME => verify_bytes;
    }
}

section! {
    /// Tools for agents at `/mcp`, by the Model Context Protocol.
    Mcp "mcp"
    McpSettings {
        /// `off`; `read`: tools that read; `propose`: also a tool for each type of commands, which proposes a command; `act`: also a tool for each type of commands, which executes it. A caller can do with them what it can do over HTTP.
        mode: Text => mode;
        /// Whether who proposed a command may approve it.
        approve_own: bool => approve_own;
    }
}

section! {
    /// Tenants: stores of their own, which the same host serves.
    Tenants "tenants"
    TenantSettings {
        /// With SQLite a folder for their files; with PostgreSQL the beginning of the names of their
        /// schemas, as `tenant_`. Without it there are no tenants.
        place: Text => place;
        /// Tenants whose stores are open; one more closes the one that has been idle for longest.
        open_max: usize in 1..=10_000 => open_max;
        /// One tenant may use one part of this many of the workers, of the memory and so on.
        share: usize in 1..=1_024 => share;
        /// A folder with the rules of tenants: NAME/identities.toml, NAME/policy.cedar, NAME/keys.txt
        /// and NAME/limits.toml. Read when a tenant is opened, and at every reload.
        rules: Path => rules ("\"tenant-rules\"", "none");
    }
}
