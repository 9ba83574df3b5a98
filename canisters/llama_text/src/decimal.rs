//! Decimal numbers to floats.
//!
//! The standard library reads every number there is, with a table of 28 KB. What a configuration holds
//! has few digits and a small exponent, and two words are enough to round it correctly.

/// Largest power of ten that is read, either way: its fives fit in 64 bits.
const MAX_EXPONENT: i32 = 27;

/// Read a number of at most 19 digits with an exponent of at most 27; none for any other text.
pub(crate) fn decimal(text: &str) -> Option<f64> {
    let (text, is_negative) = match text.strip_prefix('-') {
        Some(text) => (text, true),
        None => (text, false),
    };
    let (digits, exponent) = match text.find(['e', 'E']) {
        Some(at) => (&text[..at], text[at + 1..].parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    if whole.is_empty() || fraction.is_empty() {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    let mut mantissa = 0_u64;
    for digit in whole.bytes().chain(fraction.bytes()) {
        let digit = digit.is_ascii_digit().then(|| u64::from(digit - b'0'))?;
        mantissa = mantissa.checked_mul(10)?.checked_add(digit)?;
    }
    let exponent = exponent.checked_sub(i32::try_from(fraction.len()).ok()?)?;
    let value = if mantissa == 0 { 0.0 } else { scaled(mantissa, exponent)? };
    Some(if is_negative { -value } else { value })
}

/// Return a number times a power of ten, rounded once.
fn scaled(mantissa: u64, exponent: i32) -> Option<f64> {
    if exponent.abs() > MAX_EXPONENT {
        return None;
    }
    let fives = 5_u64.pow(exponent.unsigned_abs());
    if exponent >= 0 {
        return Some((u128::from(mantissa) * u128::from(fives)) as f64 * power_of_two(exponent));
    }
    let shift = mantissa.leading_zeros();
    let dividend = u128::from(mantissa << shift) << 64;
    let (quotient, rest) = (dividend / u128::from(fives), dividend % u128::from(fives));
    // At least 63 bits; the lowest stands for all that follow.
    let sticky = quotient | u128::from(rest != 0);
    Some(sticky as f64 * power_of_two(exponent - 64 - shift as i32))
}

/// Return a power of two; exact for what is asked here.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((1023 + exponent) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::decimal;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_those_of_the_standard_library(
            mantissa in any::<u64>(),
            bits in 0_u32..64,
            places in 0_usize..20,
            exponent in -8_i32..=8,
        ) {
            let digits = format!("{:020}", mantissa >> bits);
            let (whole, fraction) = digits.split_at(digits.len() - places);
            for text in [
                format!("{}", mantissa >> bits),
                format!("-{whole}.{fraction}0"),
                format!("{whole}.{fraction}0e{exponent}"),
                format!("{}E{exponent}", mantissa >> bits),
            ] {
                prop_assert_eq!(decimal(&text), text.parse().ok(), "{}", text);
            }
        }
    }

    #[test]
    fn numbers_of_configurations_are_read() {
        for text in
            ["1e-05", "1e-5", "500000.0", "0.041666666666666664", "1.0", "0", "-0.0", "8e+3"]
        {
            assert_eq!(decimal(text), text.parse().ok(), "{text}");
        }
    }

    #[test]
    fn what_is_no_such_number_is_refused() {
        for text in [
            "",
            "-",
            ".5",
            "1.",
            "e5",
            "1e",
            "1e+",
            "+1",
            "1..2",
            "1e28",
            "1e-28",
            "--1",
            "123456789012345678901",
            "1e99999999999",
            "inf",
            "nan",
            "1-2",
        ] {
            assert_eq!(decimal(text), None, "{text}");
        }
    }
}
