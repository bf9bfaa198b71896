//! The port for machines that watch.
//!
//! Promises: whoever can see it is named; nothing is connected to.
//! Deliberately not here: whether somebody watches.

use std::net::SocketAddr;

use super::report::Report;

const SUBJECT: &str = "metrics";

pub(super) fn check(report: &mut Report, metrics: Option<SocketAddr>) {
    match metrics {
        None => {}
        Some(address) if address.ip().to_canonical().is_loopback() => {
            report.ok(SUBJECT, format!("served on {address}, to this machine"));
        }
        Some(address) => report.warn(
            SUBJECT,
            format!("`server.metrics` shows {address} how busy the proxy is, to whoever reaches it, without TLS"),
            "take a loopback address, or keep the port to a network for machines",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Verdict;
    use super::*;
    use crate::cli::Color;

    #[test]
    fn an_address_that_others_reach_is_named() {
        for (address, expected) in [
            (None, None),
            (Some("127.0.0.1:9090"), Some(Verdict::Ok)),
            (Some("[::1]:9090"), Some(Verdict::Ok)),
            (Some("[::ffff:127.0.0.1]:9090"), Some(Verdict::Ok)),
            (Some("0.0.0.0:9090"), Some(Verdict::Warn)),
            (Some("10.0.0.7:9090"), Some(Verdict::Warn)),
        ] {
            let mut report = Report::new(true, Color::Never);
            check(&mut report, address.map(|address: &str| address.parse().unwrap()));
            assert_eq!(report.lines().first().map(|line| line.verdict), expected, "{address:?}");
        }
    }
}
