//! Floating-point numbers as PostgreSQL prints them.
//!
//! Promises: the fewest digits that lie strictly between the halves to the two neighbours, the nearest of those.
//! Deliberately not here: `extra_float_digits` below its default.
//!
//! Source: the server's `double_to_shortest_decimal_buf`. Rust's own shortest form differs: it takes a decimal that lies
//! exactly half way, as 1e23 does, which the server prints as 9.999999999999999e+22.

/// A finite number as `mantissa * 2^exponent`.
#[derive(Clone, Copy)]
struct Parts {
    mantissa: u64,
    exponent: i32,
    /// The neighbour below is half as far away as the one above.
    is_at_edge: bool,
}

impl Parts {
    fn of(bits: u64, mantissa_bits: u32, exponent_bits: u32) -> Option<Self> {
        let fraction = bits & ((1 << mantissa_bits) - 1);
        let biased = (bits >> mantissa_bits) & ((1 << exponent_bits) - 1);
        let bias = (1_i32 << (exponent_bits - 1)) - 1 + i32::try_from(mantissa_bits).ok()?;
        let exponent = i32::try_from(biased.max(1)).ok()? - bias;
        let mantissa = if biased == 0 { fraction } else { fraction | (1 << mantissa_bits) };
        Some(Self { mantissa, exponent, is_at_edge: fraction == 0 && biased > 1 })
    }

    /// Whether `digits * 10^power` is half way to a neighbour.
    fn is_half_way(self, digits: u64, power: i32) -> bool {
        let twice = self.mantissa * 2;
        let above = (twice + 1, self.exponent - 1);
        let below = if self.is_at_edge {
            (twice * 2 - 1, self.exponent - 2)
        } else {
            (twice.saturating_sub(1), self.exponent - 1)
        };
        [above, below].into_iter().any(|(half, exponent)| {
            // Both sides without their factors of two: the halves are odd.
            let zeros = digits.trailing_zeros();
            let odd = u128::from(digits >> zeros);
            let fives = 5_u128.checked_pow(power.unsigned_abs());
            let (left, right) = if power >= 0 { (odd, u128::from(half)) } else { (u128::from(half), odd) };
            let is_same = fives.and_then(|fives| left.checked_mul(fives)) == Some(right);
            is_same && i64::from(zeros) + i64::from(power) == i64::from(exponent)
        })
    }
}

/// Prints a `float4`.
pub(super) fn float4(value: f32) -> Option<String> {
    let parts = Parts::of(u64::from(value.to_bits()), 23, 8)?;
    print(parts, &format!("{value:e}"), 6, |digits| format!("{value:.digits$e}"), |text| text.parse() == Ok(value))
}

/// Prints a `float8`.
pub(super) fn float8(value: f64) -> Option<String> {
    let parts = Parts::of(value.to_bits(), 52, 11)?;
    print(parts, &format!("{value:e}"), 15, |digits| format!("{value:.digits$e}"), |text| text.parse() == Ok(value))
}

/// `rounded` gives so many digits behind the point, `is_it` says whether a text reads as the value.
fn print(
    parts: Parts,
    shortest: &str,
    plain_below: i32,
    rounded: impl Fn(usize) -> String + Copy,
    is_it: impl Fn(&str) -> bool,
) -> Option<String> {
    let unsigned = shortest.trim_start_matches('-');
    let sign = if unsigned.len() < shortest.len() { "-" } else { "" };
    match unsigned {
        "NaN" => return Some("NaN".to_owned()),
        "inf" => return Some(format!("{sign}Infinity")),
        "0e0" => return Some(format!("{sign}0")),
        _ => {}
    }
    let places = figures(shortest)?.0.len() - 1;
    // Of two that are as near the even one, which is how rounding goes; but next to an edge the other side may be it.
    let nearest = std::iter::once(rounded(places)).chain([shortest.to_owned()]);
    let candidates = nearest.chain((places + 1..17).map(rounded)).filter(|text| is_it(text));
    for text in candidates {
        let (figures, exponent) = figures(&text)?;
        let power = exponent - i32::try_from(figures.len() - 1).ok()?;
        if !parts.is_half_way(figures.parse().ok()?, power) {
            return layout(sign, &figures, exponent, plain_below);
        }
    }
    None
}

/// The digits of `D.DDDeN`, and N.
fn figures(scientific: &str) -> Option<(String, i32)> {
    let (mantissa, exponent) = scientific.split_once('e')?;
    Some((mantissa.chars().filter(char::is_ascii_digit).collect(), exponent.parse().ok()?))
}

/// Digits with the point behind the first, times ten to the exponent: written out where that is not too small or large.
fn layout(sign: &str, figures: &str, exponent: i32, plain_below: i32) -> Option<String> {
    if !(-4..plain_below).contains(&exponent) {
        let (first, rest) = figures.split_at_checked(1)?;
        let point = if rest.is_empty() { "" } else { "." };
        let direction = if exponent < 0 { '-' } else { '+' };
        return Some(format!("{sign}{first}{point}{rest}e{direction}{:02}", exponent.unsigned_abs()));
    }
    let places = usize::try_from(exponent.unsigned_abs()).ok()?;
    if exponent < 0 {
        return Some(format!("{sign}0.{}{figures}", "0".repeat(places - 1)));
    }
    Some(match figures.split_at_checked(places + 1) {
        Some((whole, "")) => format!("{sign}{whole}"),
        Some((whole, fraction)) => format!("{sign}{whole}.{fraction}"),
        None => format!("{sign}{figures:0<width$}", width = places + 1),
    })
}
