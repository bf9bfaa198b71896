//! The target of this name in `fuzz-targets`.
#![no_main]

libfuzzer_sys::fuzz_target!(|raw: &[u8]| fuzz_targets::table::run("config", raw));
