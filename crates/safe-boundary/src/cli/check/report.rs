//! The findings of `check`, as lines or as JSON.
//!
//! Promises: a line is printed when it is known; text from a server cannot command a terminal.
//! Deliberately not here: findings.

use std::io;

use serde::Serialize;

use crate::cli::exit::{Exit, Failure};
use crate::cli::{Color, print};

/// How well something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Verdict {
    Ok,
    Warn,
    Fail,
}

/// One finding.
#[derive(Debug, Serialize)]
pub(super) struct Line {
    pub(super) verdict: Verdict,
    pub(super) subject: String,
    pub(super) message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) remedy: Option<String>,
}

/// All findings so far.
#[derive(Debug)]
pub(super) struct Report {
    json: bool,
    color: bool,
    lines: Vec<Line>,
    /// That the results could not be printed.
    failed: Option<Failure>,
}

#[derive(Serialize)]
struct Document<'a> {
    verdict: Verdict,
    checks: &'a [Line],
}

impl Report {
    pub(super) fn new(json: bool, color: Color) -> Self {
        Self { json, color: color.is_on(&io::stdout()), lines: Vec::new(), failed: None }
    }

    pub(super) fn ok(&mut self, subject: &str, message: String) {
        self.add(Verdict::Ok, subject, message, None);
    }

    pub(super) fn warn(&mut self, subject: &str, message: String, remedy: &str) {
        self.add(Verdict::Warn, subject, message, Some(remedy));
    }

    pub(super) fn fail(&mut self, subject: &str, message: String, remedy: &str) {
        self.add(Verdict::Fail, subject, message, Some(remedy));
    }

    /// The findings so far.
    #[cfg(test)]
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Prints what is left to print, and says how it ended.
    pub(super) fn end(self) -> Result<Exit, Failure> {
        let verdict = self.lines.iter().map(|line| line.verdict).max().unwrap_or(Verdict::Ok);
        if let Some(failure) = self.failed {
            return Err(failure);
        }
        if self.json {
            let document = Document { verdict, checks: &self.lines };
            let text = serde_json::to_string_pretty(&document).map_err(crate::cli::running)?;
            print(&format!("{text}\n"))?;
        }
        Ok(if verdict == Verdict::Fail { Exit::Findings } else { Exit::Fine })
    }

    fn add(&mut self, verdict: Verdict, subject: &str, message: String, remedy: Option<&str>) {
        let remedy = remedy.filter(|text| !text.is_empty()).map(str::to_owned);
        let line = Line { verdict, subject: subject.to_owned(), message, remedy };
        if !self.json
            && self.failed.is_none()
            && let Err(failure) = print(&line.shown(self.color))
        {
            self.failed = Some(failure);
        }
        self.lines.push(line);
    }
}

impl Line {
    /// `warn  certificate  it ends in 12 days`, and the remedy on a line below.
    fn shown(&self, color: bool) -> String {
        let (word, code) = match self.verdict {
            Verdict::Ok => ("ok", 32),
            Verdict::Warn => ("warn", 33),
            Verdict::Fail => ("fail", 31),
        };
        let word = if color { format!("\u{1b}[{code}m{word:<4}\u{1b}[0m") } else { format!("{word:<4}") };
        let mut text = format!("{word}  {:<13}  {}\n", tame(&self.subject), tame(&self.message));
        if let Some(remedy) = &self.remedy {
            text += &format!("{:>23}{}\n", "-> ", tame(remedy));
        }
        text
    }
}

/// Text without characters that mean something to a terminal.
fn tame(text: &str) -> String {
    text.chars().map(|c| if domain::text::is_hidden(c) { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_for_people() {
        let line = Line {
            verdict: Verdict::Fail,
            subject: "discovery".to_owned(),
            message: "it says \u{1b}[2J".to_owned(),
            remedy: Some("look there".to_owned()),
        };
        assert_eq!(line.shown(false), "fail  discovery      it says \u{fffd}[2J\n                    -> look there\n");
        assert!(line.shown(true).starts_with("\u{1b}[31mfail\u{1b}[0m  "));
    }

    #[test]
    fn the_worst_finding_decides() {
        let check = |verdicts: &[Verdict], expected: Exit| {
            let mut report = Report::new(true, Color::Never);
            for &verdict in verdicts {
                report.add(verdict, "x", String::new(), None);
            }
            assert_eq!(report.end().unwrap(), expected, "{verdicts:?}");
        };
        check(&[], Exit::Fine);
        check(&[Verdict::Ok, Verdict::Warn], Exit::Fine);
        check(&[Verdict::Ok, Verdict::Fail, Verdict::Warn], Exit::Findings);
    }
}
