//! Whom a token is about: rows b14 and b15.

use serde_json::json;

use super::client::Client;
use super::stage::{ALICE, Setting, Stage};
use super::support::liar::Lie;

const NO_NAME: &str = "is empty, too long, or has characters that no name has";

#[test]
fn b14_a_subject_is_a_plain_name() {
    let mut lies = Vec::new();
    for name in
        ["", "00u1\0", "00u1\n", "00u1\r\nx", "\u{202e}00u1", "00u1\u{200b}", "\u{feff}00u1", "\u{2028}", "\u{3164}"]
    {
        lies.push(Lie::claim("sub", name, NO_NAME));
    }
    lies.extend([
        Lie::claim("sub", "x".repeat(256), NO_NAME),
        Lie::claim("sub", "x".repeat(100_000), NO_NAME),
        Lie::no_claim("sub", "expected the claim `sub`, which is absent"),
        Lie::claim("sub", 7, "expected the claim `sub` to be a string"),
        Lie::claim("sub", json!(null), "expected the claim `sub` to be a string"),
        Lie::claim("sub", json!(["00u1"]), "expected the claim `sub` to be a string"),
        // Who she is must be said by the claim for it; there is no second choice.
        Lie::no_claim("email", "expected the claim `email`, which is absent"),
        Lie::claim("email", json!(["alice@example.com"]), "expected the claim `email` to be a string"),
        Lie::claim("email", "", NO_NAME),
        Lie::claim("email", "alice@example.com\0", NO_NAME),
        Lie::claim("email", "alice@example.com\n", NO_NAME),
        Lie::claim("email", "alice@example.com/key", NO_NAME),
        Lie::claim("email_verified", false, "not say that the e-mail address is verified"),
        Lie::claim("email_verified", "false", "not say that the e-mail address is verified"),
        Lie::claim("email_verified", json!(null), "not say that the e-mail address is verified"),
        Lie::claim("xms_edov", false, "not say that the e-mail address is verified"),
        Lie::claim("xms_edov", "0", "not say that the e-mail address is verified"),
    ]);
    let stage = Stage::start();
    stage.refuses(&lies);
    stage.believes(&[Lie::claim("sub", "x".repeat(255), ""), Lie::claim("sub", "Ünï-id 7", "")]);
}

/// nOAuth: whoever may set an e-mail address in a tenant of his own is not the person whose address it is.
#[test]
fn b14_the_same_address_from_elsewhere_is_another_person() {
    let entra = "subject_claim = [\"tid\", \"oid\"]\nrequire_verified_email = false";
    let one = "[limits]\nper_person = 1";
    let stage = Stage::with(&Setting { idp: entra, tables: one, ..Setting::default() });
    let sign_in = |tenant: &'static str, object: &'static str, groups: &'static [&'static str]| {
        let mut client = Client::start(&stage, 1, ALICE);
        let code = client.code();
        stage.liar.answer_with(&code, |draft| {
            (draft.claims["tid"], draft.claims["oid"]) = (json!(tenant), json!(object));
            draft.claims["groups"] = json!(groups);
        });
        client
    };
    let mut alice = sign_in("ours", "1", &["engineering"]);
    alice.ready();
    // What is hers is not theirs: neither her roles, nor her place among the sessions that one person may have.
    let mut stranger = sign_in("theirs", "1", &[]);
    assert_eq!(stranger.refused().code, "42501");
    let mut namesake = sign_in("ours", "2", &["engineering"]);
    namesake.ready();
    let full = sign_in("ours", "1", &["engineering"]).refused();
    assert_eq!(full.code, "53300");
    assert_eq!(full.message, "too many sessions: \"alice@example.com\" has 1 of the 1 that one person may have");
    assert_eq!(stage.upstream.connects(), 2);
    let trail = stage.trail();
    let subjects = |effect: &str| {
        let of = trail.iter().filter(|record| record["decision"]["effect"] == effect);
        of.map(|record| record["subject"]["sub"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(subjects("approved"), ["ours:1", "theirs:1", "ours:2", "ours:1"]);
    assert_eq!(subjects("forbid"), ["theirs:1"]);
    // A part that could shift where one id ends and the next begins names nobody.
    let shifted = Lie::new("a colon in a part", "tid:oid", |draft| {
        (draft.claims["tid"], draft.claims["oid"]) = (json!("ours:1"), json!("x"));
    });
    let absent = Lie::new("a part is absent", "expected the claim `oid`", |draft| draft.claims["tid"] = json!("ours"));
    let mut waiting = [Client::start(&stage, 1, ALICE), Client::start(&stage, 1, ALICE)];
    for (client, lie) in waiting.iter_mut().zip([shifted, absent]) {
        let code = client.code();
        stage.liar.lie(&code, &lie);
        assert_eq!(client.refused().code, "28000");
        assert!(Stage::ended(&stage.trail(), client.address).1.contains(lie.why), "{}", lie.what);
    }
}

/// Names that look alike, or are alike to somebody's rules for letters, are two names.
#[test]
fn b15_a_name_is_compared_letter_by_letter() {
    let stage = Stage::start();
    let others = [
        ("alice@example.com", "\u{430}lice@example.com"),
        ("\u{430}lice@example.com", "alice@example.com"),
        ("alice@example.com", "\u{ff41}lice@example.com"),
        ("alice@example.com", "al\u{131}ce@example.com"),
        ("alice@example.com", "AL\u{130}CE@example.com"),
        ("mike@example.com", "mi\u{212a}e@example.com"),
        ("strasse@example.com", "stra\u{df}e@example.com"),
        ("ren\u{e9}@example.com", "rene\u{301}@example.com"),
        ("ren\u{e9}@example.com", "REN\u{c9}@example.com"),
        ("alice@example.com", "alice@example.com."),
        ("alice@example.com", "alice@xn--example.com"),
        ("alice@example.com", "alice"),
        ("alice@example.com", "alice+x@example.com"),
        ("a.lice@example.com", "alice@example.com"),
    ];
    let sign_in = |number: usize, (asked, signed): (&str, &str)| {
        let mut client = Client::start(&stage, u8::try_from(2 + number / 5).unwrap(), asked);
        let code = client.code();
        stage.liar.answer_with(&code, |draft| draft.claims["email"] = json!(signed));
        client
    };
    let mut waiting: Vec<_> = others.iter().enumerate().map(|(number, names)| sign_in(number, *names)).collect();
    for (client, (asked, signed)) in waiting.iter_mut().zip(others) {
        let refusal = client.refused();
        assert_eq!(refusal.code, "28000", "{asked:?} {signed:?}");
        assert_eq!(refusal.message, format!("signed in as \"{signed}\", not \"{asked}\""));
    }
    let trail = stage.trail();
    for (client, (asked, signed)) in waiting.iter().zip(others) {
        let (effect, reason) = Stage::ended(&trail, client.address);
        assert_eq!((effect.as_str(), reason), ("denied", format!("signed in as {signed}")), "{asked:?}");
    }
    // The same with letters that show nothing: no name at all, on either side.
    let hidden = [
        "admin\u{200b}@example.com",
        "admin\u{ad}@example.com",
        "admin\u{3164}@example.com",
        "admin\u{fe0f}@example.com",
    ];
    stage.refuses(&hidden.map(|name| Lie::claim("email", name, NO_NAME)));
    for name in hidden {
        assert_eq!(Client::start(&stage, 1, name).refused().code, "28000", "{name:?}");
    }
    // ASCII letters in either case are one name.
    for (asked, signed) in [("Alice@Example.COM", "alice@example.com"), ("alice@example.com", "ALICE@example.com")] {
        sign_in(0, (asked, signed)).ready();
    }
}
