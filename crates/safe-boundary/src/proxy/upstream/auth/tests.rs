//! Logins by what the server asks: which are answered, which are refused, and how a lying server fails.

use super::*;

/// A server's side of a message: AuthenticationXYZ with this code and content.
fn request(code: u32, content: &[u8]) -> Vec<u8> {
    [&code.to_be_bytes(), content].concat()
}

fn answer(exchange: &mut Exchange<'_>, code: u32, content: &[u8]) -> Result<Step, Error> {
    exchange.answer(Authentication::parse(&request(code, content)).unwrap())
}

fn binding(wanted: ChannelBinding, tls: bool, hash: bool) -> Binding {
    Binding { wanted, tls, server_end_point: hash.then(|| vec![7; 32]) }
}

const BOTH: &[u8] = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
const BARE: &[u8] = b"SCRAM-SHA-256\0\0";
const OK: u32 = 0;
const SASL: u32 = 10;

#[test]
fn the_mechanism_follows_offer_wish_and_certificate() {
    use ChannelBinding::{Disable, Prefer, Require};
    for (wanted, tls, hash, offered, expected) in [
        (Prefer, true, true, BOTH, Ok("SCRAM-SHA-256-PLUS p=tls-server-end-point,,")),
        (Require, true, true, BOTH, Ok("SCRAM-SHA-256-PLUS p=tls-server-end-point,,")),
        (Disable, true, true, BOTH, Ok("SCRAM-SHA-256 n,,")),
        // `y`: a server that did offer -PLUS learns that someone struck it out.
        (Prefer, true, true, BARE, Ok("SCRAM-SHA-256 y,,")),
        (Prefer, true, false, BOTH, Ok("SCRAM-SHA-256 n,,")),
        (Prefer, false, false, BARE, Ok("SCRAM-SHA-256 n,,")),
        (Require, true, true, BARE, Err("channel binding fails: the server does not offer SCRAM-SHA-256-PLUS")),
        (Require, true, false, BOTH, Err("channel binding fails: the certificate's signature algorithm names no hash")),
        (Require, false, false, BARE, Err("channel binding fails: the server does not offer SCRAM-SHA-256-PLUS")),
        (
            Prefer,
            false,
            false,
            BOTH,
            Err("channel binding fails: the server offers it without TLS: something in between ends the TLS"),
        ),
        (
            Prefer,
            true,
            true,
            b"OAUTHBEARER\0\0",
            Err(
                "the server asks for SASL (OAUTHBEARER) authentication: write `scram-sha-256` or `cert` in pg_hba.conf",
            ),
        ),
    ] {
        let mut exchange = Exchange::new(Some("secret"), binding(wanted, tls, hash));
        let found = answer(&mut exchange, SASL, offered);
        match (found, expected) {
            (Ok(Step::Send(sent)), Ok(expected)) => {
                let sent = pgproto::sasl::InitialResponse::parse(&sent[5..]).unwrap();
                let found = [sent.mechanism, b" ", sent.data.unwrap()].concat();
                let found = String::from_utf8(found).unwrap();
                assert!(found.starts_with(&format!("{expected}n=,r=")), "{wanted:?} {tls} {hash}: {found}");
            }
            (Err(error), Err(expected)) => assert_eq!(error.to_string(), expected),
            (found, expected) => panic!("{wanted:?} {tls} {hash}: {found:?}, expected {expected:?}"),
        }
    }
}

#[test]
fn no_proof_no_session() {
    let prefer = || binding(ChannelBinding::Prefer, false, false);
    let mut trusted = Exchange::new(None, prefer());
    assert!(matches!(answer(&mut trusted, OK, b""), Ok(Step::Done)));
    assert!(trusted.is_over());

    let mut unbound = Exchange::new(Some("secret"), binding(ChannelBinding::Require, true, true));
    assert!(matches!(answer(&mut unbound, OK, b""), Err(Error::ChannelBinding { .. })));

    let mut short = Exchange::new(Some("secret"), prefer());
    assert!(matches!(answer(&mut short, SASL, BARE), Ok(Step::Send(_))));
    assert!(matches!(answer(&mut short, OK, b""), Err(Error::ServerUnproven(_))), "Ok after our first message");

    let mut no_password = Exchange::new(None, prefer());
    assert!(matches!(answer(&mut no_password, SASL, BARE), Err(Error::NoPassword)));
}

/// Our nonce, with something behind it, as the server's first message.
fn server_first(sent: &[u8], iterations: u32) -> Vec<u8> {
    let sent = pgproto::sasl::InitialResponse::parse(&sent[5..]).unwrap();
    let text = String::from_utf8(sent.data.unwrap().to_vec()).unwrap();
    let nonce = text.split("r=").nth(1).unwrap().to_owned();
    format!("r={nonce}server,s=c2FsdHNhbHQ=,i={iterations}").into_bytes()
}

#[test]
fn a_server_that_does_not_know_the_password_is_found_out() {
    for last in [b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".as_slice(), b"e=invalid-proof", b"v=", b"", b"\xff"]
    {
        let mut exchange = Exchange::new(Some("secret"), binding(ChannelBinding::Prefer, false, false));
        let Ok(Step::Send(sent)) = answer(&mut exchange, SASL, BARE) else { panic!("no first message") };
        assert!(matches!(answer(&mut exchange, 11, &server_first(&sent, 4096)), Ok(Step::Send(_))));
        assert!(matches!(answer(&mut exchange, 12, last), Err(Error::ServerUnproven(_))), "{last:?}");
    }
    let mut early = Exchange::new(Some("secret"), binding(ChannelBinding::Prefer, false, false));
    let Ok(Step::Send(sent)) = answer(&mut early, SASL, BARE) else { panic!("no first message") };
    assert!(matches!(answer(&mut early, 11, &server_first(&sent, 4096)), Ok(Step::Send(_))));
    assert!(matches!(answer(&mut early, OK, b""), Err(Error::ServerUnproven(_))), "Ok in place of the proof");
    let mut endless = Exchange::new(Some("secret"), binding(ChannelBinding::Prefer, false, false));
    let Ok(Step::Send(sent)) = answer(&mut endless, SASL, BARE) else { panic!("no first message") };
    let found = answer(&mut endless, 11, &server_first(&sent, 2_000_000_000));
    assert!(matches!(found, Err(Error::ServerUnproven(_))), "an iteration count that takes hours");
}

#[test]
fn the_reason_of_a_server_that_proves_nothing_is_cleaned_and_cut() {
    let lie = format!("e=no\x1b[31m\n{}", "x".repeat(10_000)).into_bytes();
    let found = |exchange: &mut Exchange<'_>, code: u32, message: &[u8]| {
        let error = answer(exchange, code, message).unwrap_err();
        assert!(matches!(error, Error::ServerUnproven(_)), "{error:?}");
        let text = crate::causes::line(&error);
        assert!(!text.chars().any(char::is_control) && text.len() < 2_000, "{text:?}");
        text
    };
    let mut exchange = Exchange::new(Some("secret"), binding(ChannelBinding::Prefer, false, false));
    let Ok(Step::Send(sent)) = answer(&mut exchange, SASL, BARE) else { panic!("no first message") };
    assert!(matches!(answer(&mut exchange, 11, &server_first(&sent, 4096)), Ok(Step::Send(_))));
    let text = found(&mut exchange, 12, &lie);
    assert!(text.contains("no [31m xxx"), "what it said is told all the same: {text:?}");
    let mut early = Exchange::new(Some("secret"), binding(ChannelBinding::Prefer, false, false));
    assert!(matches!(answer(&mut early, SASL, BARE), Ok(Step::Send(_))));
    found(&mut early, 11, &lie);
}

#[test]
fn weak_and_unknown_kinds_are_refused_at_any_time() {
    for (code, content, expected) in [
        (3, &b""[..], "the server asks for cleartext password authentication, which is refused"),
        (5, b"salt", "the server asks for MD5 password authentication, which is refused"),
        (2, b"", "the server asks for Kerberos V5 authentication"),
        (7, b"", "the server asks for GSSAPI authentication"),
        (8, b"x", "the server asks for GSSAPI authentication"),
        (9, b"", "the server asks for SSPI authentication"),
        (99, b"", "the server asks for unknown (99) authentication"),
        (12, b"v=", "the server does not keep to the protocol: Authentication came out of turn"),
    ] {
        for begun in [false, true] {
            let mut exchange = Exchange::new(Some("secret"), binding(ChannelBinding::Prefer, false, false));
            if begun {
                answer(&mut exchange, SASL, BARE).unwrap();
            }
            let found = answer(&mut exchange, code, content).unwrap_err().to_string();
            assert!(found.starts_with(expected), "{code} {begun}: {found}");
        }
    }
}
