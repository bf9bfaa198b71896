//! What an identity provider sends: tokens, keys, documents, answers.
//!
//! Promises: no identity without a signature of the provider's key over exactly these bytes, and without every claim
//! that the rules ask for; documents are read as a plain JSON reader reads them, or not at all.
//! Deliberately not here: HTTP. The signatures are made here, by keys that are always the same.

use arbitrary::Unstructured;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use domain::identity::claims::Claims;
use domain::identity::keys::KeySet;
use domain::identity::verify::{Rules, verify};
use domain::secret::Secret;
use jiff::Timestamp;
use safe_boundary::strangers;
use serde_json::{Map, Value, json};

const NOW: i64 = 1_790_000_000;
const ISSUER: &str = "https://idp.example.com";

fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn key(seed: u8) -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a seed is a key")
}

fn jwk(kid: &str, key: &Ed25519KeyPair) -> Value {
    json!({ "kty": "OKP", "kid": kid, "crv": "Ed25519", "use": "sig", "x": b64(key.public_key().as_ref()) })
}

fn sign(key: &Ed25519KeyPair, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", b64(header), b64(claims));
    format!("{message}.{}", b64(key.sign(message.as_bytes()).as_ref()))
}

fn rules() -> Rules {
    Rules {
        issuer: ISSUER.to_owned(),
        client_id: "client".to_owned(),
        login_claim: "email".to_owned(),
        subject_claim: vec!["sub".to_owned()],
        groups_claim: "groups".to_owned(),
        require_verified_email: false,
        hosted_domain: None,
        nonce: Some("n".to_owned()),
        access_token: Some(Secret::new("access".to_owned())),
    }
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).expect("a time")
}

fn valid() -> Map<String, Value> {
    let claims = json!({
        "iss": ISSUER, "aud": "client", "sub": "00u1", "email": "alice@example.com", "nonce": "n",
        "exp": NOW + 300, "iat": NOW - 5, "groups": ["on-call", "engineering"],
    });
    let Value::Object(claims) = claims else { unreachable!() };
    claims
}

const HEADER: &str = r#"{"alg":"EdDSA","kid":"a","typ":"JWT"}"#;

/// The first byte says which part is the fuzzer's: the token, its header, its claims, or one of the claims.
pub fn token(raw: &[u8]) {
    let Some((&choice, rest)) = raw.split_first() else { return };
    let keys = KeySet::parse(json!({ "keys": [jwk("a", &key(1)), jwk("b", &key(2))] }).to_string().as_bytes());
    let keys = keys.expect("a key set");
    let honest = sign(&key(1), HEADER, &Value::Object(valid()).to_string());
    let text = String::from_utf8_lossy(rest);
    match choice % 6 {
        0 => {
            // An honest token is believed, and with any other byte it is not.
            verify(&honest, &keys, &rules(), now()).expect("an honest token");
            let mutated = mutated(&honest, rest);
            assert!(mutated == honest || verify(&mutated, &keys, &rules(), now()).is_err(), "{mutated}");
        }
        1 => assert!(verify(&text, &keys, &rules(), now()).is_err() || text == honest, "{text}"),
        2 => judge(&sign(&key(1), HEADER, &text), text.as_bytes(), &keys),
        3 => header(&text, &keys),
        4 => assert!(verify(&sign(&key(3), HEADER, &honest_claims()), &keys, &rules(), now()).is_err()),
        _ => {
            let mut claims = valid();
            let mut input = Unstructured::new(rest);
            while let Ok(name) = input.choose(&NAMES).copied() {
                match value(&mut input, 3) {
                    Ok(Some(value)) => drop(claims.insert(name.to_owned(), value)),
                    Ok(None) => drop(claims.remove(name)),
                    Err(_) => break,
                }
                if input.is_empty() {
                    break;
                }
            }
            let claims = Value::Object(claims).to_string();
            judge(&sign(&key(1), HEADER, &claims), claims.as_bytes(), &keys);
        }
    }
}

fn honest_claims() -> String {
    Value::Object(valid()).to_string()
}

/// The text with one byte changed, taken out or put in.
fn mutated(text: &str, raw: &[u8]) -> String {
    let [a, b, how, byte, ..] = raw else { return text.to_owned() };
    let mut bytes = text.as_bytes().to_vec();
    let at = usize::from(u16::from_be_bytes([*a, *b])) % bytes.len();
    match how % 4 {
        0 => drop(bytes.remove(at)),
        1 => bytes.insert(at, byte & 0x7f),
        2 => bytes.truncate(at),
        _ => bytes[at] = byte & 0x7f,
    }
    String::from_utf8(bytes).expect("still ASCII")
}

/// A header of the fuzzer over an honest body, signed by the right key: it must ask for just that.
fn header(text: &str, keys: &KeySet) {
    let token = sign(&key(1), text, &honest_claims());
    if verify(&token, keys, &rules(), now()).is_ok() {
        let header: Value = serde_json::from_str(text).expect("JSON");
        assert!(header["alg"] == "EdDSA" || header["alg"] == "Ed25519", "{text}");
        assert_eq!(header["kid"], "a", "{text}");
        for member in ["crit", "b64", "enc", "zip", "cty"] {
            assert!(header.get(member).is_none(), "{text}");
        }
    }
}

const NAMES: [&str; 16] = [
    "iss",
    "aud",
    "azp",
    "sub",
    "email",
    "email_verified",
    "exp",
    "iat",
    "nbf",
    "auth_time",
    "nonce",
    "at_hash",
    "typ",
    "events",
    "groups",
    "_claim_names",
];

const VALUES: [&str; 12] = [
    "client",
    "other",
    ISSUER,
    "https://idp.example.com/",
    "alice@example.com",
    "",
    "n",
    "a/b",
    "\u{200b}x",
    "Bearer",
    "true",
    "x",
];

fn value(input: &mut Unstructured<'_>, depth: u32) -> arbitrary::Result<Option<Value>> {
    Ok(Some(match input.int_in_range(0..=9)? {
        0 => return Ok(None),
        1 => Value::Null,
        2 => Value::Bool(input.arbitrary()?),
        3 => json!(NOW + i64::from(input.arbitrary::<i16>()?)),
        4 => json!(input.arbitrary::<i64>()?),
        5 => json!(input.arbitrary::<f64>()?),
        6 if depth > 0 => {
            let many = input.int_in_range(0..=3)?;
            let items = (0..many).map(|_| value(input, depth - 1)).collect::<arbitrary::Result<Vec<_>>>()?;
            Value::Array(items.into_iter().flatten().collect())
        }
        7 if depth > 0 => json!({ *input.choose(&NAMES)?: value(input, depth - 1)? }),
        8 => json!(input.arbitrary::<&str>()?),
        _ => json!(*input.choose(&VALUES)?),
    }))
}

/// These claims were signed by the provider: believed only if a plain reading of them says the same.
fn judge(token: &str, raw_claims: &[u8], keys: &KeySet) {
    let Ok(identity) = verify(token, keys, &rules(), now()) else { return };
    let claims: Value = serde_json::from_slice(raw_claims).expect("believed, so JSON");
    let names_us = |aud: &Value| aud == "client";
    assert_eq!(claims["iss"], ISSUER);
    assert!(names_us(&claims["aud"]) || claims["aud"].as_array().is_some_and(|all| all.iter().any(names_us)));
    let shared = claims["aud"].as_array().is_some_and(|all| all.iter().any(|aud| !names_us(aud)));
    assert!(claims.get("azp").map_or(!shared, names_us));
    let seconds = |name: &str| claims.get(name).map(|value| value.as_f64().expect("a number"));
    let now = NOW as f64;
    assert!(seconds("exp").unwrap() > now - 61.0);
    for name in ["iat", "nbf", "auth_time"] {
        assert!(seconds(name).is_none_or(|at| (0.0..now + 61.0).contains(&at)), "{name}");
    }
    assert!(seconds("iat").is_some());
    assert_eq!(claims["nonce"], "n");
    assert_ne!(claims.get("email_verified"), Some(&Value::Bool(false)));
    assert!(claims.get("events").is_none());
    assert_eq!(claims["email"], *identity.login());
    assert_eq!((claims["sub"].as_str(), identity.issuer()), (Some(identity.subject()), ISSUER));
    assert!(!identity.subject().is_empty() && !identity.login().contains(['/', ' ', '\n']));
    let said = claims.get("groups");
    assert_eq!(identity.groups_were_said(), said.is_some());
    for group in identity.groups() {
        assert!(
            said.is_some_and(|said| said == group || said.as_array().is_some_and(|all| all.contains(&json!(group))))
        );
    }
    // Userinfo of somebody else changes nothing.
    let other = Claims::parse(br#"{"sub":"00u2","groups":["admins"]}"#).expect("claims");
    assert!(identity.subject() == "00u2" || identity.with_groups_of(&other, &rules()).is_err());
}

/// Any JSON object: what is read is what a plain reader reads.
pub fn claims(raw: &[u8]) {
    let Ok(claims) = Claims::parse(raw) else { return };
    let plain: Value = serde_json::from_slice(raw).expect("strict JSON is JSON");
    let again: Value = serde_json::from_str(&claims.to_json()).expect("JSON again");
    assert!(alike(&again, &plain), "{again} of {plain}");
    assert!(Claims::parse(claims.to_json().as_bytes()).is_ok());
    let members = plain.as_object().expect("an object");
    for (name, value) in members {
        assert_eq!(claims.find(name), Some(value));
        assert_eq!(claims.text(name).ok(), value.as_str());
        let time = claims.time_if_any(name);
        assert!(value.is_number() || time.is_err());
        if let Ok(Some(groups)) = claims.groups(name) {
            assert!(groups.windows(2).all(|pair| pair[0] < pair[1]) && !groups.iter().any(String::is_empty));
            assert!(value.is_string() || value.is_array());
        }
        if let Some(inner) = value.as_object() {
            for key in inner.keys() {
                assert!(claims.find(&format!("{name}.{key}")).is_some());
            }
        }
    }
    assert!(claims.find("no such member").is_none() || members.contains_key("no such member"));
    drop(strangers::token_refusal(raw).expect("an object"));
}

/// The same, but for the last bit of a fraction, which JSON readers round each in its own way.
fn alike(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| alike(one, other)))
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() => {
            let (a, b) = (a.as_f64().unwrap_or_default(), b.as_f64().unwrap_or_default());
            (a - b).abs() <= a.abs() * 1e-15
        }
        _ => one == other,
    }
}

/// Any key set: a token passes only if the key that made it stands there under its name, and no other.
pub fn key_set(raw: &[u8]) {
    let Ok(keys) = KeySet::parse(raw) else { return };
    let plain: Value = serde_json::from_slice(raw).expect("JSON");
    let listed = plain["keys"].as_array().expect("a list");
    assert_eq!(keys.len(), listed.len());
    let ours = jwk("a", &key(1));
    let is_ours = |key: &&Value| key["kty"] == "OKP" && key["crv"] == "Ed25519" && key["x"] == ours["x"];
    for (kid, header) in [(Some("a"), HEADER), (None, r#"{"alg":"EdDSA"}"#)] {
        let token = sign(&key(1), header, &honest_claims());
        if verify(&token, &keys, &rules(), now()).is_err() {
            continue;
        }
        let named: Vec<&Value> = listed.iter().filter(|key| kid.is_none() || key["kid"].as_str() == kid).collect();
        assert!(named.iter().any(is_ours), "{plain}");
        // Under a name all keys are this one; without a name all that could be meant.
        let same = |key: &&Value| is_ours(key) || (kid.is_none() && !could_be_meant(key));
        assert!(named.iter().all(same), "{plain}");
        let usable = |key: &&&Value| is_ours(key) && key.get("use").is_none_or(|usage| usage == "sig");
        assert!(named.iter().any(|key| usable(&key)), "{plain}");
    }
}

fn could_be_meant(key: &Value) -> bool {
    key["kty"] == "OKP"
        && key["crv"] == "Ed25519"
        && key["x"].as_str().is_some_and(|x| BASE64_URL_SAFE_NO_PAD.decode(x).is_ok())
        && key.get("use").is_none_or(|usage| usage == "sig")
        && key.get("alg").is_none_or(|alg| alg == "EdDSA" || alg == "Ed25519")
        && key.get("key_ops").is_none_or(|ops| ops.as_array().is_some_and(|ops| ops.contains(&json!("verify"))))
}

/// Any answer: read as a discovery document, and as that of the device authorization endpoint.
pub fn discovery(raw: &[u8]) {
    for issuer in [ISSUER, "http://127.0.0.1:4000/idp"] {
        let local = issuer.starts_with("http:");
        let may_be_called = |address: &str| {
            let rest = address.strip_prefix("https://").or(address.strip_prefix("http://").filter(|_| local));
            rest.is_some_and(|rest| {
                let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
                let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
                let is_link_local = host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_link_local());
                !authority.is_empty() && !authority.contains('@') && !is_link_local
            })
        };
        if let Ok(metadata) = strangers::discovery(raw, issuer) {
            let plain: Value = serde_json::from_slice(raw).expect("JSON");
            assert_eq!(plain["issuer"], issuer);
            let optional = [&metadata.device_authorization_endpoint, &metadata.userinfo_endpoint];
            let all = [&metadata.token_endpoint, &metadata.jwks_uri].into_iter().chain(optional.into_iter().flatten());
            for url in all {
                assert!(may_be_called(url.as_str()), "{url}");
            }
            assert!(!metadata.client_authentication.is_empty());
        }
        if let Some(Ok(prompt)) = strangers::device_code(raw, issuer) {
            let addresses = [Some(&prompt.verification_uri), prompt.verification_uri_complete.as_ref()];
            for address in addresses.into_iter().flatten() {
                let page = address.get(..8).is_some_and(|start| start.eq_ignore_ascii_case("https://"));
                assert!(page || local, "{address}");
                assert!(address.bytes().all(|byte| byte.is_ascii_graphic()) && !address.contains(['"', '<', '\'']));
            }
            assert!(!prompt.user_code.is_empty() && prompt.user_code.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(!prompt.expires_in.is_zero() && prompt.expires_in.as_secs() <= 300);
        }
    }
}
