//! Logging in upstream, while the server says what it likes.
//!
//! Promises: whatever a server says that does not know the password, the login does not succeed once SCRAM has begun,
//! and the password is in nothing that is sent.
//! Deliberately not here: servers that do know it; real ones are in the end-to-end tests.

use pgproto::backend::Authentication;
use pgproto::frame::split;
use safe_boundary::strangers::UpstreamLogin;

const PASSWORD: &str = "correct horse battery staple";

/// The server's messages: bodies of Authentication, each after its length in one byte. `N` at the front of a
/// continuation stands for the nonce that we sent, so that fuzzing gets past it.
pub fn upstream_login(raw: &[u8]) {
    let Some((&first, mut rest)) = raw.split_first() else { return };
    let hash = (first & 1 == 1).then(|| vec![first; 32]);
    let mut login = UpstreamLogin::begin(PASSWORD, hash);
    let (mut messages, mut nonce) = (0, Vec::new());
    while let Some((&length, tail)) = rest.split_first() {
        let (body, tail) = tail.split_at(usize::from(length).min(tail.len()));
        rest = tail;
        let body = with_nonce(body, &nonce);
        if is_costly(&body) {
            return;
        }
        let Ok(request) = Authentication::parse(&body) else { continue };
        let was_asked = messages > 0;
        messages += 1;
        let Some((sent, is_over)) = login.answer(request) else { return };
        if is_over {
            assert!(!was_asked && request == Authentication::Ok, "in without proof after {messages} messages");
            return;
        }
        assert!(!contains(&sent, PASSWORD.as_bytes()), "the password is sent");
        if let Ok(Some((frame, after))) = split(&sent) {
            assert!(after.is_empty() && frame.tag() == b'p');
            if let Some(at) = find(frame.body(), b",r=") {
                nonce = frame.body()[at + 3..].to_vec();
            }
        }
    }
}

fn with_nonce(body: &[u8], nonce: &[u8]) -> Vec<u8> {
    match body.split_first_chunk::<4>() {
        Some((code @ [0, 0, 0, 11], [b'N', rest @ ..])) => [code, &b"r="[..], nonce, rest].concat(),
        _ => body.to_vec(),
    }
}

/// Many rounds of the key derivation are allowed, up to a bound, and only cost the fuzzer its time.
fn is_costly(body: &[u8]) -> bool {
    find(body, b",i=").is_some_and(|at| {
        let digits = body[at + 3..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        (4..=6).contains(&digits)
    })
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    find(text, part).is_some()
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    text.windows(part.len()).position(|window| window == part)
}
