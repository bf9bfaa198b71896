//! Any first bytes of a connection, before anyone is known: packets, their parameters, and the switches in `options`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgproto::options;
use pgproto::startup::{PACKET_BYTES_MAX, PACKET_BYTES_MIN, Untagged, parse_untagged};

fuzz_target!(|raw: &[u8]| {
    let mut rest = raw;
    while let Ok(Some((packet, consumed))) = parse_untagged(rest) {
        assert!((PACKET_BYTES_MIN..=PACKET_BYTES_MAX).contains(&consumed));
        if let Untagged::Startup(packet) = packet {
            assert!(packet.parameters.iter().count() <= 100);
            assert!(packet.parameters.pq_options().all(|(name, _)| packet.parameters.lookup(name).is_some()));
            if let Some(value) = packet.parameters.lookup(b"options") {
                let _ = options::parse(value);
            }
        }
        rest = rest.get(consumed..).expect("a packet is part of what came");
    }
    let _ = options::parse(raw);
});
