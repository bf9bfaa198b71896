//! When to ask the identity provider again while a person signs in (RFC 8628 §3.5).
//!
//! Promises: never faster than the provider allows; `slow_down` counts for good; trouble on the way backs off
//! exponentially; there is always an end.
//! Deliberately not here: clocks and HTTP. Time is the time since the code was made, so that a wall clock that jumps
//! changes nothing.

use std::time::Duration;

/// How often to ask when the provider does not say (RFC 8628 §3.2).
const INTERVAL_DEFAULT: Duration = Duration::from_secs(5);

/// Some providers say 0; nobody needs an answer faster than this.
const INTERVAL_MIN: Duration = Duration::from_secs(1);

/// What `slow_down` adds (RFC 8628 §3.5).
const SLOW_DOWN: Duration = Duration::from_secs(5);

/// The longest wait that backing off leads to by itself.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// The polling of one device code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polling {
    interval: Duration,
    /// Answers in a row that did not come, or said nothing.
    failures: u32,
    code_end: Duration,
    deadline: Duration,
}

/// What an answer of the token endpoint that brought no token means for the polling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// `authorization_pending`: the person has not answered yet.
    Pending,
    /// `slow_down`: not yet, and ask less often from now on.
    SlowDown,
    /// No answer, or one that says nothing (timeout, 429, 5xx), and how long the provider asked to be left alone.
    Silent(Option<Duration>),
    /// `expired_token`: too late.
    Expired,
    /// `access_denied`: the person, or a rule of the provider, said no.
    Denied,
    /// `invalid_grant`: the provider does not know the code (any more).
    UnknownCode,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Ask at this time since the code was made.
    Ask(Duration),
    /// Wait until this time since the code was made, then give up: asking once more would come too late.
    GiveUp(Duration),
    /// The code has expired.
    Expired,
    /// The sign-in was refused.
    Refused,
    /// The provider does not know a code that should still live.
    Unknown,
}

impl Polling {
    /// Begins when the code was made. It ends with the code, or when the person may take no longer.
    #[must_use]
    pub fn new(interval: Option<Duration>, expires_in: Duration, login_timeout: Duration) -> Self {
        Self {
            interval: interval.unwrap_or(INTERVAL_DEFAULT).max(INTERVAL_MIN),
            failures: 0,
            code_end: expires_in,
            deadline: expires_in.min(login_timeout),
        }
    }

    /// When the person's time is over, since the code was made.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }

    /// The first step: one interval after the code was made.
    #[must_use]
    pub fn first(&self) -> Step {
        self.ask_after(Duration::ZERO, self.interval)
    }

    /// The step after an answer that came at `now`.
    #[must_use]
    pub fn after(&mut self, answer: Answer, now: Duration) -> Step {
        match answer {
            Answer::Pending => self.failures = 0,
            Answer::SlowDown => {
                self.failures = 0;
                self.interval = self.interval.saturating_add(SLOW_DOWN);
            }
            Answer::Silent(wanted) => {
                self.failures = self.failures.saturating_add(1);
                return self.ask_after(now, self.back_off().max(wanted.unwrap_or_default()));
            }
            Answer::Expired => return Step::Expired,
            Answer::Denied => return Step::Refused,
            // Auth0 says `expired_token` once and `invalid_grant` from then on; around the end both mean the same.
            Answer::UnknownCode if now.saturating_add(self.interval) >= self.code_end => return Step::Expired,
            Answer::UnknownCode => return Step::Unknown,
        }
        self.ask_after(now, self.interval)
    }

    /// The interval, doubled for each failure in a row.
    fn back_off(&self) -> Duration {
        let factor = 2_u32.saturating_pow(self.failures.min(16));
        self.interval.saturating_mul(factor).min(BACK_OFF_MAX.max(self.interval))
    }

    fn ask_after(&self, now: Duration, pause: Duration) -> Step {
        let next = now.saturating_add(pause);
        match (now >= self.deadline, next < self.deadline) {
            (true, _) => Step::Expired,
            (false, true) => Step::Ask(next),
            (false, false) => Step::GiveUp(self.deadline),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// Plays answers, each given the moment it was asked for, and compares the steps.
    fn check(mut polling: Polling, answers: &[Answer], expected: &[Step]) {
        let mut step = polling.first();
        assert_eq!(Some(&step), expected.first());
        for (answer, wanted) in answers.iter().zip(&expected[1..]) {
            let Step::Ask(now) = step else { panic!("{step:?} is an end") };
            step = polling.after(*answer, now);
            assert_eq!(step, *wanted, "after {answer:?} at {now:?}");
        }
        assert_eq!(answers.len() + 1, expected.len());
    }

    #[test]
    fn asks_at_the_providers_pace() {
        use Answer::{Denied, Expired, Pending, SlowDown};
        use Step::{Ask, GiveUp};
        let polling = |interval: Option<u64>| Polling::new(interval.map(s), s(900), s(300));
        check(polling(None), &[Pending, Pending], &[Ask(s(5)), Ask(s(10)), Ask(s(15))]);
        check(polling(Some(0)), &[Pending], &[Ask(s(1)), Ask(s(2))]);
        check(polling(Some(7)), &[SlowDown, Pending, SlowDown], &[Ask(s(7)), Ask(s(19)), Ask(s(31)), Ask(s(48))]);
        check(polling(None), &[Denied], &[Ask(s(5)), Step::Refused]);
        check(polling(None), &[Expired], &[Ask(s(5)), Step::Expired]);
        check(polling(Some(200)), &[Pending], &[Ask(s(200)), GiveUp(s(300))]);
        check(polling(Some(u64::MAX)), &[], &[GiveUp(s(300))]);
        check(polling(Some(299)), &[SlowDown], &[Ask(s(299)), GiveUp(s(300))]);
    }

    #[test]
    fn backs_off_when_nothing_comes_and_recovers() {
        use Answer::{Pending, Silent};
        use Step::Ask;
        let polling = || Polling::new(None, s(900), s(900));
        let silent = Silent(None);
        check(
            polling(),
            &[silent, silent, silent, silent, silent, Pending, silent],
            &[Ask(s(5)), Ask(s(15)), Ask(s(35)), Ask(s(75)), Ask(s(135)), Ask(s(195)), Ask(s(200)), Ask(s(210))],
        );
        check(polling(), &[Silent(Some(s(100)))], &[Ask(s(5)), Ask(s(105))]);
        check(polling(), &[Silent(Some(s(1)))], &[Ask(s(5)), Ask(s(15))]);
        check(polling(), &[Silent(Some(Duration::MAX))], &[Ask(s(5)), Step::GiveUp(s(900))]);
    }

    #[test]
    fn ends_with_the_code_or_with_the_persons_time() {
        assert_eq!(Polling::new(None, s(900), s(300)).deadline(), s(300));
        assert_eq!(Polling::new(None, s(60), s(300)).deadline(), s(60));
        let mut late = Polling::new(None, s(60), s(300));
        assert_eq!(late.after(Answer::Pending, s(60)), Step::Expired);
        assert_eq!(late.after(Answer::Silent(None), s(61)), Step::Expired);
    }

    #[test]
    fn an_unknown_code_has_expired_only_near_its_end() {
        let mut polling = Polling::new(None, s(60), s(300));
        assert_eq!(polling.after(Answer::UnknownCode, s(10)), Step::Unknown);
        assert_eq!(polling.after(Answer::UnknownCode, s(55)), Step::Expired);
        assert_eq!(polling.after(Answer::UnknownCode, s(70)), Step::Expired);
    }
}
