use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::{Value, json};

use super::deploy::upload;
use super::exit::reported;
use super::runs::Watch;
use super::table::{self, grouped};
use super::{Client, Connection, preflight};
use quipu_api::{RunLine, ShadowView};

/// Let a component decide live commands without effect
///
/// The component is uploaded, and decides the commands that are accepted or rejected meanwhile on
/// every host of the store. It does so after the callers have been answered, so it delays them no
/// more than any other work on the same machine. Its decisions are compared with the real ones.
/// Ctrl-C ends it. The exit code is 1 if something blocks an activation.
#[derive(Debug, Args)]
pub struct Shadow {
    /// The component
    file: PathBuf,
    /// Run for this many seconds
    #[arg(
        long,
        value_name = "S",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    seconds: u64,
    /// Decide on this percentage of the streams
    #[arg(
        long,
        value_name = "PERCENT",
        default_value_t = 100,
        value_parser = clap::value_parser!(u8).range(1..=100)
    )]
    share: u8,
    /// Use at most this percentage of one processor's time; commands beyond that are left out
    #[arg(
        long,
        value_name = "PERCENT",
        default_value_t = 25,
        value_parser = clap::value_parser!(u8).range(1..=100)
    )]
    cpu: u8,
    /// A kind of objection that does not block it, for example decision or rejected; may be
    /// repeated
    #[arg(long, value_name = "KIND")]
    allow: Vec<String>,
    /// Print NDJSON, one line per second
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Shadow {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let module = upload(&client, &self.file).await?;
        let body = json!({
            "digest": module.digest,
            "seconds": self.seconds,
            "share": self.share,
            "cpu": self.cpu,
            "allow": self.allow,
        });
        let request = client.request(Method::POST, &["v1", "shadows"]);
        let mut watch = Watch::new(client.send(request.json(&body)).await?);
        let bar = bar(self.seconds);
        let mut last: Option<Box<ShadowView>> = None;
        loop {
            let line = tokio::select! {
                line = watch.next() => line?,
                _ = tokio::signal::ctrl_c() => break,
            };
            let (json, RunLine::Shadow(shadow)) = line else {
                bail!("the host sent an unexpected answer");
            };
            self.report(&json, &shadow, &bar)?;
            let is_over = shadow.ended.is_some();
            last = Some(shadow);
            if is_over {
                break;
            }
        }
        bar.finish_and_clear();
        let Some(shadow) = last else {
            bail!("it ended before it reported anything");
        };
        if !self.json {
            let mut out = io::BufWriter::new(io::stdout().lock());
            print(&shadow, &mut out)?;
            out.flush()?;
        }
        match shadow.found.passes {
            true => Ok(()),
            false => Err(reported(
                "it decides otherwise; --allow KIND lets a kind of objection pass".to_owned(),
            )),
        }
    }

    fn report(&self, json: &Value, shadow: &ShadowView, bar: &ProgressBar) -> Result<()> {
        if self.json {
            return Ok(writeln!(io::stdout(), "{}", json["shadow"])?);
        }
        let commands = shadow.found.commands.iter();
        let (mut same, mut all) = (0, 0);
        for judged in commands {
            let others = judged.different
                + judged.rejected
                + judged.unread
                + judged.failed
                + judged.impure
                + judged.refused_other
                + judged.accepted
                + judged.refused_failed;
            same += judged.same + judged.refused_same;
            all += judged.same + judged.refused_same + others;
        }
        bar.set_message(format!("{} of {} the same", grouped(same), grouped(all)));
        Ok(())
    }
}

fn print(shadow: &ShadowView, out: &mut impl Write) -> Result<()> {
    let (after, skipped) = (grouped(shadow.after), grouped(shadow.skipped));
    writeln!(out, "from position {after} on; {skipped} went by unseen")?;
    preflight::print(&shadow.found, table::width(&Term::stdout()), out)
}

/// Seconds on stderr; nothing if stderr is not a terminal.
fn bar(seconds: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{spinner} {elapsed} of {len} s  {msg}");
    let bar = ProgressBar::new(seconds);
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar
}
