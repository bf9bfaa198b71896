//! Binary values of PostgreSQL's common types, as their text form.
//!
//! Promises: what is decoded reads as the server prints it with its default settings, in UTC; a value that does not
//! have the shape of its type is not decoded (and so recorded as base64). JSON stands as the client wrote it.
//! Deliberately not here: settings of the session; intervals, times with a zone, and XML that names its encoding.
//!
//! Source: PostgreSQL's `*send` functions, one per type.

mod float;

use std::fmt::Write as _;

/// OID, name and, for an array, the OID of its elements.
const TYPES: &[(u32, &str, u32)] = &[
    (16, "bool", 0),
    (17, "bytea", 0),
    (18, "char", 0),
    (19, "name", 0),
    (20, "int8", 0),
    (21, "int2", 0),
    (23, "int4", 0),
    (25, "text", 0),
    (26, "oid", 0),
    (114, "json", 0),
    (142, "xml", 0),
    (700, "float4", 0),
    (701, "float8", 0),
    (705, "unknown", 0),
    (1000, "bool[]", 16),
    (1001, "bytea[]", 17),
    (1005, "int2[]", 21),
    (1007, "int4[]", 23),
    (1009, "text[]", 25),
    (1015, "varchar[]", 1043),
    (1016, "int8[]", 20),
    (1021, "float4[]", 700),
    (1022, "float8[]", 701),
    (1042, "bpchar", 0),
    (1043, "varchar", 0),
    (1082, "date", 0),
    (1083, "time", 0),
    (1114, "timestamp", 0),
    (1115, "timestamp[]", 1114),
    (1182, "date[]", 1082),
    (1184, "timestamptz", 0),
    (1185, "timestamptz[]", 1184),
    (1186, "interval", 0),
    (1231, "numeric[]", 1700),
    (1266, "timetz", 0),
    (1700, "numeric", 0),
    (2950, "uuid", 0),
    (2951, "uuid[]", 2950),
    (3802, "jsonb", 0),
];

/// The name of a built-in type.
pub(super) fn type_name(oid: u32) -> Option<&'static str> {
    TYPES.iter().find(|(known, ..)| *known == oid).map(|(_, name, _)| *name)
}

/// The text form of a binary value; none when the type is not known or the bytes are not of its shape.
pub(super) fn decode(oid: u32, raw: &[u8]) -> Option<String> {
    let element = TYPES.iter().find(|(known, ..)| *known == oid).map(|(.., element)| *element)?;
    if element == 0 { scalar(oid, raw) } else { array(element, raw) }
}

fn scalar(oid: u32, raw: &[u8]) -> Option<String> {
    Some(match oid {
        16 => if fixed::<1>(raw)? == [0] { "f" } else { "t" }.to_owned(),
        17 => raw.iter().fold("\\x".to_owned(), |mut hex, byte| {
            let _infallible = write!(hex, "{byte:02x}");
            hex
        }),
        20 => i64::from_be_bytes(fixed(raw)?).to_string(),
        21 => i16::from_be_bytes(fixed(raw)?).to_string(),
        23 => i32::from_be_bytes(fixed(raw)?).to_string(),
        26 => u32::from_be_bytes(fixed(raw)?).to_string(),
        700 => float::float4(f32::from_be_bytes(fixed(raw)?))?,
        701 => float::float8(f64::from_be_bytes(fixed(raw)?))?,
        18 => text(&fixed::<1>(raw)?)?,
        142 if raw.starts_with(b"<?xml") => return None,
        // Not 705, `unknown`: the server reads such bytes as the type that it finds for them.
        19 | 25 | 114 | 142 | 1042 | 1043 => text(raw)?,
        1082 => day(i64::from(i32::from_be_bytes(fixed(raw)?)))?,
        1083 => time_of_day(i64::from_be_bytes(fixed(raw)?))?,
        1114 => moment(i64::from_be_bytes(fixed(raw)?), "")?,
        1184 => moment(i64::from_be_bytes(fixed(raw)?), "+00")?,
        1700 => numeric(raw)?,
        2950 => uuid::Uuid::from_bytes(fixed(raw)?).to_string(),
        3802 => text(raw.strip_prefix(&[1])?)?,
        _ => return None,
    })
}

fn fixed<const N: usize>(raw: &[u8]) -> Option<[u8; N]> {
    raw.try_into().ok()
}

/// No text of PostgreSQL has a zero byte.
fn text(raw: &[u8]) -> Option<String> {
    if raw.contains(&0) { None } else { std::str::from_utf8(raw).ok().map(str::to_owned) }
}

/// The days that a date may have, from PostgreSQL's day 0 of 2000-01-01: from 4714-11-24 BC to 5874897-12-31.
const DAYS: std::ops::Range<i64> = -2_451_545..2_145_031_949;

/// The microseconds that a timestamp may have: from 4714-11-24 BC to 294276-12-31.
const MOMENTS: std::ops::Range<i64> = -211_813_488_000_000_000..9_223_371_331_200_000_000;

/// Microseconds in a day.
const DAY: i64 = 86_400_000_000;

fn infinite(is_positive: bool) -> Option<String> {
    Some(if is_positive { "infinity" } else { "-infinity" }.to_owned())
}

fn day(days: i64) -> Option<String> {
    if days == i64::from(i32::MAX) || days == i64::from(i32::MIN) {
        return infinite(days > 0);
    }
    let (date, era) = date(days)?;
    Some(format!("{date}{era}"))
}

/// Year, month and day of the Gregorian calendar, and ` BC` where the year is before the first.
fn date(days: i64) -> Option<(String, &'static str)> {
    if !DAYS.contains(&days) {
        return None;
    }
    // Counted in years that begin in March, so that a leap day comes last; 400 of them are one era.
    let since_march_of_0 = days + 730_425;
    let (era, day_of_era) = (since_march_of_0.div_euclid(146_097), since_march_of_0.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let (year, era) = if year > 0 { (year, "") } else { (1 - year, " BC") };
    Some((format!("{year:04}-{month:02}-{day:02}"), era))
}

fn time_of_day(micros: i64) -> Option<String> {
    if !(0..=DAY).contains(&micros) {
        return None;
    }
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    let mut out = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if fraction > 0 {
        let _infallible = write!(out, ".{fraction:06}");
        out.truncate(out.trim_end_matches('0').len());
    }
    Some(out)
}

fn moment(micros: i64, zone: &str) -> Option<String> {
    if micros == i64::MAX || micros == i64::MIN {
        return infinite(micros > 0);
    }
    if !MOMENTS.contains(&micros) {
        return None;
    }
    let (date, era) = date(micros.div_euclid(DAY))?;
    let time = time_of_day(micros.rem_euclid(DAY))?;
    Some(format!("{date} {time}{zone}{era}"))
}

/// How many zeros are written out of which the value itself has none: ten bytes can say 131,072 digits.
const ZEROS_MAX: usize = 128;

/// `numeric_send`: groups of four decimal digits, the weight of the first, a sign and the digits to show.
fn numeric(raw: &[u8]) -> Option<String> {
    let (words, []) = raw.as_chunks::<2>() else { return None };
    let mut words = words.iter().copied();
    let mut next = || words.next();
    let count = usize::from(u16::from_be_bytes(next()?));
    let weight = i32::from(i16::from_be_bytes(next()?));
    let sign = u16::from_be_bytes(next()?);
    let scale = usize::from(u16::from_be_bytes(next()?));
    let digits: Vec<u16> = std::iter::from_fn(next).map(u16::from_be_bytes).collect();
    if digits.len() != count || digits.iter().any(|digit| *digit > 9999) || scale > 16383 {
        return None;
    }
    let zeros = usize::try_from(weight + 1).unwrap_or(0) * 4 + scale;
    if zeros > digits.len() * 8 + ZEROS_MAX {
        return None;
    }
    let sign = match sign {
        0 => "",
        0x4000 => "-",
        0xC000 => return Some("NaN".to_owned()),
        0xD000 => return Some("Infinity".to_owned()),
        0xF000 => return Some("-Infinity".to_owned()),
        _ => return None,
    };
    let group = |place: i32| usize::try_from(weight - place).ok().and_then(|at| digits.get(at)).copied().unwrap_or(0);
    let mut whole = String::new();
    for place in (0..=weight).rev() {
        let _infallible = write!(whole, "{:04}", group(place));
    }
    let whole = whole.trim_start_matches('0');
    let mut fraction = String::new();
    let mut place = -1;
    while fraction.len() < scale {
        let _infallible = write!(fraction, "{:04}", group(place));
        place -= 1;
    }
    fraction.truncate(scale);
    // What is not shown is cut off by the server too, and there is no negative zero.
    let is_zero = whole.is_empty() && fraction.bytes().all(|digit| digit == b'0');
    let sign = if is_zero { "" } else { sign };
    let whole = if whole.is_empty() { "0" } else { whole };
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!("{sign}{whole}{point}{fraction}"))
}

/// `array_send` for one dimension; others are left as they are.
fn array(element: u32, raw: &[u8]) -> Option<String> {
    let mut rest = raw;
    let mut word = || {
        let (head, tail) = rest.split_first_chunk::<4>()?;
        rest = tail;
        Some(i32::from_be_bytes(*head))
    };
    let dimensions = word()?;
    let _has_nulls = word()?;
    if u32::try_from(word()?).ok()? != element {
        return None;
    }
    if dimensions == 0 {
        return rest.is_empty().then(|| "{}".to_owned());
    }
    let count = word()?;
    let lower_bound = word()?;
    // Other bounds are printed too.
    if dimensions != 1 || lower_bound != 1 || count < 0 {
        return None;
    }
    let mut out = String::from("{");
    for at in 0..count {
        if at > 0 {
            out.push(',');
        }
        let (head, tail) = rest.split_first_chunk::<4>()?;
        rest = tail;
        match i32::from_be_bytes(*head) {
            -1 => out.push_str("NULL"),
            bytes => {
                let (value, tail) = rest.split_at_checked(usize::try_from(bytes).ok()?)?;
                rest = tail;
                element_text(&mut out, &scalar(element, value)?);
            }
        }
    }
    out.push('}');
    rest.is_empty().then_some(out)
}

/// Quotes an element as `array_out` does.
fn element_text(out: &mut String, value: &str) {
    let plain = !value.is_empty()
        && !value.eq_ignore_ascii_case("null")
        && !value.contains(|c: char| matches!(c, '{' | '}' | ',' | '"' | '\\') || matches!(c, ' ' | '\t'..='\r'));
    if plain {
        out.push_str(value);
        return;
    }
    out.push('"');
    for c in value.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

#[cfg(test)]
mod tests;
