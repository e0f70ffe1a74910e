//! "Did you mean ...?"

/// A hint at the known name that is nearest to a wrong one, ready to be put
/// behind an error; empty where none is near.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(wrong, name), name))
        .filter(|(distance, name)| *distance <= 1 + name.len() / 3)
        .min()
        .map(|(_, name)| format!(" (did you mean {name}?)"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_a_near_name_is_suggested() {
        let known = ["rpi3", "rpi4", "qemu-virt"];
        assert_eq!(nearest("qemuvirt", known), " (did you mean qemu-virt?)");
        assert_eq!(nearest("rpi44", known), " (did you mean rpi4?)");
        assert_eq!(nearest("banana", known), "");
    }
}
