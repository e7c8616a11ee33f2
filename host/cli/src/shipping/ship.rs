use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Args;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::super::serve::{signals, until_signal};
use super::super::table::{counted, grouped};
use super::super::transfer::Bar;
use super::super::{Client, Connection};
use super::base::Keep;
use super::host::Away;
use super::reports::Reports;
use super::shipper::{Based, Shipped, Shipper};

/// How often components, activations and marks are compared while the log does not grow.
const FULL_EVERY: Duration = Duration::from_secs(60);

/// Write the log of a running host into a folder, as it grows
///
/// The folder gets segments of export lines, and a manifest with their digests. A segment is on the
/// disk before the manifest lists it. Reports to the host, at most once a minute, that everything is
/// shipped, so its status and metrics show that. Ends at SIGTERM or SIGINT, and continues at the next start
/// where the manifest ends. `quipu recover` makes a store from the folder, `quipu drill` tries that.
#[derive(Debug, Args)]
pub struct Ship {
    /// The folder; created if missing. Its next start removes segments that are not in the manifest
    dir: PathBuf,
    /// Pause between two checks of the host: milliseconds, seconds or minutes
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = pause)]
    every: Duration,
    /// End when everything is shipped that the host has now
    #[arg(long, conflicts_with = "every")]
    once: bool,
    /// Begin another segment when one has this many bytes
    #[arg(
        long,
        value_name = "N",
        default_value_t = 16 << 20,
        value_parser = clap::value_parser!(u64).range(1..=1 << 28)
    )]
    segment_bytes: u64,
    /// Keep positions of this time (12h, 30d, 8w), or this number of segments: earlier segments are
    /// replaced by a compressed base, and positions before its end can't be recovered any more
    #[arg(long, value_name = "AGE|N")]
    keep: Option<Keep>,
    /// Print JSON, a line for each time that something was shipped
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// A time from 10 ms to an hour.
fn pause(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..) {
        Some("ms") => 1,
        Some("s") => 1_000,
        Some("m") => 60_000,
        _ => return Err("expected a time as 500ms, 2s or 1m".to_owned()),
    };
    let number: Option<u64> = digits.parse().ok();
    let millis = number.and_then(|number| number.checked_mul(unit));
    match millis {
        Some(millis @ 10..=3_600_000) => Ok(Duration::from_millis(millis)),
        _ => Err("expected a time from 10ms to 60m".to_owned()),
    }
}

impl Ship {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let ending = until_signal(signals()?);
        let bar = Bar::new(None);
        let shipper = Shipper::open(&self.dir, self.segment_bytes, &mut |bytes| {
            bar.advance(bytes)
        });
        bar.finish();
        let mut shipper = shipper?;
        tokio::select! {
            // Ships a whole segment, or nothing of it.
            () = ending => match self.once {
                true => bail!("ended before everything was shipped"),
                false => Ok(()),
            },
            shipped = self.ship(&client, &mut shipper) => shipped,
        }
    }

    async fn ship(&self, client: &Client, shipper: &mut Shipper) -> Result<()> {
        if self.once {
            let began_at = Instant::now();
            let shipped = shipper.ship(client, true).await?;
            let based = self.keep(shipper)?;
            Reports::default().shipped(client, began_at).await;
            return self.print(shipper, &shipped, based.as_ref());
        }
        self.follow(client, shipper).await
    }

    async fn follow(&self, client: &Client, shipper: &mut Shipper) -> Result<()> {
        let (mut is_away, mut full_at) = (false, Instant::now());
        let mut reports = Reports::default();
        loop {
            let began_at = Instant::now();
            let is_full = began_at >= full_at;
            match shipper.ship(client, is_full).await {
                Ok(shipped) => {
                    is_away = false;
                    if is_full {
                        full_at = Instant::now() + FULL_EVERY;
                    }
                    let based = match is_full {
                        true => self.keep(shipper)?,
                        false => None,
                    };
                    if shipped != Shipped::default() || based.is_some() {
                        self.print(shipper, &shipped, based.as_ref())?;
                    }
                    reports.shipped(client, began_at).await;
                }
                Err(error) if error.is::<Away>() => {
                    if !is_away {
                        _ = writeln!(io::stderr(), "warning: {error}; trying again");
                    }
                    is_away = true;
                }
                Err(error) => return Err(error),
            }
            sleep(self.every).await;
        }
    }

    fn keep(&self, shipper: &mut Shipper) -> Result<Option<Based>> {
        self.keep.map_or(Ok(None), |keep| shipper.keep(keep))
    }

    fn print(&self, shipper: &Shipper, shipped: &Shipped, based: Option<&Based>) -> Result<()> {
        let manifest = shipper.manifest();
        let (last, segments) = (manifest.last(), manifest.segments.len());
        let Shipped { events, bytes } = *shipped;
        let mut out = io::stdout().lock();
        if self.json {
            let mut json = json!({
                "position": last,
                "events": events,
                "bytes": bytes,
                "segments": segments,
                "chain": manifest.chain(),
            });
            if manifest.base() > 0 {
                json["base"] = manifest.base().into();
            }
            writeln!(out, "{json}")?;
        } else {
            writeln!(
                out,
                "shipped {}, up to position {}; {}",
                counted(events, "event", "events"),
                grouped(last),
                counted(segments as u64, "segment", "segments"),
            )?;
            if let Some(based) = based {
                writeln!(
                    out,
                    "a base up to position {} replaced {} with {}",
                    grouped(based.position),
                    counted(based.segments, "segment", "segments"),
                    counted(based.bytes, "byte", "bytes"),
                )?;
            }
        }
        Ok(out.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_has_a_unit_and_bounds() {
        assert_eq!(pause("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(pause("2s"), Ok(Duration::from_secs(2)));
        assert_eq!(pause("1m"), Ok(Duration::from_secs(60)));
        for wrong in [
            "",
            "2",
            "s",
            "-1s",
            "2h",
            "9ms",
            "61m",
            "99999999999999999999s",
            "2 s",
        ] {
            assert!(pause(wrong).is_err(), "{wrong}");
        }
    }
}
