//! Rates of several kinds that are measured in turns, so that what changes on the machine or in a
//! store that grows meets each of them.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Options;

/// Rounds of each kind that count. The order of the kinds rotates from round to round.
pub const ROUNDS: usize = 41;
/// Rounds before them, which warm everything.
const FIRST: usize = 2;

/// The rates of a kind.
#[derive(Debug, Clone, Serialize)]
pub struct Rate {
    /// What was measured.
    pub name: &'static str,
    /// Commands per second, the median of the rounds.
    pub per_second: f64,
    /// Its rate divided by that of the first kind in the same round: the median of the rounds.
    pub ratio: f64,
    /// The quarter of the rounds with the smallest ratios ends here.
    pub ratio_quarter: f64,
    /// The quarter of the rounds with the largest ratios begins here.
    pub ratio_three_quarters: f64,
}

/// The order of the kinds in a round, and whether the round counts.
pub fn rounds(kinds: usize) -> impl Iterator<Item = (Vec<usize>, bool)> {
    (0..FIRST + ROUNDS).map(move |round| {
        let order = (0..kinds).map(|at| (at + round) % kinds);
        (order.collect(), round >= FIRST)
    })
}

/// How long a round of one kind is: all of them together take as long as five figures.
pub fn slice(options: &Options) -> Duration {
    Duration::from_secs(5 * options.seconds) / ROUNDS as u32
}

/// Compares each kind with the first one, round by round.
pub fn compared(kinds: &[(&'static str, Vec<f64>)]) -> Vec<Rate> {
    let first = kinds.first().map(|(_, rates)| rates.clone());
    let first = first.unwrap_or_default();
    let of = |(name, rates): &(&'static str, Vec<f64>)| {
        let pairs = rates.iter().zip(&first);
        let ratios: Vec<_> = pairs.map(|(rate, first)| rate / first).collect();
        Rate {
            name,
            per_second: part(rates, 2),
            ratio: part(&ratios, 2),
            ratio_quarter: part(&ratios, 1),
            ratio_three_quarters: part(&ratios, 3),
        }
    };
    kinds.iter().map(of).collect()
}

/// The value below which some quarters of others are.
fn part(values: &[f64], quarters: usize) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let at = values.len() * quarters / 4;
    values.get(at).copied().unwrap_or_default()
}

/// A table of rates.
pub fn table(f: &mut fmt::Formatter<'_>, rates: &[Rate]) -> fmt::Result {
    writeln!(
        f,
        "{:>24} {:>11} {:>8} {:>16}",
        "", "commands/s", "ratio", "middle half"
    )?;
    for rate in rates {
        writeln!(
            f,
            "{:>24} {:>11.0} {:>8.3} {:>8.3} - {:.3}",
            rate.name, rate.per_second, rate.ratio, rate.ratio_quarter, rate.ratio_three_quarters
        )?;
    }
    Ok(())
}
