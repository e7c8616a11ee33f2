use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::Args;
use console::Term;
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;
use serde_json::{Value, json};

use super::deploy::upload;
use super::runs::Watch;
use super::table::{self, grouped};
use super::{Client, Connection, preflight};
use quipu_api::{RunLine, ShadowView};

/// Let a component decide live commands without effect
///
/// It is uploaded, and asked for the commands that are decided meanwhile, accepted or rejected,
/// on every host of the store: behind those who asked, whom it holds up no longer than any
/// other work on the same machine does. What it decides is compared. Ctrl-C ends it. Ends with
/// 1 when something blocks it.
#[derive(Debug, Args)]
pub struct Shadow {
    /// The component
    file: PathBuf,
    /// For so many seconds
    #[arg(
        long,
        value_name = "S",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(1..=86_400)
    )]
    seconds: u64,
    /// On so many of 100 streams
    #[arg(
        long,
        value_name = "PERCENT",
        default_value_t = 100,
        value_parser = clap::value_parser!(u8).range(1..=100)
    )]
    share: u8,
    /// For so much of the time of one processor; what it can't keep up with goes by
    #[arg(
        long,
        value_name = "PERCENT",
        default_value_t = 25,
        value_parser = clap::value_parser!(u8).range(1..=100)
    )]
    cpu: u8,
    /// A kind of objection that is not to block it, as decision or rejected; may be repeated
    #[arg(long, value_name = "KIND")]
    allow: Vec<String>,
    /// Print NDJSON, a line a second
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
                bail!("the host answered with something else");
            };
            self.tell(&json, &shadow, &bar)?;
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
            false => bail!("it decides otherwise; --allow KIND lets a kind of objection pass"),
        }
    }

    fn tell(&self, json: &Value, shadow: &ShadowView, bar: &ProgressBar) -> Result<()> {
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

/// Seconds on stderr; nothing when that is no terminal.
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
