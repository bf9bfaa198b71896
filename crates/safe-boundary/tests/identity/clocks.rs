//! Clocks that disagree, or jump: row b13; and what a proxy remembers as time goes by: row b17.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::Client;
use super::stage::{ALICE, Setting, Stage};
use super::support::liar::{DISCOVERY, Lie, Reply, Trap, keys};

const HOUR: i64 = 3600;

/// A proxy whose clock shows what a file says.
struct Clock {
    dir: tempfile::TempDir,
    library: PathBuf,
    /// Whether it is also the clock by which time passes, not only that by which it is told.
    is_whole: bool,
}

impl Clock {
    fn new(offset_s: i64, is_whole: bool) -> Self {
        // The one for programs of several threads: the other shows the true time at times while two read the file.
        let of_machine = |place: fs::DirEntry| place.path().join("faketime/libfaketimeMT.so.1");
        let places = fs::read_dir("/usr/lib").unwrap().map(|place| of_machine(place.unwrap()));
        let library = places.into_iter().find(|path| path.exists()).expect("libfaketime: run ./test, it installs it");
        let clock = Self { dir: tempfile::tempdir().unwrap(), library, is_whole };
        clock.set(offset_s);
        clock
    }

    /// Sets the clock this far ahead of ours, or behind.
    fn set(&self, offset_s: i64) {
        // In one step: half a file would be another time.
        let new = self.dir.path().join("offset.new");
        fs::write(&new, format!("{offset_s:+}\n")).unwrap();
        fs::rename(new, self.file()).unwrap();
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("offset")
    }

    fn stage(&self, tables: &str) -> Stage {
        let file = self.file();
        let environment = [
            ("LD_PRELOAD", self.library.to_str().unwrap()),
            ("FAKETIME_TIMESTAMP_FILE", file.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", if self.is_whole { "0" } else { "1" }),
        ];
        // Longer than the jumps after which somebody still signs in.
        let idp = "login_timeout = \"1h\"";
        Stage::with(&Setting { idp, tables, environment: &environment, ..Setting::default() })
    }
}

/// A time in the token, so many seconds from now.
fn time(claim: &'static str, seconds: i64, why: &'static str) -> Lie {
    Lie::new(format!("{claim} {seconds:+} s"), why, move |draft| {
        draft.claims[claim] = json!(safe_boundary::clock::now().as_second() + seconds);
    })
}

#[test]
fn b13_clocks_may_differ_by_a_minute() {
    let stage = Stage::start();
    let (expired, future) = ("the token expired at", "lies in the future; compare the clocks");
    let mut lies = vec![time("exp", -61, expired), time("exp", -300, expired), Lie::claim("exp", 0, expired)];
    for claim in ["iat", "nbf", "auth_time"] {
        // Some seconds more than a minute: they pass between the making of the token and its check.
        lies.extend([75, 300, 100 * 365 * 24 * HOUR].map(|seconds| time(claim, seconds, future)));
    }
    stage.refuses(&lies);
    let mut truths = vec![time("exp", -45, ""), time("auth_time", -30 * 24 * HOUR, "")];
    truths.extend(["iat", "nbf", "auth_time"].map(|claim| time(claim, 55, "")));
    stage.believes(&truths);
}

#[test]
fn b13_a_proxy_whose_clock_is_five_minutes_off_says_so() {
    for (offset, why) in [(300, "the token expired at"), (-300, "the token's `iat`")] {
        let clock = Clock::new(offset, false);
        let stage = clock.stage("");
        let mut client = Client::start(&stage, 1, ALICE);
        let code = client.code();
        stage.liar.lie(&code, &time("exp", 200, ""));
        let refusal = client.refused();
        assert_eq!((refusal.code.as_str(), refusal.message.as_str()), ("28000", "the sign-in could not be verified"));
        let (effect, reason) = Stage::ended(&stage.trail(), client.address);
        assert!(effect == "failed" && reason.contains(why), "{offset}: {reason}");
        // Put right while it runs, it serves.
        clock.set(0);
        stage.honest(ALICE);
        assert_eq!(stage.upstream.connects(), 1);
    }
}

/// Where the keys cannot be had, one asks at a time; nobody waits for more than one to be told.
#[test]
fn b20_nobody_queues_for_keys_that_cannot_be_had() {
    let clock = Clock::new(0, true);
    let stage = clock.stage("[session]\nmax_age = \"12h\"");
    stage.liar.claim("exp", json!(safe_boundary::clock::now().as_second() + 24 * HOUR));
    stage.liar.amend("/device", &json!({ "expires_in": HOUR }));
    let mut waiting: Vec<_> = (0..40_u8).map(|number| Client::start(&stage, 2 + number / 10, ALICE)).collect();
    let codes: Vec<_> = waiting.iter_mut().map(Client::code).collect();
    stage.liar.always("/jwks", Reply::Silence);
    clock.set(601);
    for code in &codes {
        stage.liar.approve(code);
    }
    let asked = stage.liar.requests("/jwks").len();
    stage.liar.block_until(|| stage.liar.requests("/jwks").len() > asked);
    let begun = Instant::now();
    for client in &mut waiting {
        let refusal = client.refused();
        assert_eq!((refusal.code.as_str(), refusal.tags.as_str()), ("08006", "NE"));
    }
    assert!(begun.elapsed() < Duration::from_secs(9), "told after {:?}", begun.elapsed());
    assert_eq!(stage.upstream.connects(), 0);
    stage.liar.repent("/jwks");
    stage.honest(ALICE);
}

/// What may last so long lasts so long, whatever the clock on the wall does meanwhile.
#[test]
fn b13_a_clock_that_jumps_neither_ends_a_session_nor_prolongs_it() {
    let clock = Clock::new(0, false);
    let stage = clock.stage("[session]\nmax_age = \"8s\"");
    let begun = Instant::now();
    let mut session = stage.honest(ALICE);
    let mut waiting = Client::start(&stage, 1, ALICE);
    let code = waiting.code();
    clock.set(13 * HOUR);
    assert!(session.runs("select 1"), "it ended by a jump ahead");
    let polled = stage.liar.polls(&code).len();
    stage.liar.block_until(|| stage.liar.polls(&code).len() > polled + 1);
    clock.set(-13 * HOUR);
    assert!(session.runs("select 1"), "it ended by a jump back");
    // The code was not used up by the jump either, and its answer is judged by the clock of that moment.
    clock.set(0);
    stage.liar.approve(&code);
    waiting.ready();
    clock.set(-13 * HOUR);
    let end = session.refused();
    assert_eq!(end.code, "57P01", "{end:?}");
    assert!(end.message.starts_with("your access ended: "), "{end:?}");
    assert!((6..20).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
}

/// New keys are found, gone ones forgotten after ten minutes, and an outage is bridged for as long and no longer.
#[test]
fn b17_keys_are_believed_for_ten_minutes() {
    let clock = Clock::new(0, true);
    let stage = clock.stage("");
    let mut now = 0;
    let mut pass = |seconds: i64| {
        now += seconds;
        clock.set(now);
    };
    // The proxy's clock runs ahead of the provider's from now on.
    stage.liar.claim("exp", json!(safe_boundary::clock::now().as_second() + 24 * HOUR));
    let by = |kid: &'static str, why: &'static str| {
        Lie::new(kid, why, move |draft| draft.signed_by("RS256", kid, |message| keys::sign(&keys::THEIRS, message)))
    };
    let gone = "no key of the provider has this `kid`";
    let fetches = || stage.liar.requests("/jwks").len();
    stage.honest(ALICE);
    assert_eq!(fetches(), 1);

    // A new key is fetched at once, and then a minute long no other.
    stage.liar.publish([keys::rsa_jwk("new", &keys::THEIRS)]);
    stage.believes(&[by("new", "")]);
    assert_eq!(fetches(), 2);
    let unknown: Vec<_> = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k"].map(|kid| by(kid, gone)).into();
    assert!(stage.refused_for(&unknown) && fetches() == 2, "{} fetches", fetches());
    pass(61);
    assert!(stage.refused_for(&unknown) && fetches() == 3, "{} fetches", fetches());

    // A key that is gone is believed until the kept ones are ten minutes old, which the last fetch began.
    stage.liar.unpublish();
    stage.liar.publish([keys::rsa_jwk("rsa", &keys::RSA)]);
    pass(9 * 60);
    stage.believes(&[by("new", "")]);
    assert_eq!(fetches(), 3);
    pass(61);
    assert!(stage.refused_for(&[by("new", gone)]));
    assert!(fetches() >= 4);

    // An outage.
    stage.liar.always("/jwks", Reply::html("502 Bad Gateway"));
    pass(9 * 60);
    stage.honest(ALICE);
    pass(61);
    let refusal = Client::start(&stage, 1, ALICE).refused();
    assert_eq!((refusal.code.as_str(), refusal.message.as_str()), ("08006", "the identity provider cannot be reached"));
    stage.liar.repent("/jwks");
    stage.honest(ALICE);

    // A document that has another place for the keys, once the kept one is an hour old.
    let trap = Trap::set();
    stage.liar.amend(DISCOVERY, &json!({ "jwks_uri": format!("http://{}/jwks", trap.address) }));
    pass(61 * 60);
    let mut client = Client::start(&stage, 1, ALICE);
    assert_eq!(client.refused().code, "28000");
    let (_, reason) = Stage::ended(&stage.trail(), client.address);
    assert!(reason.contains("where it was before"), "{reason}");
    assert_eq!(trap.hits(), 0);
    stage.liar.repent(DISCOVERY);
    stage.honest(ALICE);
    assert_eq!(stage.upstream.connects(), 6);
}
