mod sample;
mod show;

use std::io::{self, Write};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use console::{Key, Term};
use tokio::sync::mpsc;

use self::sample::{Between, Sample};
use self::show::Figures;
use super::{Client, Connection};

/// Show what a host does now: rates, latencies, lag and faults
///
/// Asks the host every few seconds and shows what happened in between, by itself in a terminal until
/// q or Ctrl-C. Needs the action observe. Projections are the store's, everything else is of this
/// host.
#[derive(Debug, Args)]
pub struct Top {
    /// Seconds between two samples
    #[arg(long, value_name = "SECONDS", default_value_t = 2,
          value_parser = clap::value_parser!(u64).range(1..=3_600))]
    interval: u64,
    /// Print the difference of two samples, then end
    #[arg(long)]
    once: bool,
    /// Print JSON, one line for each pair of samples
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Top {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let interval = Duration::from_secs(self.interval);
        let mut old = Sample::take(&client).await?;
        let terminal = Term::stdout();
        let is_live = !self.once && !self.json && terminal.is_term();
        let mut keys = match is_live {
            true => Some(keys(terminal.clone())),
            false => None,
        };
        if is_live {
            terminal.clear_screen()?;
            draw(
                &terminal,
                &[format!("the first figures come in {} s", self.interval)],
            )?;
        }
        loop {
            if is_over(&mut keys, interval).await {
                return Ok(terminal.clear_screen()?);
            }
            let new = match Sample::take(&client).await {
                Ok(new) => new,
                // In a terminal the host may come back.
                Err(error) if is_live => {
                    draw(&terminal, &[super::shown(&error)])?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let figures = Figures::of(&Between {
                old: &old,
                new: &new,
            });
            self.print(&figures, &client, is_live.then_some(&terminal))?;
            if self.once {
                return Ok(());
            }
            old = new;
        }
    }

    fn print(&self, figures: &Figures, client: &Client, terminal: Option<&Term>) -> Result<()> {
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(figures)?)?;
            return Ok(out.flush()?);
        }
        let lines = figures.lines(client.shown().as_str().trim_end_matches('/'));
        match terminal {
            Some(terminal) => draw(terminal, &lines)?,
            None => writeln!(out, "{}\n", lines.join("\n"))?,
        }
        Ok(out.flush()?)
    }
}

/// Replaces what is on the screen.
fn draw(terminal: &Term, lines: &[String]) -> io::Result<()> {
    let (rows, columns) = terminal.size();
    terminal.move_cursor_to(0, 0)?;
    // The last row stays empty, so that nothing scrolls.
    let rows = usize::from(rows).saturating_sub(1).max(1);
    for line in lines.iter().flat_map(|text| text.lines()).take(rows) {
        terminal.clear_line()?;
        let line = console::truncate_str(line, usize::from(columns).saturating_sub(1), "…");
        terminal.write_line(&line)?;
    }
    terminal.clear_to_end_of_screen()?;
    terminal.flush()
}

/// Waits until the next sample. Returns true when a person ends it before.
async fn is_over(keys: &mut Option<mpsc::Receiver<()>>, interval: Duration) -> bool {
    let waiting = tokio::time::sleep(interval);
    match keys {
        None => {
            waiting.await;
            false
        }
        Some(keys) => tokio::select! {
            () = waiting => false,
            pressed = keys.recv() => pressed.is_some(),
        },
    }
}

/// Reads keys on a thread of its own, until one ends the program.
fn keys(terminal: Term) -> mpsc::Receiver<()> {
    let (pressed, keys) = mpsc::channel(1);
    std::thread::spawn(move || {
        loop {
            match terminal.read_key_raw() {
                Ok(Key::Char('q' | 'Q') | Key::CtrlC | Key::Escape) => {
                    // The other side may have ended.
                    _ = pressed.blocking_send(());
                    return;
                }
                Ok(_) => {}
                // Without keys, a signal ends the program.
                Err(_) => std::thread::park(),
            }
        }
    });
    keys
}
