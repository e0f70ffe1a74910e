//! The labels `com.openfaas.scale.*` of a function.

use crate::model::Map;

/// Replicas at most, where a label does not say otherwise.
const MAX: u32 = 20;
/// Per cent of the most replicas that an alert adds, where a label does not say
/// otherwise.
const FACTOR: u32 = 20;

/// Between which numbers of replicas a function scales, and in which steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Replicas at least, when it has any.
    pub min: u32,
    /// Replicas at most; never less than `min`.
    pub max: u32,
    /// Per cent of `max` that an alert adds, 1 to 100.
    pub factor: u32,
}

impl Limits {
    /// What labels say. A number that cannot be read counts as not said, as
    /// upstream has it.
    ///
    /// # Errors
    /// When the factor is out of range.
    pub fn of(labels: Option<&Map>) -> Result<Self, String> {
        let factor = number(labels, "com.openfaas.scale.factor").unwrap_or(FACTOR);
        if !(1..=100).contains(&factor) {
            return Err(format!(
                "labels: com.openfaas.scale.factor is {factor}; it has to be between 1 and 100"
            ));
        }
        let min = minimum(labels);
        let max = number(labels, "com.openfaas.scale.max").unwrap_or(MAX);
        Ok(Self {
            min,
            max: max.max(min),
            factor,
        })
    }
}

/// Replicas that a function with these labels has at the least when it has any:
/// `com.openfaas.scale.min`, or one.
pub fn minimum(labels: Option<&Map>) -> u32 {
    number(labels, "com.openfaas.scale.min").map_or(1, |least| least.max(1))
}

fn number(labels: Option<&Map>, key: &str) -> Option<u32> {
    labels?.get(key)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Map {
        let key = |(key, value): &(&str, &str)| {
            (format!("com.openfaas.scale.{key}"), (*value).to_owned())
        };
        pairs.iter().map(key).collect()
    }

    #[test]
    fn labels_bound_the_replicas() {
        for (pairs, expected) in [
            (&[][..], Some((1, 20, 20))),
            (
                &[("min", "2"), ("max", "5"), ("factor", "50")],
                Some((2, 5, 50)),
            ),
            (&[("min", "0"), ("max", "many")], Some((1, 20, 20))),
            (&[("min", "30")], Some((30, 30, 20))),
            (&[("factor", "0")], None),
            (&[("factor", "101")], None),
            (&[("factor", "-1")], Some((1, 20, 20))),
        ] {
            let limits = Limits::of(Some(&labels(pairs)));
            let limits = limits.map(|it| (it.min, it.max, it.factor)).ok();
            assert_eq!(limits, expected, "{pairs:?}");
        }
        assert!(Limits::of(None).is_ok());
    }

    #[test]
    fn a_function_has_at_least_its_minimum() {
        let of = |value: &str| minimum(Some(&labels(&[("min", value)])));
        assert_eq!((of("3"), of("0"), of("many"), minimum(None)), (3, 1, 1, 1));
    }
}
