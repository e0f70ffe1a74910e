//! Amounts of memory and processor as deployments write them.

/// Reads an amount of memory in bytes: Kubernetes' units (`128Mi`, `1G`, plain
/// bytes) and Docker's (`128m`, `128mb`, powers of 1024).
///
/// # Errors
/// Says what is wrong with it.
pub fn memory(text: &str) -> Result<i64, String> {
    let wrong = || format!("\"{text}\" is not an amount of memory; write it as \"128Mi\"");
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u64 = match unit {
        "" | "B" | "b" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        "T" => 1_000_000_000_000,
        "Ki" | "kb" | "KB" => 1 << 10,
        "Mi" | "m" | "mb" | "MB" => 1 << 20,
        "Gi" | "g" | "gb" | "GB" => 1 << 30,
        "Ti" => 1 << 40,
        _ => return Err(wrong()),
    };
    // In millionths, so that "1.5Gi" is exact.
    let bytes = millionths(number).ok_or_else(wrong)? * u128::from(factor) / 1_000_000;
    match i64::try_from(bytes) {
        Ok(bytes) if bytes > 0 => Ok(bytes),
        _ => Err(wrong()),
    }
}

/// Reads a share of processors, in billionths of one: `100m`, `0.5`, `2`.
///
/// # Errors
/// Says what is wrong with it.
pub fn cpu(text: &str) -> Result<i64, String> {
    let wrong =
        || format!("\"{text}\" is not a share of processors; write it as \"100m\" or \"0.5\"");
    let (number, factor) = match text.strip_suffix('m') {
        Some(number) => (number, 1_000_000),
        None => (text, 1_000_000_000),
    };
    let nanos = millionths(number).ok_or_else(wrong)? * factor / 1_000_000;
    match i64::try_from(nanos) {
        Ok(nanos) if nanos > 0 => Ok(nanos),
        _ => Err(wrong()),
    }
}

/// A decimal number in millionths, cut after the sixth decimal.
fn millionths(text: &str) -> Option<u128> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || whole.len() > 18 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let cut: String = fraction.chars().chain("000000".chars()).take(6).collect();
    Some(whole.parse::<u128>().ok()? * 1_000_000 + cut.parse::<u128>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_in_the_units_people_use() {
        for (text, bytes) in [
            ("5Mi", 5 << 20),
            ("128m", 128 << 20),
            ("128M", 128_000_000),
            ("1.5Gi", 3 << 29),
            ("1Gi", 1 << 30),
            ("64Ki", 64 << 10),
            ("1000", 1000),
        ] {
            assert_eq!(memory(text), Ok(bytes), "{text}");
        }
        for text in [
            "",
            "Mi",
            "-5Mi",
            "5 Mi",
            "5Zi",
            "0",
            "1.2.3Mi",
            "99999999999999999999Gi",
            "9999999999Gi",
        ] {
            assert!(memory(text).is_err(), "{text}");
        }
    }

    #[test]
    fn processors_are_read_as_numbers_and_thousandths() {
        for (text, nanos) in [
            ("100m", 100_000_000),
            ("0.5", 500_000_000),
            ("1", 1_000_000_000),
            ("1.25", 1_250_000_000),
        ] {
            assert_eq!(cpu(text), Ok(nanos), "{text}");
        }
        for text in ["", "m", "0", "-1", "half", "1e3", ".5"] {
            assert!(cpu(text).is_err(), "{text}");
        }
    }
}
