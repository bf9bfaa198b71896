//! Durations and sizes with units.
//!
//! Promises: a number without a unit is refused (but `0` as a duration), and so is what does not fit.
//! Deliberately not here: ranges; each key has its own.

use std::time::Duration;

/// Reads a duration: a whole number and `ms`, `s`, `m`, `h` or `d`; or `0`.
pub(super) fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let (number, unit) = split(text)?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return None,
    };
    // More than a century is a mistake, and adding it to a time might not fit.
    let total = number.checked_mul(milliseconds).filter(|&total| total <= 100 * 366 * 24 * 60 * 60 * 1000)?;
    Some(Duration::from_millis(total))
}

/// Reads a size in bytes: a whole number and `B`, `KiB`, `MiB` or `GiB`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = split(text)?;
    let bytes = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(bytes)
}

/// Digits, then letters.
fn split(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit())?;
    let (digits, unit) = text.split_at_checked(end)?;
    Some((digits.parse().ok()?, unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        let check = |text, expected: Option<u64>| {
            assert_eq!(duration(text), expected.map(Duration::from_millis), "{text}");
        };
        check("0", Some(0));
        check("0s", Some(0));
        check("500ms", Some(500));
        check("30s", Some(30_000));
        check("5m", Some(300_000));
        check("12h", Some(43_200_000));
        check("90d", Some(7_776_000_000));
        for bad in ["", "30", "s", "30 s", "30sec", "-1s", "+1s", "1.5h", "1h30m", "5M", "99999999999999999999s"] {
            check(bad, None);
        }
        check("18446744073709551615d", None);
        check("40000d", None);
        check("36600d", Some(3_162_240_000_000));
        check("3162240000000ms", Some(3_162_240_000_000));
        check("3162240000001ms", None);
        check("18446744073709551615ms", None);
    }

    #[test]
    fn sizes() {
        let check = |text, expected| assert_eq!(size(text), expected, "{text}");
        check("512B", Some(512));
        check("64KiB", Some(65_536));
        check("16MiB", Some(16_777_216));
        check("1GiB", Some(1_073_741_824));
        for bad in ["", "16", "16MB", "16 MiB", "MiB", "-1MiB", "16mib", "99999999999999999999B", "99999999999GiB"] {
            check(bad, None);
        }
    }
}
