//! What a well-signed token says of itself: rows b8 to b12.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};

use super::stage::Stage;
use super::support::liar::{Lie, base64_url};

const NOT_JSON: &str = "expected strict JSON";

#[test]
fn b8_what_two_readers_could_read_differently() {
    let inner = |claims: &str| claims.strip_prefix('{').unwrap().to_owned();
    let first = |text: &'static str| {
        Lie::texts(text, NOT_JSON, move |header, claims| (header, format!("{{{text},{}", inner(&claims))))
    };
    let last = |text: &'static str| {
        Lie::texts(text, NOT_JSON, move |header, claims| {
            (header, format!("{},{text}}}", claims.strip_suffix('}').unwrap()))
        })
    };
    let deep = |opening: &str, closing: &str, levels: usize| {
        let value = format!("{}1{}", opening.repeat(levels), closing.repeat(levels));
        Lie::texts(&format!("{levels} levels of {opening}"), NOT_JSON, move |header, claims| {
            (header, format!("{{\"x\":{value},{}", inner(&claims)))
        })
    };
    let stage = Stage::start();
    stage.refuses(&[
        first(r#""sub":"00u2""#),
        last(r#""sub":"00u2""#),
        last(r#""email":"bob@example.com""#),
        last(r#""groups":["on-call"]"#),
        last(r#""\u0073ub":"00u2""#),
        last(r#""x":{"a":1,"a":2}"#),
        first(r#""x":NaN"#),
        first(r#""x":Infinity"#),
        first(r#""x":01"#),
        first(r#""x":1e400"#),
        first("\"x\":\"\u{1}\""),
        first(r#""x":"\ud800""#),
        first("x:1"),
        first("/* x */"),
        deep("[", "]", 50),
        deep("{\"a\":", "}", 50),
        deep("[", "]", 100_000),
        Lie::texts("two objects", NOT_JSON, |header, claims| (header, format!("{claims}{claims}"))),
        Lie::texts("a byte order mark", NOT_JSON, |header, claims| (header, format!("\u{feff}{claims}"))),
        Lie::texts("cut", NOT_JSON, |header, claims| (header, claims[..claims.len() - 1].to_owned())),
        Lie::texts("nothing", NOT_JSON, |header, _| (header, String::new())),
        Lie::texts("null", "expected a JSON object", |header, _| (header, "null".to_owned())),
        Lie::texts("a list", "expected a JSON object", |header, claims| (header, format!("[{claims}]"))),
        Lie::texts("the algorithm twice", NOT_JSON, |header, claims| {
            (format!("{{\"alg\":\"none\",{}", header.strip_prefix('{').unwrap()), claims)
        }),
        Lie::new("a token of 900 KB", "expected a token of at most", |draft| draft.claims["x"] = filler(680)),
        Lie::new("a token of a megabyte and more", "expected at most 1048576 bytes", |draft| {
            draft.claims["x"] = filler(1100);
        }),
    ]);
    stage.believes(&[Lie::new("ten thousand groups", "", |draft| {
        let groups = (0..10_000).map(|number| format!("00000000-0000-4000-8000-{number:012}"));
        draft.claims["groups"] = groups.chain(["engineering".to_owned()]).collect();
    })]);
}

#[test]
fn b8_times_are_numbers_of_seconds() {
    let mut lies = Vec::new();
    for name in ["exp", "iat"] {
        let time = format!("expected the claim `{name}` to be a time in seconds").leak();
        for value in [
            json!("1790000000"),
            json!(-1),
            json!(1e300),
            json!(i64::MIN),
            json!(u64::MAX),
            json!(null),
            json!(true),
            json!([1_790_000_000]),
            json!(253_402_207_201_i64),
        ] {
            lies.push(Lie::claim(name, value, time));
        }
        for number in ["1e400", "-1e400", "NaN", "0x7fffffff", "+1790000000"] {
            lies.push(Lie::texts(&format!("{name}: {number}"), NOT_JSON, move |header, claims| {
                let value: Value = serde_json::from_str(&claims).unwrap();
                (header, claims.replace(&format!("\"{name}\":{}", value[name]), &format!("\"{name}\":{number}")))
            }));
        }
    }
    lies.push(Lie::no_claim("exp", "expected the claim `exp`, which is absent"));
    lies.push(Lie::no_claim("iat", "expected the claim `iat`, which is absent"));
    let stage = Stage::start();
    stage.refuses(&lies);
    stage.believes(&[Lie::new("a fraction of a second", "", |draft| {
        draft.claims["iat"] = json!(draft.claims["iat"].as_f64().unwrap() + 0.5);
    })]);
}

fn filler(kilobytes: usize) -> Value {
    json!("x".repeat(kilobytes * 1000))
}

#[test]
fn b9_a_token_for_somebody_else_is_not_ours() {
    let (not_ours, another, odd) = ("not meant for the client", "given to another client", "expected the claim `aud`");
    let azp =
        |party: Value, why| Lie::new(format!("azp {party}"), why, move |draft| draft.claims["azp"] = party.clone());
    let shared = |party: Option<&'static str>, why| {
        Lie::new(format!("shared, azp {party:?}"), why, move |draft| {
            draft.claims["aud"] = json!(["safe-boundary", "wiki"]);
            if let Some(party) = party {
                draft.claims["azp"] = json!(party);
            }
        })
    };
    let stage = Stage::start();
    stage.refuses(&[
        Lie::no_claim("aud", "expected the claim `aud`, which is absent"),
        Lie::claim("aud", "wiki", not_ours),
        Lie::claim("aud", "", not_ours),
        Lie::claim("aud", "SAFE-BOUNDARY", not_ours),
        Lie::claim("aud", "safe-boundary ", not_ours),
        Lie::claim("aud", "safe-boundary,wiki", not_ours),
        Lie::claim("aud", "*", not_ours),
        Lie::claim("aud", json!([]), not_ours),
        Lie::claim("aud", json!(["wiki"]), not_ours),
        Lie::claim("aud", json!(["wiki", "safe-boundary-2"]), not_ours),
        Lie::claim("aud", json!([["safe-boundary"]]), odd),
        Lie::claim("aud", json!({ "safe-boundary": true }), odd),
        Lie::claim("aud", json!(null), odd),
        Lie::claim("aud", json!(["safe-boundary", 7]), odd),
        shared(None, another),
        shared(Some("wiki"), another),
        azp(json!("wiki"), another),
        azp(json!(""), another),
        azp(json!(["safe-boundary"]), "expected the claim `azp`"),
        azp(json!(null), "expected the claim `azp`"),
    ]);
    stage.believes(&[
        Lie::claim("aud", json!(["safe-boundary"]), ""),
        azp(json!("safe-boundary"), ""),
        shared(Some("safe-boundary"), ""),
    ]);
}

#[test]
fn b10_another_issuer_is_another_world() {
    let other = "expected the issuer";
    let stage = Stage::start();
    let ours = stage.liar.issuer.clone();
    let of = |issuer: String| Lie::claim("iss", issuer, other);
    stage.refuses(&[
        of(format!("{ours}/")),
        of(ours.to_uppercase()),
        of(ours.replace("http:", "https:")),
        of(ours.replace("127.0.0.1", "localhost")),
        of(ours.replace("127.0.0.1", "127.1")),
        of(format!("{ours} ")),
        of(format!("{ours}#")),
        of(format!("{ours}?")),
        of(format!("{ours}/{{tenantid}}/v2.0")),
        of(format!("{ours}/another-tenant/v2.0")),
        of(format!("{ours}.evil.example")),
        of(format!("https://evil.example/?{ours}")),
        of(String::new()),
        Lie::no_claim("iss", "expected the claim `iss`, which is absent"),
        Lie::claim("iss", json!([ours]), "expected the claim `iss`"),
        Lie::claim("iss", json!(null), "expected the claim `iss`"),
    ]);
}

#[test]
fn b11_other_tokens_of_the_same_provider_identify_nobody() {
    let mut lies = Vec::new();
    for kind in ["at+jwt", "application/at+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt", "JWE", "JOSE", ""] {
        lies.push(Lie::header("typ", kind, "expected an ID token, got one of type"));
    }
    for kind in ["Bearer", "Refresh", "Offline", "Logout", "DPoP"] {
        lies.push(Lie::claim("typ", kind, "expected an ID token, got one of type"));
    }
    let logout = json!({ "http://schemas.openid.net/event/backchannel-logout": {} });
    lies.extend([
        Lie::claim("events", logout, "got one of type `security event`"),
        Lie::claim("events", json!({}), "got one of type `security event`"),
        Lie::header("typ", 7, "header is malformed"),
        // An access token of most providers: another audience, and the client in a claim of its own.
        Lie::new("an access token without a type", "not meant for the client", |draft| {
            draft.claims["aud"] = json!("https://api.example.com");
            (draft.claims["client_id"], draft.claims["scope"]) = (json!("safe-boundary"), json!("openid"));
        }),
        Lie::new("the ID token of another client", "not meant for the client", |draft| {
            (draft.claims["aud"], draft.claims["azp"]) = (json!("wiki"), json!("wiki"));
        }),
        Lie::new("the access token in its place", "compact form", |draft| draft.whole = Some("access-1".to_owned())),
    ]);
    let stage = Stage::start();
    stage.refuses(&lies);
    stage.believes(&[Lie::claim("typ", "ID", ""), Lie::header("typ", "jwt", ""), Lie::no_header("typ", "")]);
}

/// The device flow sends no nonce and has no code, so `nonce` and `c_hash` bind nothing there; `at_hash` does.
#[test]
fn b12_a_token_belongs_to_the_access_token_beside_it() {
    let half = |digest: &[u8]| base64_url(&digest[..digest.len() / 2]);
    let good = half(&Sha256::digest("access-1"));
    let why = "`at_hash` is not that of the access token";
    let stage = Stage::start();
    stage.refuses(&[
        Lie::claim("at_hash", half(&Sha256::digest("access-2")), why),
        Lie::claim("at_hash", half(&Sha512::digest("access-1")), why),
        Lie::claim("at_hash", base64_url(Sha256::digest("access-1")), why),
        Lie::claim("at_hash", format!("{good}=="), why),
        Lie::claim("at_hash", good.to_lowercase(), why),
        Lie::claim("at_hash", "", why),
        Lie::claim("at_hash", 7, "expected the claim `at_hash`"),
        Lie::claim("at_hash", json!(null), "expected the claim `at_hash`"),
        Lie::new("another access token", why, {
            let good = good.clone();
            move |draft| {
                draft.claims["at_hash"] = json!(good);
                draft.answer["access_token"] = json!("access-2");
            }
        }),
    ]);
    stage.believes(&[Lie::claim("at_hash", good, "")]);
}
