//! The last file descriptors are the trail's.

use std::fs;
use std::process::Command;

use super::peer::{Peer, V3_0, psql};
use super::support::http;
use super::support::proxy::{METRICS_PORT, Settings, said};
use super::support::wire::{query, results};
use super::support::{ALICE, BOB, Stage};

/// Strangers take all that they may have; then neither whoever asks for metrics, nor a request to the provider, gets one of
/// those that are kept. Afterwards both do.
#[test]
fn d2_only_the_trail_takes_the_last_descriptors() {
    let stage = Stage::with(&Settings { server: METRICS_PORT, ..Settings::default() });
    let mut honest = Peer::signed_in(&stage, ALICE);
    let mut early = Peer::tls(&stage);
    // Its handshake is over when it is asked for more.
    early.write(&[]);
    let metrics = || http::request(&stage.proxy.metrics_authority(), "GET", "/healthz", "").map(|answer| answer.status);
    assert_eq!(metrics(), Ok(200));
    let codes = stage.idp.codes_made();
    let open = fs::read_dir(format!("/proc/{}/fd", stage.proxy.id())).unwrap().count();
    let count = format!("--nofile={}:4096", open + 45);
    assert!(Command::new("prlimit").args(["--pid", &stage.proxy.id().to_string(), &count]).status().unwrap().success());
    let strangers: Vec<_> = (0..100).map(|_| Peer::plain(stage.proxy.address)).collect();
    stage.proxy.log.wait_for(|line| said(line, "cannot accept connections"));
    metrics().unwrap_err();
    early.write(&psql(V3_0, BOB, &[]));
    let (code, message, _) = early.refused();
    assert_eq!((code.as_str(), message.as_str()), ("08006", "the identity provider cannot be reached"));
    assert_eq!(stage.idp.codes_made(), codes);
    honest.write(&query("select 'on'"));
    assert_eq!(results(&honest.ready()), ["SELECT 1"]);
    drop(strangers);
    Peer::signed_in(&stage, BOB);
    assert_eq!(metrics(), Ok(200));
}
