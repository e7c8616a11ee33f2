//! The text format of Prometheus.

use std::fmt::Write;

use quipu::meters::Histogram;

/// The type of a family.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// Names and values.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

/// A page in the text format.
#[derive(Default)]
pub struct Page(String);

/// The series of one name.
pub struct Family<'a> {
    name: &'a str,
    text: &'a mut String,
}

impl Page {
    /// Begins a family.
    pub fn family<'a>(&'a mut self, kind: Kind, name: &'a str, help: &str) -> Family<'a> {
        let text = &mut self.0;
        // Writing to a text does not fail.
        _ = writeln!(text, "# HELP {name} {help}");
        _ = writeln!(text, "# TYPE {name} {}", kind.as_str());
        Family { name, text }
    }

    /// The text.
    pub fn into_text(self) -> String {
        self.0
    }
}

impl Family<'_> {
    /// Adds a series.
    pub fn series(&mut self, labels: Labels<'_>, value: f64) -> &mut Self {
        self.line("", labels, None, value)
    }

    /// Adds the series of a histogram.
    pub fn histogram(&mut self, labels: Labels<'_>, histogram: &Histogram) -> &mut Self {
        let read = histogram.read();
        for (bound, count) in read.buckets {
            self.line("_bucket", labels, Some(&bound.to_string()), count as f64);
        }
        self.line("_bucket", labels, Some("+Inf"), read.count as f64);
        self.line("_sum", labels, None, read.sum);
        self.line("_count", labels, None, read.count as f64)
    }

    fn line(
        &mut self,
        suffix: &str,
        labels: Labels<'_>,
        bound: Option<&str>,
        value: f64,
    ) -> &mut Self {
        self.text.push_str(self.name);
        self.text.push_str(suffix);
        let bound = bound.map(|bound| ("le", bound));
        let mut separator = '{';
        for (name, value) in labels.iter().copied().chain(bound) {
            _ = write!(self.text, "{separator}{name}=\"{}\"", escaped(value));
            separator = ',';
        }
        if separator == ',' {
            self.text.push('}');
        }
        _ = writeln!(self.text, " {value}");
        self
    }
}

fn escaped(value: &str) -> String {
    let value = value.replace('\\', "\\\\").replace('"', "\\\"");
    value.replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_labels_are_escaped() {
        let mut page = Page::default();
        page.family(Kind::Gauge, "a_bytes", "Help.")
            .series(&[], 5.0)
            .series(&[("x", "a\"b\\c\nd"), ("y", "")], 0.25);
        let expected = "# HELP a_bytes Help.\n# TYPE a_bytes gauge\na_bytes 5\n\
                        a_bytes{x=\"a\\\"b\\\\c\\nd\",y=\"\"} 0.25\n";
        assert_eq!(page.into_text(), expected);
    }

    #[test]
    fn a_histogram_ends_with_its_count() {
        let histogram = Histogram::of_numbers();
        histogram.observe(3);
        let mut page = Page::default();
        page.family(Kind::Histogram, "items", "Help.")
            .histogram(&[("of", "x")], &histogram);
        let text = page.into_text();
        assert!(
            text.contains("items_bucket{of=\"x\",le=\"2\"} 0\n"),
            "{text}"
        );
        assert!(
            text.contains("items_bucket{of=\"x\",le=\"5\"} 1\n"),
            "{text}"
        );
        let end = "items_bucket{of=\"x\",le=\"+Inf\"} 1\nitems_sum{of=\"x\"} 3\nitems_count{of=\"x\"} 1\n";
        assert!(text.ends_with(end), "{text}");
    }
}
