//! The provider's public keys, fetched when needed and kept for a while.
//!
//! Promises: a key that the provider took away is refused after [`TTL`] at the latest; a token with a key that is not
//! known makes one request a minute at most, however many such tokens come; without an answer the kept keys are used
//! until their time is over, and none after that.
//! Deliberately not here: choosing a key for a token; `domain::identity::keys` does.

use std::sync::Arc;
use std::time::Duration;

use domain::identity::keys::KeySet;
use reqwest::Url;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::{Endpoint, Error};
use super::http::Http;
use crate::clock;
use crate::metrics::METRICS;

/// How long keys are used before they are fetched again.
const TTL: Duration = Duration::from_secs(600);

/// The pause between two requests that unknown keys cause.
const MISS_PAUSE: Duration = Duration::from_secs(60);

/// The keys and when they came.
#[derive(Debug, Default)]
pub(super) struct Keys {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    keys: Option<(Instant, Arc<KeySet>)>,
    /// When an unknown key last made a request.
    missed: Option<Instant>,
}

impl Keys {
    /// The keys at present, not older than [`TTL`].
    pub(super) async fn current(&self, http: &Http, url: &Url) -> Result<Arc<KeySet>, Error> {
        let mut kept = self.kept.lock().await;
        if let Some(keys) = kept.fresh(Instant::now()) {
            return Ok(keys);
        }
        let keys = fetch(http, url).await?;
        kept.keys = Some((Instant::now(), Arc::clone(&keys)));
        Ok(keys)
    }

    /// Other keys than `known`, which did not have the key of a token: `None` when there are none to be had now.
    pub(super) async fn other_than(&self, known: &Arc<KeySet>, http: &Http, url: &Url) -> Option<Arc<KeySet>> {
        let mut kept = self.kept.lock().await;
        // Somebody else may have fetched while we waited for the lock.
        if let Some(keys) = kept.fresh(Instant::now())
            && !Arc::ptr_eq(&keys, known)
        {
            return Some(keys);
        }
        if !kept.may_miss(Instant::now()) {
            return None;
        }
        match fetch(http, url).await {
            Ok(keys) => {
                kept.keys = Some((Instant::now(), Arc::clone(&keys)));
                Some(keys)
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "a token has a key that is not known, and the keys cannot be fetched"
                );
                None
            }
        }
    }
}

impl Kept {
    fn fresh(&self, now: Instant) -> Option<Arc<KeySet>> {
        let (fetched, keys) = self.keys.as_ref()?;
        (now.saturating_duration_since(*fetched) < TTL).then(|| Arc::clone(keys))
    }

    /// Whether an unknown key may make a request now; counts it as made, because a failed one counts too.
    fn may_miss(&mut self, now: Instant) -> bool {
        let may = self.missed.is_none_or(|missed| now.saturating_duration_since(missed) >= MISS_PAUSE);
        if may {
            self.missed = Some(now);
        }
        may
    }
}

async fn fetch(http: &Http, url: &Url) -> Result<Arc<KeySet>, Error> {
    let body = http.fetch(Endpoint::Keys, http.get(url)).await?;
    let keys = Arc::new(KeySet::parse(&body)?);
    METRICS.idp.keys_came(clock::now());
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_kept_for_their_time_and_no_longer() {
        let start = Instant::now();
        let kept = Kept { keys: Some((start, Arc::default())), missed: None };
        for (after, expected) in [(0, true), (599, true), (600, false), (86_400, false)] {
            assert_eq!(kept.fresh(start + Duration::from_secs(after)).is_some(), expected, "{after}");
        }
        assert!(Kept::default().fresh(start).is_none());
    }

    #[test]
    fn unknown_keys_make_one_request_a_minute() {
        let start = Instant::now();
        let mut kept = Kept::default();
        let asked = (0..180).filter(|&second| kept.may_miss(start + Duration::from_secs(second))).collect::<Vec<_>>();
        assert_eq!(asked, [0, 60, 120]);
    }
}
