//! A valid token passes; then each claim, key, algorithm, header and time is made wrong in turn, and refused.

use std::sync::LazyLock;

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeySize};
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RsaEncoding};
use base64::prelude::BASE64_STANDARD;
use serde_json::json;

use super::*;

mod claims;
mod keys;

const NOW: i64 = 1_790_000_000;
const ISSUER: &str = "https://idp.example.com";

/// One key of each kind, made once: RSA keys are slow to make.
struct Keys {
    rsa: RsaKeyPair,
    other_rsa: RsaKeyPair,
    p256: Vec<u8>,
    p384: Vec<u8>,
    ed: Ed25519KeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    other_rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    p256: pkcs8(&signature::ECDSA_P256_SHA256_FIXED_SIGNING),
    p384: pkcs8(&signature::ECDSA_P384_SHA384_FIXED_SIGNING),
    ed: Ed25519KeyPair::generate().unwrap(),
});

fn pkcs8(algorithm: &'static signature::EcdsaSigningAlgorithm) -> Vec<u8> {
    EcdsaKeyPair::generate_pkcs8(algorithm, &SystemRandom::new()).unwrap().as_ref().to_vec()
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn ec_sign(algorithm: &'static signature::EcdsaSigningAlgorithm, pkcs8: &[u8], message: &str) -> Vec<u8> {
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).unwrap();
    pair.sign(&SystemRandom::new(), message.as_bytes()).unwrap().as_ref().to_vec()
}

fn rsa_sign(pair: &RsaKeyPair, padding: &'static dyn RsaEncoding, message: &str) -> Vec<u8> {
    let mut signature = vec![0; pair.public_modulus_len()];
    pair.sign(padding, &SystemRandom::new(), message.as_bytes(), &mut signature).unwrap();
    signature
}

fn signature_of(alg: &str, message: &str) -> Vec<u8> {
    let rsa = |padding| rsa_sign(&KEYS.rsa, padding, message);
    match alg {
        "RS256" => rsa(&signature::RSA_PKCS1_SHA256),
        "RS384" => rsa(&signature::RSA_PKCS1_SHA384),
        "RS512" => rsa(&signature::RSA_PKCS1_SHA512),
        "PS256" => rsa(&signature::RSA_PSS_SHA256),
        "PS384" => rsa(&signature::RSA_PSS_SHA384),
        "PS512" => rsa(&signature::RSA_PSS_SHA512),
        "ES256" => ec_sign(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, &KEYS.p256, message),
        "ES384" => ec_sign(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, &KEYS.p384, message),
        "EdDSA" | "Ed25519" => KEYS.ed.sign(message.as_bytes()).as_ref().to_vec(),
        other => panic!("{other}"),
    }
}

fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", b64(header), b64(claims))
}

/// A token with these texts as header and claims, signed as `alg` says whatever the header says.
fn signed(alg: &str, header: &str, claims: &str) -> String {
    let message = message(header, claims);
    format!("{message}.{}", b64(signature_of(alg, &message)))
}

fn token(claims: &Value) -> String {
    signed("RS256", r#"{"alg":"RS256","kid":"rsa","typ":"JWT"}"#, &claims.to_string())
}

fn rsa_jwk(kid: &str, pair: &RsaKeyPair) -> Value {
    // RSAPublicKey in DER: both lengths take four bytes, and a zero keeps the modulus positive.
    let der = pair.public_key().as_ref();
    json!({ "kty": "RSA", "kid": kid, "use": "sig", "n": b64(&der[9..265]), "e": "AQAB" })
}

fn ec_jwk(kid: &str, curve: &str, pkcs8: &[u8]) -> Value {
    let algorithm = match curve {
        "P-256" => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
        _ => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
    };
    let pair = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8).unwrap();
    let (x, y) = pair.public_key().as_ref()[1..].split_at(if curve == "P-256" { 32 } else { 48 });
    json!({ "kty": "EC", "kid": kid, "crv": curve, "x": b64(x), "y": b64(y) })
}

fn ed_jwk(kid: &str) -> Value {
    json!({ "kty": "OKP", "kid": kid, "crv": "Ed25519", "x": b64(KEYS.ed.public_key().as_ref()) })
}

fn key_set(keys: &[Value]) -> KeySet {
    KeySet::parse(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn all_keys() -> KeySet {
    let (p256, p384) = (ec_jwk("p256", "P-256", &KEYS.p256), ec_jwk("p384", "P-384", &KEYS.p384));
    key_set(&[rsa_jwk("rsa", &KEYS.rsa), p256, p384, ed_jwk("ed"), json!({ "kty": "oct", "k": "AAAA", "kid": "oct" })])
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
        nonce: None,
        access_token: None,
    }
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": "client", "sub": "00u1", "email": "alice@example.com",
        "exp": NOW + 300, "iat": NOW - 5, "groups": ["on-call", "engineering"],
    })
}

fn now() -> Timestamp {
    Timestamp::from_second(NOW).unwrap()
}

/// The outcome in one word: `ok`, or the name of the error.
fn outcome(token: &str, keys: &KeySet, rules: &Rules) -> String {
    match verify(token, keys, rules, now()) {
        Ok(_) => "ok".to_owned(),
        Err(TokenError::Key(error)) => format!("{error:?}"),
        Err(error) => {
            assert!(!error.to_string().contains(['\n', '\u{202e}', '\0']), "{error}");
            format!("{error:?}").split(|c: char| !c.is_alphanumeric()).next().unwrap().to_owned()
        }
    }
}

#[test]
fn a_valid_token_of_each_accepted_algorithm_passes() {
    let keys = all_keys();
    for (alg, kid) in [
        ("RS256", "rsa"),
        ("RS384", "rsa"),
        ("RS512", "rsa"),
        ("PS256", "rsa"),
        ("PS384", "rsa"),
        ("PS512", "rsa"),
        ("ES256", "p256"),
        ("ES384", "p384"),
        ("EdDSA", "ed"),
        ("Ed25519", "ed"),
    ] {
        let header = json!({ "alg": alg, "kid": kid }).to_string();
        assert_eq!(outcome(&signed(alg, &header, &claims().to_string()), &keys, &rules()), "ok", "{alg}");
    }
}

#[test]
fn an_identity_has_what_the_token_says() {
    let mut claims = claims();
    claims["acr"] = json!("urn:mfa");
    claims["amr"] = json!(["pwd", "otp", 7]);
    claims["auth_time"] = json!(NOW - 60);
    let identity = verify(&token(&claims), &all_keys(), &rules(), now()).unwrap();
    assert_eq!((identity.login(), identity.issuer(), identity.subject()), ("alice@example.com", ISSUER, "00u1"));
    assert_eq!(identity.groups(), ["engineering", "on-call"]);
    assert_eq!((identity.acr(), identity.amr()), (Some("urn:mfa"), &["pwd".to_owned(), "otp".to_owned()][..]));
    assert_eq!(identity.auth_time().map(Timestamp::as_second), Some(NOW - 60));
    assert_eq!(identity.expires_at().as_second(), NOW + 300);
    assert!(identity.claims_json().contains("urn:mfa"));
}

#[test]
fn each_header_made_wrong_in_turn_is_refused() {
    let keys = all_keys();
    let check = |header: &str, expected: &str| {
        assert_eq!(outcome(&signed("RS256", header, &claims().to_string()), &keys, &rules()), expected, "{header}");
    };
    // b1: no algorithm
    for none in
        ["none", "None", "nOnE", "NONE", "", "RS256 ", "rs256", "RS1", "ES256K", "ES512", "Ed448", "dir", "RSA-OAEP"]
    {
        check(&json!({ "alg": none, "kid": "rsa" }).to_string(), "Algorithm");
    }
    for header in [
        r#"{"kid":"rsa"}"#,
        r#"{"alg":7,"kid":"rsa"}"#,
        r#"{"alg":["RS256"]}"#,
        "[]",
        "",
        "{",
        r#"{"alg":"RS256","alg":"RS256"}"#,
    ] {
        check(header, "Header");
    }
    // b3: key ids
    for kid in ["../../rsa", "' OR 1=1 --", "rsa\r\nx: y", "RSA", "rsa ", "", "/dev/null", "http://127.0.0.1/k"] {
        check(&json!({ "alg": "RS256", "kid": kid }).to_string(), "Unknown");
    }
    check(r#"{"alg":"RS256","kid":7}"#, "Header");
    check(r#"{"alg":"RS256","kid":null}"#, "Header");
    check(r#"{"alg":"RS256","kid":"p256"}"#, "Unfit");
    check(r#"{"alg":"ES256","kid":"rsa"}"#, "Unfit");
    check(r#"{"alg":"ES384","kid":"p256"}"#, "Unfit");
    check(r#"{"alg":"RS256","kid":"oct"}"#, "Unfit");
    check(r#"{"alg":"RS384","kid":"rsa"}"#, "Signature");
    check(r#"{"alg":"PS256","kid":"rsa"}"#, "Signature");
    check(r#"{"alg":"RS256"}"#, "ok");
    // b4: keys that the token brings along are not looked at
    let jwk = rsa_jwk("theirs", &KEYS.other_rsa);
    let theirs = |kid: &str| {
        json!({ "alg": "RS256", "kid": kid, "jwk": jwk, "jku": "http://127.0.0.1:1/jwks",
        "x5u": "http://127.0.0.1:1/x", "x5c": ["AAAA"] })
        .to_string()
    };
    check(&theirs("theirs"), "Unknown");
    let claims = claims().to_string();
    let message = message(&theirs("rsa"), &claims);
    let signature = rsa_sign(&KEYS.other_rsa, &signature::RSA_PKCS1_SHA256, &message);
    assert_eq!(outcome(&format!("{message}.{}", b64(signature)), &keys, &rules()), "Signature");
    // b5, b6: members that change what the token is
    for member in ["crit", "b64", "enc", "zip", "cty"] {
        for value in [json!(["exp"]), json!(false), json!("JWT"), json!(null)] {
            let mut header = json!({ "alg": "RS256", "kid": "rsa" });
            header[member] = value;
            check(&header.to_string(), "HeaderMember");
        }
    }
    // b11: types
    for kind in ["at+jwt", "application/at+jwt", "logout+jwt", "secevent+jwt", "dpop+jwt", "JWE", ""] {
        check(&json!({ "alg": "RS256", "kid": "rsa", "typ": kind }).to_string(), "Type");
    }
    for kind in ["JWT", "jwt", "application/JWT"] {
        check(&json!({ "alg": "RS256", "kid": "rsa", "typ": kind }).to_string(), "ok");
    }
}

#[test]
fn only_compact_signed_tokens_are_read() {
    let good = token(&claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let json_form = json!({ "payload": payload, "protected": header, "signature": signature }).to_string();
    let flat =
        json!({ "payload": payload, "signatures": [{ "protected": header, "signature": signature }] }).to_string();
    for bad in [
        "",
        ".",
        "..",
        "...",
        "a.b",
        &format!("{message}."),
        message,
        &format!("{good}."),
        &format!("{good}.x"),
        &format!(".{good}"),
        &format!("{header}..{signature}.x"),
        &format!("{good}="),
        &format!(" {good}"),
        &format!("{good}\n"),
        &format!("{header}.{payload}.x.{signature}"),
        &json_form,
        &flat,
        &format!("{header}={payload}.{signature}"),
        &format!("{}.{payload}.{signature}", "A".repeat(HEADER_BYTES_MAX + 1)),
    ] {
        let outcome = outcome(bad, &all_keys(), &rules());
        assert!(["NotCompact", "Header", "Signature", "Claims"].contains(&outcome.as_str()), "{outcome}: {bad}");
    }
    assert_eq!(outcome(&format!("{good}{}", "A".repeat(TOKEN_BYTES_MAX)), &all_keys(), &rules()), "TooLarge");
    // nested: a token as the claims of a token
    let nested = signed("RS256", r#"{"alg":"RS256","kid":"rsa"}"#, &good);
    assert_eq!(outcome(&nested, &all_keys(), &rules()), "Claims");
}

#[test]
fn every_character_of_a_token_counts() {
    let good = signed("ES256", r#"{"alg":"ES256","kid":"p256"}"#, &claims().to_string());
    let keys = all_keys();
    assert_eq!(outcome(&good, &keys, &rules()), "ok");
    for at in 0..good.len() {
        let mut bytes = good.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(bytes).unwrap();
        assert_ne!(outcome(&changed, &keys, &rules()), "ok", "at {at}");
    }
    for end in 0..good.len() {
        assert_ne!(outcome(good.get(..end).unwrap(), &keys, &rules()), "ok", "cut at {end}");
    }
}
