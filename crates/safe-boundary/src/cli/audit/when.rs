//! Points in time, as people type them.
//!
//! Promises: a day means all of it, at either end; what has no zone is UTC, as the records are.
//! Deliberately not here: reading the clock.

use std::path::Path;
use std::sync::Arc;

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::trail::read::{self, Reader};

/// How far a clock may have been set back without hiding records from a search.
const CLOCK_SLACK: SignedDuration = SignedDuration::from_hours(24);

/// A point in time: of the clock, or so long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct When {
    point: Point,
    /// Whether it was a day without a time.
    day: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    At(Timestamp),
    Ago(SignedDuration),
}

/// From when to when.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Range {
    /// Records from then on: 2026-11-03, 2026-11-03T09:00, with a zone (…+01:00) or in UTC, or 2h for two hours ago.
    #[arg(long, value_name = "TIME", value_parser = parse)]
    pub from: Option<When>,
    /// Records until then; a day is included as a whole.
    #[arg(long, value_name = "TIME", value_parser = parse)]
    pub to: Option<When>,
}

/// A range as timestamps: the first that is in it, and the first that is not.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Span {
    from: Option<Timestamp>,
    before: Option<Timestamp>,
}

/// A range that nothing can be in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected `--from` before `--to`, found {from} and {before}: nothing can lie between")]
pub(crate) struct Backwards {
    from: Timestamp,
    before: Timestamp,
}

/// Reads a point in time.
///
/// # Errors
/// What would have been understood.
pub(crate) fn parse(text: &str) -> Result<When, String> {
    let utc = |civil: DateTime| TimeZone::UTC.to_timestamp(civil).ok();
    let at = |point| When { point, day: false };
    if let Ok(timestamp) = text.parse::<Timestamp>() {
        return Ok(at(Point::At(timestamp)));
    }
    if text.len() <= "2026-11-03".len()
        && let Ok(date) = text.parse::<Date>()
        && let Some(timestamp) = utc(date.to_datetime(Time::midnight()))
    {
        return Ok(When { point: Point::At(timestamp), day: true });
    }
    if let Some(timestamp) = text.parse::<DateTime>().ok().and_then(utc) {
        return Ok(at(Point::At(timestamp)));
    }
    match text.parse::<SignedDuration>() {
        Ok(ago) if !ago.is_negative() => Ok(at(Point::Ago(ago))),
        _ => Err("expected a time like `2026-11-03`, `2026-11-03T09:00+01:00` or `2h`".to_owned()),
    }
}

impl Range {
    /// From the first timestamp that is in it to the first that is not.
    ///
    /// # Errors
    /// [`Backwards`] when it ends before it begins.
    pub(crate) fn span(&self, now: Timestamp) -> Result<Span, Backwards> {
        let begin = |when: When| match when.point {
            Point::At(at) => at,
            Point::Ago(ago) => now.saturating_sub(ago).unwrap_or(Timestamp::MIN),
        };
        let end = |when: When| {
            let day = SignedDuration::from_hours(if when.day { 24 } else { 0 });
            begin(when).saturating_add(day).unwrap_or(Timestamp::MAX)
        };
        match (self.from.map(begin), self.to.map(end)) {
            (Some(from), Some(before)) if from >= before => Err(Backwards { from, before }),
            (from, before) => Ok(Span { from, before }),
        }
    }
}

impl Span {
    /// Whether a record of this time is in it; one without a time is in every span that is open.
    pub(crate) fn contains(&self, time: Option<Timestamp>) -> bool {
        match time {
            Some(time) => self.from.is_none_or(|from| time >= from) && self.before.is_none_or(|before| time < before),
            None => self.from.is_none() && self.before.is_none(),
        }
    }

    /// A reader that comes past everything in the span, and leaves out segments that are too old.
    pub(super) fn reader(&self, dir: &Path) -> Result<Reader, read::Error> {
        let mut begin = Reader::open(dir)?;
        let Some(from) = self.from.map(|from| from.saturating_sub(CLOCK_SLACK).unwrap_or(Timestamp::MIN)) else {
            return Ok(begin);
        };
        let listed: Arc<[u64]> = read::segments(dir)?.into();
        for (before, segment) in listed.iter().copied().zip(listed.iter().copied().skip(1)) {
            let mut probe = Reader::open_listed(dir, segment, &listed)?;
            let time = probe.next_entry()?.and_then(|entry| time_of(&serde_json::from_slice(&entry.bytes).ok()?));
            if time.is_none_or(|time| time >= from) {
                break;
            }
            read::check_join(dir, before, segment)?;
            begin = Reader::open_listed(dir, segment, &listed)?;
        }
        Ok(begin)
    }
}

/// The time of a record.
pub(super) fn time_of(record: &Value) -> Option<Timestamp> {
    record.get("time")?.as_str()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_type_them() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let check = |from: &str, to: &str, time: &str, expected: bool| {
            let range = Range { from: Some(parse(from).unwrap()), to: Some(parse(to).unwrap()) };
            assert_eq!(range.span(now).unwrap().contains(Some(time.parse().unwrap())), expected, "{from} {to} {time}");
        };
        check("2026-11-03", "2026-11-03", "2026-11-03T00:00:00Z", true);
        check("2026-11-03", "2026-11-03", "2026-11-03T23:59:59.999999Z", true);
        check("2026-11-03", "2026-11-03", "2026-11-04T00:00:00Z", false);
        check("2026-11-03", "2026-11-03", "2026-11-02T23:59:59Z", false);
        check("2026-11-03T09:00", "2026-11-03T10:00:00Z", "2026-11-03T09:00:00Z", true);
        check("2026-11-03T09:00+01:00", "2026-11-03T10:00:00Z", "2026-11-03T08:00:00Z", true);
        check("2h", "1h", "2026-11-23T10:30:00Z", true);
        check("2h", "1h", "2026-11-23T11:30:00Z", false);
        for (from, to) in [("2026-11-04", "2026-11-03"), ("1h", "2h"), ("2026-11-03T09:00", "2026-11-03T09:00")] {
            let range = Range { from: Some(parse(from).unwrap()), to: Some(parse(to).unwrap()) };
            let told = range.span(now).unwrap_err().to_string();
            assert!(told.starts_with("expected `--from` before `--to`, found 2026-11-"), "{told}");
        }
        for wrong in ["", "yesterday", "2026-13-01", "-2h"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
