//! The command line: one binary, `quipu`.
//!
//! Data goes to stdout, everything else to stderr. [`Exit`] says how a command ended.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod accept_loss;
mod access;
mod append;
mod author;
mod backup;
mod client;
mod compile;
mod completions;
mod config;
mod contexts;
mod demo;
mod deploy;
mod event;
mod events;
mod execute;
mod exit;
mod expected;
mod explain;
mod export;
pub mod file;
mod follow;
mod groups;
mod import;
mod inspect;
mod log;
mod log_format;
mod logs;
mod marks;
mod mcp;
mod migrate;
mod modules;
mod otlp;
mod policies;
mod preflight;
mod pretty;
mod preview;
mod projection;
mod projections;
mod proposals;
mod prune;
mod rejections;
mod reload;
mod rules;
mod runs;
mod secret;
mod serve;
mod shadow;
mod shipping;
mod show_config;
mod signing;
mod snapshot;
mod status;
mod stream;
mod streams;
mod subscriptions;
mod table;
mod tenant_rules;
mod tenants;
mod tls;
mod top;
mod trace;
mod transfer;
mod types;
mod verify;
mod view;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use quipu::runtime::Compiler;
use tokio::signal::unix::{SignalKind, signal};

pub use client::Client;
pub use config::check as check_configuration;
pub use exit::Exit;

/// An event-sourcing host whose domain logic runs as WebAssembly components
#[derive(Debug, Parser)]
#[command(
    name = "quipu",
    bin_name = "quipu",
    version,
    arg_required_else_help = true,
    max_term_width = 80,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong use, 3 rejected by the domain, 4 conflict"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Serve),
    #[command(name = "config")]
    ShowConfig(show_config::ShowConfig),
    Demo(demo::Demo),
    New(author::New),
    Build(author::Build),
    Test(author::Test),
    Conform(author::Conform),
    Dev(author::Dev),
    Diff(author::Diff),
    Doctor(author::Doctor),
    Inspect(inspect::Inspect),
    Deploy(deploy::Deploy),
    Preflight(preflight::Preflight),
    Shadow(shadow::Shadow),
    Rollback(deploy::Rollback),
    Deployments(deploy::Deployments),
    Prune(prune::Prune),
    Key(signing::Key),
    Sign(signing::Sign),
    Execute(execute::Execute),
    Append(append::Append),
    Events(events::Events),
    Event(event::Event),
    Trace(trace::Trace),
    Streams(streams::Streams),
    Stream(stream::Stream),
    Subscriptions(subscriptions::Subscriptions),
    Subscription(subscriptions::Subscription),
    Rejections(rejections::Rejections),
    Types(types::Types),
    Archive(marks::Archive),
    Restore(marks::Restore),
    Truncate(marks::Truncate),
    Projections(projections::Projections),
    Projection(projection::Projection),
    View(view::View),
    Snapshot(snapshot::Snapshot),
    Verify(verify::Verify),
    Status(status::Status),
    Top(top::Top),
    Logs(logs::Logs),
    Mcp(mcp::Mcp),
    Proposal(proposals::Proposal),
    Explain(explain::Explain),
    Completions(completions::Completions),
    Token(access::Token),
    Whoami(access::Whoami),
    Can(access::Can),
    Policy(access::Policy),
    Context(contexts::Context),
    Tenant(tenants::Tenant),
    Audit(access::Audit),
    Export(export::Export),
    Import(import::Import),
    Backup(backup::Backup),
    Ship(shipping::Ship),
    Recover(shipping::Recover),
    Drill(shipping::Drill),
    Migrate(migrate::Migrate),
    AcceptLoss(accept_loss::AcceptLoss),
    #[command(name = Compiler::ARGUMENT, hide = true)]
    CompileComponent(compile::CompileComponent),
}

/// Where the host is, for the commands that are its clients.
#[derive(Debug, Args)]
struct Connection {
    /// The host's address [default: that of the context, or http://127.0.0.1:7878]
    #[arg(long, env = "QUIPU_URL", hide_env_values = true)]
    url: Option<String>,
    /// The context that says where the host is; see `quipu context` [default: the current one]
    #[arg(
        long,
        value_name = "NAME",
        env = "QUIPU_CONTEXT",
        hide_env_values = true
    )]
    context: Option<String>,
    /// Sent as a bearer token
    #[arg(long, env = "QUIPU_TOKEN", hide_env_values = true)]
    token: Option<secret::Secret>,
    /// A file whose only line is the token
    #[arg(
        long,
        value_name = "FILE",
        env = "QUIPU_TOKEN_FILE",
        hide_env_values = true
    )]
    token_file: Option<PathBuf>,
    /// For https: the certificates of the authorities to trust, in PEM, in place of the public ones
    #[arg(long, value_name = "FILE", env = "QUIPU_CA", hide_env_values = true)]
    ca: Option<PathBuf>,
    /// The tenant whose store is meant; without it, the main store
    #[arg(
        long,
        value_name = "NAME",
        env = "QUIPU_TENANT",
        hide_env_values = true
    )]
    tenant: Option<String>,
}

/// How long the end of a command waits for work on other threads.
const LEFT_RUNNING: Duration = Duration::from_secs(1);

/// The exit code after a panic, as Rust's own.
const PANICKED: i32 = 101;

/// Ends the process when this thread panics, which is the main one. Without that, the process would
/// wait without an end for threads that the system refused to start.
fn end_on_panic() {
    let (main, print) = (std::thread::current().id(), std::panic::take_hook());
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        if std::thread::current().id() == main {
            let why = panic.payload_as_str().unwrap_or("a panic");
            _ = writeln!(io::stderr(), "error: the program can't go on: {why}");
            std::process::exit(PANICKED);
        }
    }));
}

/// Runs the command line of this process. Errors have been printed on stderr.
pub fn main() -> ExitCode {
    let matches = groups::grouped(Cli::command()).try_get_matches();
    let cli = matches.and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = cli.unwrap_or_else(|error| end_of_usage(&error));
    end_on_panic();
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let result = runtime.block_on(run(cli.command));
            // Nobody waits for the result of work on other threads.
            runtime.shutdown_timeout(LEFT_RUNNING);
            result
        });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A reader that has seen enough, like `head`, is not a failure.
            if exit::is_broken_pipe(&error) {
                return ExitCode::SUCCESS;
            }
            if error.is::<exit::Denied>() {
                return Exit::Failed.into();
            }
            let text = shown(&error);
            // The readers may be gone.
            if is_for_programs() {
                _ = exit::write_json(&error, &text, &mut io::stdout().lock());
            }
            _ = writeln!(io::stderr(), "error: {text}");
            Exit::of(&error).into()
        }
    }
}

/// Whether `--json` is among the arguments, also if they are wrong.
fn is_for_programs() -> bool {
    std::env::args_os().any(|argument| argument == "--json")
}

/// Ends the process with a help text, the version, or an error about the arguments.
fn end_of_usage(error: &clap::Error) -> ! {
    if error.use_stderr() && is_for_programs() {
        let text = error.render().to_string();
        let text = text.strip_prefix("error: ").unwrap_or(&text);
        // Usage and hints are for people.
        let text = text.split("\n\n").next().unwrap_or_default().trim_end();
        // The reader may be gone.
        _ = exit::write_json_usage(text, &mut io::stdout().lock());
    }
    error.exit()
}

/// An error for people. Line breaks stay; no text of a host or guest can control the terminal.
fn shown(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        // Some errors have the text of their cause at an end of their own.
        if !(text.ends_with(&cause) || text.starts_with(&cause)) {
            let separator = if text.is_empty() { "" } else { ": " };
            text = format!("{text}{separator}{cause}");
        }
    }
    let lines: Vec<String> = text.split('\n').map(table::printable).collect();
    lines.join("\n")
}

/// SIGXFSZ, on Linux and on macOS.
const FILE_LIMIT: i32 = 25;

/// Makes a write beyond the limit on the size of files an error. By default it ends the process.
fn survive_file_limit() -> io::Result<()> {
    // The handler stays when this is dropped.
    signal(SignalKind::from_raw(FILE_LIMIT)).map(drop)
}

async fn run(command: Command) -> anyhow::Result<()> {
    survive_file_limit()?;
    match command {
        Command::Serve(serve) => serve.run().await,
        Command::ShowConfig(show) => show.run(),
        Command::Demo(demo) => demo.run().await,
        Command::New(new) => new.run(),
        Command::Build(build) => build.run(),
        Command::Test(test) => test.run().await,
        Command::Conform(conform) => conform.run(),
        Command::Dev(dev) => dev.run().await,
        Command::Diff(diff) => diff.run(),
        Command::Doctor(doctor) => doctor.run(),
        Command::Inspect(inspect) => inspect.run(),
        Command::Deploy(deploy) => deploy.run().await,
        Command::Preflight(preflight) => preflight.run().await,
        Command::Shadow(shadow) => shadow.run().await,
        Command::Rollback(rollback) => rollback.run().await,
        Command::Deployments(deployments) => deployments.run().await,
        Command::Prune(prune) => prune.run().await,
        Command::Key(key) => key.run(),
        Command::Sign(sign) => sign.run(),
        Command::Execute(execute) => execute.run().await,
        Command::Append(append) => append.run().await,
        Command::Events(events) => events.run().await,
        Command::Event(event) => event.run().await,
        Command::Trace(trace) => trace.run().await,
        Command::Streams(streams) => streams.run().await,
        Command::Stream(stream) => stream.run().await,
        Command::Subscriptions(subscriptions) => subscriptions.run().await,
        Command::Subscription(subscription) => subscription.run().await,
        Command::Rejections(rejections) => rejections.run().await,
        Command::Types(types) => types.run().await,
        Command::Archive(archive) => archive.run().await,
        Command::Restore(restore) => restore.run().await,
        Command::Truncate(truncate) => truncate.run().await,
        Command::Projections(projections) => projections.run().await,
        Command::Projection(projection) => projection.run().await,
        Command::View(view) => view.run().await,
        Command::Snapshot(snapshot) => snapshot.run().await,
        Command::Verify(verify) => verify.run().await,
        Command::Status(status) => status.run().await,
        Command::Top(top) => top.run().await,
        Command::Logs(logs) => logs.run().await,
        Command::Mcp(mcp) => mcp.run().await,
        Command::Proposal(proposal) => proposal.run().await,
        Command::Explain(explain) => explain.run(),
        Command::Completions(completions) => completions.run(&Cli::command()),
        Command::Token(token) => token.run().await,
        Command::Whoami(whoami) => whoami.run().await,
        Command::Can(can) => can.run().await,
        Command::Policy(policy) => policy.run(),
        Command::Context(context) => context.run(),
        Command::Tenant(tenant) => tenant.run().await,
        Command::Audit(audit) => audit.run().await,
        Command::Export(export) => export.run().await,
        Command::Import(import) => import.run().await,
        Command::Backup(backup) => backup.run().await,
        Command::Ship(ship) => ship.run().await,
        Command::Recover(recover) => recover.run().await,
        Command::Drill(drill) => drill.run().await,
        Command::Migrate(migrate) => migrate.run().await,
        Command::AcceptLoss(accept) => accept.run().await,
        Command::CompileComponent(compile) => compile.run(),
    }
}
