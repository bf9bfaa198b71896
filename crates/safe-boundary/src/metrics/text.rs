//! Numbers as text, as Prometheus reads them: its text format 0.0.4, and OpenMetrics 1.0.
//!
//! Promises: each family is written once, with HELP and TYPE; label values are escaped.
//! Deliberately not here: which families there are (`scrape.rs`).

use std::fmt::{Display, Write as _};

/// What a reader can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// Prometheus text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The one that a request's `Accept` asks for: everybody can read the older one.
    pub(super) fn accepted(accept: Option<&str>) -> Self {
        let asks = accept.is_some_and(|accept| accept.to_ascii_lowercase().contains("application/openmetrics-text"));
        if asks { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// One label: its name and its value.
pub(super) type Label<'a> = (&'a str, &'a str);

/// What is being written.
#[derive(Debug)]
pub(super) struct Page {
    text: String,
    format: Format,
}

/// One family on a page: the samples go here.
#[derive(Debug)]
pub(super) struct Family<'p> {
    page: &'p mut Page,
    name: &'static str,
}

impl Page {
    pub(super) const fn new(format: Format) -> Self {
        Self { text: String::new(), format }
    }

    /// A number that only grows; the name ends in `_total`.
    pub(super) fn counter(&mut self, name: &'static str, help: &str) -> Family<'_> {
        // OpenMetrics says that the family's name is without the suffix, the older format that it is with it.
        let family = match self.format {
            Format::Prometheus => name,
            Format::OpenMetrics => name.strip_suffix("_total").unwrap_or(name),
        };
        self.family(family, "counter", help);
        Family { page: self, name }
    }

    /// A number that comes and goes.
    pub(super) fn gauge(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "gauge", help);
        Family { page: self, name }
    }

    /// How often which size.
    pub(super) fn histogram(&mut self, name: &'static str, help: &str) -> Family<'_> {
        self.family(name, "histogram", help);
        Family { page: self, name }
    }

    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.put(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    /// The whole page.
    pub(super) fn finish(mut self) -> String {
        if self.format == Format::OpenMetrics {
            self.text.push_str("# EOF\n");
        }
        self.text
    }

    fn put(&mut self, what: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(what);
    }
}

impl Family<'_> {
    /// The only sample of a family without labels.
    pub(super) fn is(self, number: impl Display) {
        let name = self.name;
        self.page.put(format_args!("{name} {number}\n"));
    }

    /// A sample with labels.
    pub(super) fn sample(&mut self, labels: &[Label<'_>], number: impl Display) {
        self.line("", labels, None, number);
    }

    /// The samples of a histogram: `unit` is how much of the metric's unit a step of the numbers is.
    pub(super) fn buckets(&mut self, labels: &[Label<'_>], histogram: &super::Histogram, unit: f64) {
        // The sum first: what is observed meanwhile makes an average too small by one, never a count without its sum.
        let sum = histogram.sum();
        let (buckets, count) = histogram.read();
        for (bound, at_most) in buckets {
            // `{:?}` writes 1.0 and not 1: the form that both formats agree on.
            self.line("_bucket", labels, Some(&format!("{:?}", rounded(bound, unit))), at_most);
        }
        self.line("_bucket", labels, Some("+Inf"), count);
        self.line("_sum", labels, None, rounded(sum, unit));
        self.line("_count", labels, None, count);
    }

    fn line(&mut self, suffix: &str, labels: &[Label<'_>], at_most: Option<&str>, number: impl Display) {
        let name = self.name;
        self.page.put(format_args!("{name}{suffix}"));
        let all = labels.iter().copied().chain(at_most.map(|bound| ("le", bound)));
        let mut opening = '{';
        for (key, value) in all {
            self.page.put(format_args!("{opening}{key}=\"{}\"", escaped(value)));
            opening = ',';
        }
        let closing = if opening == ',' { "}" } else { "" };
        self.page.put(format_args!("{closing} {number}\n"));
    }
}

/// A count of steps in the metric's own unit, without the noise of binary fractions.
fn rounded(steps: u64, unit: f64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus keeps 53 bits of anything")]
    let number = steps as f64;
    // Nanoseconds are divided, not multiplied: 1e9 is a whole number, 1e-9 is not one.
    if unit < 1.0 { number / (1.0 / unit).round() } else { number * unit }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Histogram;

    fn page(format: Format) -> String {
        let mut page = Page::new(format);
        page.counter("a_total", "How many.").is(7);
        let mut family = page.gauge("b", "How much.");
        family.sample(&[("name", "x\"y\\z\n"), ("other", "")], 0.25);
        family.sample(&[("name", "w"), ("other", "")], 3);
        let histogram = Histogram::new(&[100_000, 1_000_000_000]);
        [50_000, 2_000_000, 3_000_000_000].into_iter().for_each(|time| histogram.observe(time));
        page.histogram("c_seconds", "How long.").buckets(&[("at", "home")], &histogram, 1e-9);
        page.finish()
    }

    #[test]
    fn both_formats_are_written_as_their_specifications_say() {
        let samples = "\
a_total 7
# HELP b How much.
# TYPE b gauge
b{name=\"x\\\"y\\\\z\\n\",other=\"\"} 0.25
b{name=\"w\",other=\"\"} 3
# HELP c_seconds How long.
# TYPE c_seconds histogram
c_seconds_bucket{at=\"home\",le=\"0.0001\"} 1
c_seconds_bucket{at=\"home\",le=\"1.0\"} 2
c_seconds_bucket{at=\"home\",le=\"+Inf\"} 3
c_seconds_sum{at=\"home\"} 3.00205
c_seconds_count{at=\"home\"} 3
";
        assert_eq!(page(Format::Prometheus), format!("# HELP a_total How many.\n# TYPE a_total counter\n{samples}"));
        assert_eq!(page(Format::OpenMetrics), format!("# HELP a How many.\n# TYPE a counter\n{samples}# EOF\n"));
    }

    #[test]
    fn who_does_not_ask_for_open_metrics_gets_the_older_format() {
        for (accept, expected) in [
            (None, Format::Prometheus),
            (Some("text/plain;version=0.0.4"), Format::Prometheus),
            (Some("application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5"), Format::OpenMetrics),
            (Some("*/*"), Format::Prometheus),
        ] {
            assert_eq!(Format::accepted(accept), expected, "{accept:?}");
        }
    }
}
