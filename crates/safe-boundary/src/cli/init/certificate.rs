//! A certificate for first steps.
//!
//! Promises: a new key each time; it ends after 90 days, so that it cannot be forgotten in service.
//! Deliberately not here: an authority. Whoever has not got this very certificate cannot verify it, and the words around it say so.

use domain::secret::Secret;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{CertificateParams, DnType, KeyPair};

use crate::config;

/// How long it is good for.
const DAYS: i64 = 90;

/// A certificate and its key, both as PEM.
pub(super) struct Made {
    pub(super) cert: String,
    pub(super) key: Secret<String>,
}

/// Makes one for this machine.
pub(super) fn make(database: &str, now: Timestamp) -> Result<Made, rcgen::Error> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(config::host_name().filter(|name| name.is_ascii() && name != "localhost"));
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name.push(DnType::CommonName, format!("Safe Boundary, first steps ({database})"));
    let day = |offset_days: i64| (now + SignedDuration::from_hours(24 * offset_days)).to_zoned(TimeZone::UTC).date();
    let (from, to) = (day(-1), day(DAYS));
    params.not_before =
        rcgen::date_time_ymd(from.year().into(), from.month().unsigned_abs(), from.day().unsigned_abs());
    params.not_after = rcgen::date_time_ymd(to.year().into(), to.month().unsigned_abs(), to.day().unsigned_abs());
    let key = KeyPair::generate()?;
    let cert = params.self_signed(&key)?;
    Ok(Made { cert: cert.pem(), key: Secret::new(key.serialize_pem()) })
}
