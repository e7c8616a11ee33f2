use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use reqwest::Method;

use super::execute::one_lined;
use super::table::{Table, grouped, id, number, printable, word};
use super::{Client, Connection};
use quipu_api::Status as HostStatus;

/// Show a host's current state, and its counters since the start
#[derive(Debug, Args)]
pub struct Status {
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Status {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let request = client.request(Method::GET, &["v1", "status"]);
        let body = client.send(request).await?.text().await?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", one_lined(&body))?;
            return Ok(());
        }
        let status: HostStatus = serde_json::from_str(&body)?;
        writeln!(out, "quipu {}", status.version)?;
        let snapshots = status.snapshots;
        let mut table = Table::bare();
        for (name, count) in [
            ("plan", status.plan),
            ("commands in flight", status.in_flight),
            ("transactions", status.batches),
            ("subscriptions", status.subscriptions),
            ("snapshots used", snapshots.used),
            ("snapshots taken", snapshots.taken),
            ("snapshots failed", snapshots.failed),
            ("streams near their limit", snapshots.near_length),
        ] {
            table.row([name.to_owned(), grouped(count)]);
        }
        for (name, at) in [
            ("last backup", &status.last_backup_at),
            ("last shipped", &status.last_ship_at),
            ("last verified", &status.last_verify_at),
        ] {
            table.row([name.to_owned(), with_age(at.as_deref())]);
        }
        for (reason, count) in snapshots.ignored {
            table.row([format!("snapshots ignored: {reason}"), grouped(count)]);
        }
        table.write(&mut out)?;
        if let Some(lost) = status.lost {
            writeln!(out, "\n{}", printable(&lost.text))?;
        }
        if status.projections.is_empty() {
            return Ok(());
        }
        writeln!(out)?;
        let mut table = Table::new(&[id("projection"), word("state"), number("lag")]);
        for projection in status.projections {
            let lag = projection.lag.map_or_else(|| "-".to_owned(), grouped);
            table.row([projection.name, projection.state, lag]);
        }
        Ok(table.write(&mut out)?)
    }
}

/// A time with its age by the clock of this machine, or a dash.
fn with_age(at: Option<&str>) -> String {
    let Some(at) = at else {
        return "-".to_owned();
    };
    let Ok(time) = at.parse::<jiff::Timestamp>() else {
        return at.to_owned();
    };
    let seconds = jiff::Timestamp::now().as_second() - time.as_second();
    let age = match seconds.max(0) {
        s if s < 120 => format!("{s} s"),
        s if s < 7_200 => format!("{} min", s / 60),
        s if s < 172_800 => format!("{} h", s / 3_600),
        s => format!("{} days", s / 86_400),
    };
    format!("{}, {age} ago", printable(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_its_age() {
        assert_eq!(with_age(None), "-");
        assert!(with_age(Some("2020-01-01T00:00:00Z")).ends_with(" days ago"));
        assert_eq!(with_age(Some("soon")), "soon");
        let now = jiff::Timestamp::now().to_string();
        assert!(with_age(Some(&now)).ends_with(" s ago"));
        // Its clock is ahead.
        assert!(with_age(Some("2999-01-01T00:00:00Z")).ends_with(", 0 s ago"));
    }
}
