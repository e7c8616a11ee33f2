//! What a host measures, at one moment and between two.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, bail};
use reqwest::Method;

use crate::Client;
use quipu_api::Status;

/// Most series of a page that are read; a host has a few thousand.
const SERIES_MAX: usize = 100_000;

/// The labels of a series, in their order.
type Labels = Vec<(String, String)>;

/// The measurements of a host at one moment.
pub struct Sample {
    at: Instant,
    pub status: Status,
    series: BTreeMap<String, Vec<(Labels, f64)>>,
}

impl Sample {
    /// Asks a host.
    pub async fn take(client: &Client) -> Result<Self> {
        let status = client.request(Method::GET, &["v1", "status"]);
        let metrics = client.request(Method::GET, &["metrics"]);
        let (status, page) = tokio::try_join!(client.json(status), async {
            Ok(client.send(metrics).await?.text().await?)
        })?;
        Self::of(status, &page)
    }

    fn of(status: Status, page: &str) -> Result<Self> {
        let mut series: BTreeMap<String, Vec<(Labels, f64)>> = BTreeMap::new();
        let lines = page
            .lines()
            .filter(|line| !line.starts_with('#') && !line.is_empty());
        for line in lines.take(SERIES_MAX) {
            let Some((name, labels, value)) = parsed(line) else {
                bail!("the page /metrics has an unexpected line: {line:?}");
            };
            series.entry(name).or_default().push((labels, value));
        }
        Ok(Self {
            at: Instant::now(),
            status,
            series,
        })
    }

    /// The series of a name.
    fn all(&self, name: &str) -> &[(Labels, f64)] {
        self.series.get(name).map_or(&[], Vec::as_slice)
    }

    /// The sum of the series of a name.
    pub fn sum(&self, name: &str) -> f64 {
        self.all(name).iter().map(|(_, value)| value).sum()
    }

    /// The value of a series without labels; none when it is missing.
    pub fn value(&self, name: &str) -> Option<f64> {
        self.all(name).first().map(|(_, value)| *value)
    }

    /// The sums of the series of a name, by the values of a label.
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let mut sums = BTreeMap::new();
        for (labels, value) in self.all(name) {
            let found = labels.iter().find(|(name, _)| name == label);
            if let Some((_, of)) = found {
                *sums.entry(of.clone()).or_default() += value;
            }
        }
        sums
    }

    /// The largest value of the series of a name.
    pub fn max(&self, name: &str) -> f64 {
        self.all(name)
            .iter()
            .fold(0.0, |max, (_, value)| f64::max(max, *value))
    }
}

/// A line of the text format of Prometheus: `name{label="value"} 1.5`.
fn parsed(line: &str) -> Option<(String, Labels, f64)> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, rest)) = series.split_once('{') else {
        return Some((series.to_owned(), Labels::new(), value));
    };
    let mut rest = rest.strip_suffix('}')?;
    let mut labels = Labels::new();
    while !rest.is_empty() {
        let (label, quoted) = rest.split_once("=\"")?;
        let (text, end) = unquoted(quoted)?;
        labels.push((label.to_owned(), text));
        rest = quoted[end..].trim_start_matches(',');
    }
    Some((name.to_owned(), labels, value))
}

/// The value of a label, and where its closing quote ends.
fn unquoted(text: &str) -> Option<(String, usize)> {
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match (is_escaped, c) {
            (false, '"') => return Some((value, at + 1)),
            (false, '\\') => {}
            (true, 'n') => value.push('\n'),
            _ => value.push(c),
        }
        is_escaped = !is_escaped && c == '\\';
    }
    None
}

/// Two samples, of which the second is the newer one.
pub struct Between<'a> {
    pub old: &'a Sample,
    pub new: &'a Sample,
}

impl Between<'_> {
    /// Seconds between them.
    pub fn seconds(&self) -> f64 {
        let between = self.new.at.saturating_duration_since(self.old.at);
        between.as_secs_f64().max(0.001)
    }

    /// How much a counter has grown. After a restart of the host it begins at 0.
    pub fn growth(&self, name: &str) -> f64 {
        grown(self.old.sum(name), self.new.sum(name))
    }

    /// The growth of a counter in a second.
    pub fn rate(&self, name: &str) -> f64 {
        self.growth(name) / self.seconds()
    }

    /// The growth of counters in a second, by the values of a label.
    pub fn rates(&self, name: &str, label: &str) -> BTreeMap<String, f64> {
        let old = self.old.by(name, label);
        let rate = |(of, new): (String, f64)| {
            let before = old.get(&of).copied().unwrap_or_default();
            let rate = grown(before, new) / self.seconds();
            (of, rate)
        };
        self.new.by(name, label).into_iter().map(rate).collect()
    }

    /// The average of what a histogram has counted between the samples; none if that is nothing.
    pub fn average(&self, name: &str) -> Option<f64> {
        let count = self.growth(&format!("{name}_count"));
        (count > 0.0).then(|| self.growth(&format!("{name}_sum")) / count)
    }

    /// The value below which a part of what a histogram has counted between the samples lies, by
    /// linear interpolation within a bucket, as Prometheus does. None if that is nothing. In the
    /// last bucket, which has no upper bound, its lower bound.
    pub fn quantile(&self, name: &str, part: f64) -> Option<f64> {
        let name = format!("{name}_bucket");
        let old = self.old.by(&name, "le");
        let mut buckets: Vec<(f64, f64)> = Vec::new();
        for (bound, new) in self.new.by(&name, "le") {
            let before = old.get(&bound).copied().unwrap_or_default();
            let bound = match bound.as_str() {
                "+Inf" => f64::INFINITY,
                bound => bound.parse().ok()?,
            };
            buckets.push((bound, grown(before, new)));
        }
        buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
        let total = buckets.last()?.1;
        if total <= 0.0 {
            return None;
        }
        let rank = total * part;
        let (mut lower, mut below) = (0.0, 0.0);
        for (bound, count) in buckets {
            if count >= rank && bound.is_finite() && count > below {
                return Some(lower + (bound - lower) * (rank - below) / (count - below));
            }
            if !bound.is_finite() {
                break;
            }
            (lower, below) = (bound, count);
        }
        Some(lower)
    }
}

fn grown(old: f64, new: f64) -> f64 {
    if new < old { new } else { new - old }
}

#[cfg(test)]
pub mod tests {
    use std::time::Duration;

    use super::*;

    const STATUS: &str = r#"{"version":"0.1.0","plan":2,"in_flight":1,"batches":7,"subscriptions":3,
        "snapshots":{"used":0,"taken":0,"failed":0,"ignored":{},"near_length":0},
        "projections":[{"name":"accounts","state":"caught-up","lag":4}]}"#;

    /// A sample of a page, some seconds after another.
    pub fn sample(page: &str, after: u64) -> Sample {
        let status = serde_json::from_str(STATUS).unwrap();
        let mut sample = Sample::of(status, page).unwrap();
        sample.at += Duration::from_secs(after);
        sample
    }

    #[test]
    fn lines_of_the_text_format_are_read() {
        let page =
            "# HELP a b\na 1\nb{x=\"1\",y=\"a \\\"q\\\" \\\\ } , \\n\"} 2.5\nb{x=\"1\"} +Inf\n";
        let sample = sample(page, 0);
        assert_eq!(sample.value("a"), Some(1.0));
        let text = &sample.all("b")[0].0[1].1;
        assert_eq!(text, "a \"q\" \\ } , \n");
        assert_eq!(sample.by("b", "x")["1"], f64::INFINITY);
        let status = || serde_json::from_str(STATUS).unwrap();
        for wrong in ["a", "a x", "a{ 1", "a{b} 1", "a{b=\"c} 1", "<html> </html>"] {
            assert!(Sample::of(status(), wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn rates_and_quantiles_are_of_what_was_counted_between() {
        let old = "n{o=\"a\"} 10\nh_bucket{le=\"0.1\"} 5\nh_bucket{le=\"1\"} 5\nh_bucket{le=\"+Inf\"} 5\n";
        let new = "n{o=\"a\"} 30\nn{o=\"b\"} 2\nh_bucket{le=\"0.1\"} 15\nh_bucket{le=\"1\"} 25\nh_bucket{le=\"+Inf\"} 25\n";
        let (old, new) = (sample(old, 0), sample(new, 3_600));
        let between = Between {
            old: &old,
            new: &new,
        };
        assert!((between.growth("n") - 22.0).abs() < 1e-9);
        let rates = between.rates("n", "o");
        assert!(rates["a"] > rates["b"] && rates["b"] > 0.0);
        assert_eq!(between.quantile("h", 0.5), Some(0.1));
        assert_eq!(between.quantile("h", 0.75), Some(0.55));
        // A host that was restarted counts from 0.
        let back = Between {
            old: &new,
            new: &old,
        };
        assert!((back.growth("n") - 10.0).abs() < 1e-9);
        let same = Between {
            old: &new,
            new: &new,
        };
        assert_eq!(same.quantile("h", 0.5), None);
    }
}
