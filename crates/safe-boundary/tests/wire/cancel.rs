//! Cancel requests: one's own, and other people's.

use std::time::{Duration, Instant};

use super::peer::{Peer, V3_0, V3_2, cancel};
use super::support::wire::{frame, query, results, values};
use super::support::{ALICE, BOB, Stage};

const LONG: &str = "do $$ begin raise notice 'begun'; perform pg_sleep(60); end $$";

/// Something is running.
pub(crate) fn begin(peer: &mut Peer) {
    peer.write(&query(LONG));
    while peer.message().0 != 'N' {}
}

fn send(stage: &Stage, in_tls: bool, key: &[u8]) {
    let mut peer = if in_tls { Peer::tls(stage) } else { Peer::plain(stage.proxy.address) };
    peer.write(&cancel(key));
    assert!(peer.closes_in_order(), "a cancel is not answered, but closed in order");
}

#[test]
fn a14_one_s_own_cancel_works_at_once() {
    let stage = Stage::start();
    for version in [V3_0, V3_2] {
        let mut peer = Peer::signed_in_with(&stage, ALICE, version, &[]);
        for in_tls in [false, true] {
            begin(&mut peer);
            let sent = Instant::now();
            send(&stage, in_tls, &peer.key.clone());
            assert_eq!(results(&peer.ready()), ["57014"], "{version:?} in TLS: {in_tls}");
            assert!(sent.elapsed() < Duration::from_secs(1), "after {:?}", sent.elapsed());
        }
    }
    let cancels = stage.trail().iter().filter(|record| record.kind() == "cancel").count();
    assert_eq!(cancels, 4);
}

#[test]
fn a14_nobody_else_s_cancel_does_anything() {
    let stage = Stage::start();
    let mut victim = Peer::signed_in_with(&stage, BOB, V3_2, &[]);
    let attacker = Peer::signed_in_with(&stage, ALICE, V3_2, &[]);
    let mut gone = Peer::signed_in(&stage, ALICE);
    let gone_key = gone.key.clone();
    gone.write(&frame('X', b""));
    assert_eq!(gone.until_end(), b"");
    begin(&mut victim);
    let (pid, secret) = victim.key.split_at(4);
    let forged = [
        [pid, &attacker.key[4..]].concat(),
        [&attacker.key[..4], secret].concat(),
        [pid, &secret[..4]].concat(),
        [pid, secret, &[0]].concat(),
        [pid, &secret[..31]].concat(),
        [pid, &[0; 32]].concat(),
        gone_key.clone(),
        [pid, &gone_key[4..]].concat(),
    ];
    for key in &forged {
        send(&stage, true, key);
    }
    // Each is on record, with the process id that it named and no session.
    let all = || stage.trail().into_iter().filter(|record| record.kind() == "cancel").collect::<Vec<_>>();
    stage.wait_for_record(|record| record.kind() == "cancel" && all().len() >= forged.len());
    assert_eq!(all().len(), forged.len());
    // The victim works on: only its own key ends the statement.
    send(&stage, false, &victim.key.clone());
    assert_eq!(results(&victim.ready()), ["57014"]);
    victim.write(&query("select 'alive'"));
    assert_eq!(values(&victim.ready()), ["alive"]);
}

/// Two hundred guesses at once: each is on record, none hits, and the session's own cancel is not lost among them.
#[test]
fn a14_guesses_are_paced_and_recorded() {
    const GUESSES: usize = 200;
    let stage = Stage::start();
    let mut victim = Peer::signed_in(&stage, BOB);
    begin(&mut victim);
    let begun = Instant::now();
    let mut guesses: Vec<_> = (0..GUESSES)
        .map(|number| {
            let mut peer = Peer::plain(stage.proxy.address);
            let secret = u32::try_from(number).unwrap().to_be_bytes();
            peer.write(&cancel(&[&victim.key[..4], &secret].concat()));
            peer
        })
        .collect();
    for guess in &mut guesses {
        assert_eq!(guess.until_end(), b"");
    }
    assert!(begun.elapsed() < Duration::from_secs(15), "guesses are held for {:?}", begun.elapsed());
    let guessed = || stage.trail().iter().filter(|record| record.kind() == "cancel").count();
    stage.wait_for_record(|record| record.kind() == "cancel" && guessed() >= GUESSES);
    assert_eq!(guessed(), GUESSES);
    loop {
        // A guesser has used up the look-ups of this second; those of the next are everyone's again.
        send(&stage, false, &victim.key.clone());
        victim.tcp().set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        if let Some(bytes) = victim.try_bytes() {
            assert_eq!(bytes[0], b'E');
            return;
        }
    }
}

/// What cannot be guessed is looked up however much is guessed: from the same address, in the same second.
#[test]
fn a14_a_long_secret_is_heard_among_guesses() {
    let stage = Stage::start();
    let mut victim = Peer::signed_in_with(&stage, BOB, V3_2, &[]);
    begin(&mut victim);
    for number in 0..30_u32 {
        send(&stage, false, &[&victim.key[..4], &number.to_be_bytes()].concat());
    }
    let sent = Instant::now();
    send(&stage, false, &victim.key.clone());
    assert_eq!(results(&victim.ready()), ["57014"]);
    assert!(sent.elapsed() < Duration::from_secs(1), "after {:?}", sent.elapsed());
}
