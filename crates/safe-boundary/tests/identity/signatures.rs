//! Who signed the token, and how: rows b1 to b7.

use std::io::Write as _;
use std::process::{Command, Stdio};

use jsonwebtoken::Algorithm;
use rcgen::PublicKeyData as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::stage::{Kind, Setting, Stage};
use super::support::liar::{Draft, Lie, Trap, base64_url, keys};

#[test]
fn b1_a_token_without_a_signature_says_nothing() {
    let mut lies = Vec::new();
    for alg in ["none", "None", "nOnE", "NONE", "", "rs256", "RS256 ", "ES512", "RS1", "dir"] {
        let signed = |signature: &'static [u8]| {
            Lie::new(format!("alg {alg:?}"), "algorithm `", move |draft: &mut Draft| {
                draft.signed_by(alg, "rsa", move |_| signature.to_vec());
            })
        };
        lies.extend([signed(b"\0"), signed(b"not a signature")]);
    }
    let bare = |alg: &'static str| {
        Lie::whole("no third part", "compact form", move |token| {
            let claims = token.split('.').nth(1).unwrap();
            format!("{}.{claims}.", base64_url(json!({ "alg": alg, "kid": "rsa" }).to_string()))
        })
    };
    lies.extend([
        bare("none"),
        bare("RS256"),
        Lie::no_header("alg", "header is malformed"),
        Lie::header("alg", 7, "header is malformed"),
        Lie::header("alg", json!(["none", "RS256"]), "header is malformed"),
        Lie::whole("no signature and no dot", "compact form", |token| token.rsplit_once('.').unwrap().0.to_owned()),
        Lie::whole("another signature", "signature is wrong", |token| {
            format!("{}.{}", token.rsplit_once('.').unwrap().0, base64_url([7; 256]))
        }),
    ]);
    Stage::start().refuses(&lies);
}

/// HS256 and its kin, with everything that anybody knows of the public key as the secret.
#[test]
fn b2_a_public_key_is_no_shared_secret() {
    let stage = Stage::start();
    let pem = keys::RSA.public_key_pem();
    let secrets: [(&str, Vec<u8>); 8] = [
        ("PEM", pem.clone().into_bytes()),
        ("PEM without its last newline", pem.trim_end().to_owned().into_bytes()),
        ("PEM with CRLF", pem.replace("\r\n", "\n").replace('\n', "\r\n").into_bytes()),
        ("DER", keys::RSA.subject_public_key_info()),
        ("DER of RSA's own form", keys::RSA.public_key_raw().to_vec()),
        ("JWK", keys::rsa_jwk("rsa", &keys::RSA).to_string().into_bytes()),
        ("modulus", keys::modulus(&keys::RSA)),
        ("nothing", Vec::new()),
    ];
    stage.liar.publish([json!({ "kty": "oct", "kid": "oct", "k": base64_url(&secrets[6].1) })]);
    let mut lies = Vec::new();
    for (what, secret) in &secrets {
        for (alg, algorithm) in [("HS256", Algorithm::HS256), ("HS384", Algorithm::HS384), ("HS512", Algorithm::HS512)]
        {
            for kid in ["rsa", "oct"] {
                let secret = secret.clone();
                lies.push(Lie::new(format!("{alg} with {what} as {kid}"), "algorithm `HS", move |draft| {
                    let secret = secret.clone();
                    draft.signed_by(alg, kid, move |message| keys::hmac(algorithm, &secret, message));
                }));
            }
        }
    }
    stage.refuses(&lies);
}

#[test]
fn b3_a_key_id_is_a_name_and_nothing_else() {
    let stage = Stage::start();
    let (one, other) = (keys::ec_jwk("twin", "P-256", &keys::P256), keys::rsa_jwk("twin", &keys::THEIRS));
    stage.liar.publish([one, other, keys::ec_jwk("p256", "P-256", &keys::P256)]);
    stage.liar.publish([keys::rsa_jwk("other", &keys::THEIRS), json!({ "kty": "oct", "k": "AAAA", "kid": "oct" })]);
    let unknown = [
        "../../rsa",
        "/dev/null",
        "C:\\rsa",
        "' OR 1=1 --",
        "rsa' UNION SELECT 'rsa",
        "rsa\r\nx-key: y",
        "rsa\0",
        "RSA",
        "rsa ",
        "",
        "*",
        "http://127.0.0.1/key",
        "$(id)",
    ];
    let mut lies: Vec<_> = unknown.iter().map(|kid| Lie::header("kid", *kid, "no key of the provider")).collect();
    lies.extend([
        Lie::header("kid", "x".repeat(4000), "no key of the provider"),
        Lie::header("kid", 7, "header is malformed"),
        Lie::header("kid", json!(null), "header is malformed"),
        Lie::header("kid", json!(["rsa"]), "header is malformed"),
        Lie::no_header("kid", "several keys"),
        Lie::header("kid", "twin", "several keys"),
        Lie::header("kid", "p256", "not for the token's algorithm"),
        Lie::header("kid", "oct", "not for the token's algorithm"),
        Lie::header("kid", "one", "not for the token's algorithm"),
        Lie::header("kid", "other", "signature is wrong"),
        Lie::new("the twin that fits", "several keys", |draft| {
            draft.signed_by("ES256", "twin", |message| keys::sign_ec(Algorithm::ES256, &keys::P256, message));
        }),
    ]);
    stage.refuses(&lies);
}

/// Keys that a token brings along, by address or in person: nobody looks.
#[test]
fn b4_a_token_brings_no_keys() {
    let stage = Stage::start();
    let trap = Trap::set();
    let address = format!("http://{}/jwks", trap.address);
    let jwk = keys::rsa_jwk("theirs", &keys::THEIRS);
    let mut lies = Vec::new();
    for (kid, why) in [("theirs", "no key of the provider"), ("rsa", "signature is wrong")] {
        for (member, value) in [
            ("jku", json!(address)),
            ("x5u", json!(address)),
            ("jwk", jwk.clone()),
            ("x5c", json!([base64_url(keys::THEIRS.subject_public_key_info())])),
            ("x5t#S256", json!(base64_url([1; 32]))),
        ] {
            lies.push(Lie::new(format!("{member} as {kid}"), why, move |draft| {
                draft.header[member] = value.clone();
                draft.signed_by("RS256", kid, |message| keys::sign(&keys::THEIRS, message));
            }));
        }
    }
    stage.refuses(&lies);
    // Beside an honest signature they are ignored: some providers send them.
    stage.believes(&[Lie::header("jku", address.clone(), ""), Lie::header("x5u", address, "")]);
    assert_eq!(trap.hits(), 0);
}

#[test]
fn b5_what_is_critical_and_not_understood_is_refused() {
    let why = "`crit`, which is not supported";
    // https with a private authority is the same to all of this.
    Stage::with(&Setting { kind: Kind::Tls, ..Setting::default() }).refuses(&[
        Lie::header("crit", json!(["exp"]), why),
        Lie::header("crit", json!(["urn:example:never-heard-of"]), why),
        Lie::header("crit", json!([]), why),
        Lie::header("crit", json!("exp"), why),
        Lie::header("crit", json!(null), why),
        Lie::new("b64 as critical", why, |draft| {
            (draft.header["crit"], draft.header["b64"]) = (json!(["b64"]), json!(true));
        }),
    ]);
}

#[test]
fn b6_only_a_plain_signed_token_is_one() {
    let parts = |token: &str| token.split('.').map(str::to_owned).collect::<Vec<_>>();
    let compact = "compact form";
    Stage::start().refuses(&[
        Lie::header("b64", false, "`b64`"),
        Lie::header("enc", "A256GCM", "`enc`"),
        Lie::header("zip", "DEF", "`zip`"),
        Lie::header("cty", "JWT", "`cty`"),
        Lie::new("alg of a JWE", "algorithm `RSA-OAEP`", |draft| draft.header["alg"] = json!("RSA-OAEP")),
        Lie::whole("JWE: five parts", compact, move |token| {
            let [header, claims, signature] = parts(token).try_into().unwrap();
            format!("{header}.{claims}.{signature}.{claims}.{signature}")
        }),
        Lie::whole("flattened JSON", compact, move |token| {
            let [header, claims, signature] = parts(token).try_into().unwrap();
            json!({ "payload": claims, "protected": header, "signature": signature }).to_string()
        }),
        Lie::whole("general JSON", compact, move |token| {
            let [header, claims, signature] = parts(token).try_into().unwrap();
            let signatures = json!([{ "protected": header, "signature": signature }]);
            json!({ "payload": claims, "signatures": signatures }).to_string()
        }),
        Lie::new("a token in a token", "claims are malformed", |draft| {
            draft.texts = Some((draft.header.to_string(), draft.token()));
        }),
        Lie::whole("claims apart", "signature is wrong", move |token| {
            let [header, _, signature] = parts(token).try_into().unwrap();
            format!("{header}..{signature}")
        }),
        Lie::whole("a part too many", compact, |token| format!("{token}.x")),
        Lie::whole("padded", "signature is wrong", |token| format!("{token}=")),
        Lie::whole("a space before", compact, |token| format!(" {token}")),
        Lie::whole("a newline behind", "signature is wrong", |token| format!("{token}\n")),
        Lie::whole("empty", compact, |_| String::new()),
    ]);
}

#[test]
fn b7_weak_keys_and_odd_signatures() {
    let stage = Stage::start();
    let mut e1 = keys::rsa_jwk("e1", &keys::RSA);
    e1["e"] = json!("AQ");
    let mut elsewhere = keys::ec_jwk("elsewhere", "P-256", &keys::P384);
    elsewhere["x"] = keys::ec_jwk("", "P-256", &keys::P256)["x"].clone();
    elsewhere["y"] = json!(base64_url([1; 32]));
    let small = Small::make();
    stage.liar.publish([
        keys::ec_jwk("p256", "P-256", &keys::P256),
        keys::ec_jwk("p384", "P-384", &keys::P384),
        keys::ec_jwk("p521", "P-521", &keys::P521),
        keys::ec_jwk("disguised", "P-256", &keys::P384),
        elsewhere,
        e1,
        small.jwk(),
    ]);
    let by = |what: &str, why, alg: &'static str, kid: &'static str, signer: fn(&str) -> Vec<u8>| {
        Lie::new(what, why, move |draft| draft.signed_by(alg, kid, signer))
    };
    let (wrong, unfit, weak) = ("signature is wrong", "not for the token's algorithm", "too weak or malformed");
    let p384 = |message: &str| keys::sign_ec(Algorithm::ES384, &keys::P384, message);
    stage.refuses(&[
        by("r = s = 0", wrong, "ES256", "p256", |_| vec![0; 64]),
        by("r = s = 0 of P-384", wrong, "ES384", "p384", |_| vec![0; 96]),
        by("r = s = order", wrong, "ES256", "p256", |_| [ORDER, ORDER].concat()),
        by("DER", wrong, "ES256", "p256", |message| keys::sign(&keys::P256, message)),
        by("another curve's signature", wrong, "ES256", "p256", p384),
        by("another curve's key", unfit, "ES256", "p384", p384),
        by("another curve's key in disguise", weak, "ES256", "disguised", p384),
        by("a point that is on no curve", wrong, "ES256", "elsewhere", honest_es256),
        by("a curve that is not accepted", unfit, "ES256", "p521", |message| keys::sign(&keys::P521, message)),
        by("e = 1, and anybody can sign", weak, "RS256", "e1", padded),
        Lie::new("RSA of 1024 bits", weak, move |draft| {
            let small = small.clone();
            draft.signed_by("RS256", "small", move |message| small.sign(message));
        }),
    ]);
    // The other of the two signatures that ECDSA has for one message: tokens have either, and both say the same.
    stage.believes(&[
        by("one s", "", "ES256", "p256", honest_es256),
        by("the other s", "", "ES256", "p256", |message| {
            let signature = honest_es256(message);
            [&signature[..32], &order_minus(&signature[32..])].concat()
        }),
        by("P-384", "", "ES384", "p384", p384),
    ]);
}

/// The order of P-256.
const ORDER: [u8; 32] = [
    0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xbc, 0xe6, 0xfa, 0xad, 0xa7,
    0x17, 0x9e, 0x84, 0xf3, 0xb9, 0xca, 0xc2, 0xfc, 0x63, 0x25, 0x51,
];

fn order_minus(s: &[u8]) -> Vec<u8> {
    let mut borrow = 0_i16;
    let mut difference = vec![0; 32];
    for at in (0..32).rev() {
        let digit = i16::from(ORDER[at]) - i16::from(s[at]) - borrow;
        borrow = i16::from(digit < 0);
        difference[at] = u8::try_from(digit.rem_euclid(256)).unwrap();
    }
    difference
}

fn honest_es256(message: &str) -> Vec<u8> {
    keys::sign_ec(Algorithm::ES256, &keys::P256, message)
}

/// What RSA signs (RFC 8017 §9.2); with the exponent 1 it is its own signature.
fn padded(message: &str) -> Vec<u8> {
    const SHA256: [u8; 19] = [0x30, 0x31, 0x30, 0x0d, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1, 5, 0, 4, 0x20];
    [&[0, 1][..], &[0xff; 202], &[0], &SHA256, &Sha256::digest(message)].concat()
}

/// An RSA key that is too small for anybody's library but OpenSSL's.
#[derive(Clone)]
struct Small {
    pem: Vec<u8>,
    modulus: Vec<u8>,
}

impl Small {
    fn make() -> Self {
        let pem = openssl(&["genrsa", "1024"], &[]);
        let text = openssl(&["rsa", "-noout", "-modulus"], &pem);
        let digits = text.strip_prefix(b"Modulus=").unwrap().trim_ascii();
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
        let modulus: Vec<_> = digits.chunks(2).map(byte).collect();
        assert_eq!(modulus.len(), 128);
        Self { pem, modulus }
    }

    fn jwk(&self) -> serde_json::Value {
        json!({ "kty": "RSA", "kid": "small", "n": base64_url(&self.modulus), "e": "AQAB" })
    }

    fn sign(&self, message: &str) -> Vec<u8> {
        let key = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(key.path(), &self.pem).unwrap();
        openssl(&["dgst", "-sha256", "-sign", key.path().to_str().unwrap()], message.as_bytes())
    }
}

/// Runs `openssl` with this input, and gives its output.
fn openssl(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut command = Command::new("openssl");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {arguments:?}");
    output.stdout
}
