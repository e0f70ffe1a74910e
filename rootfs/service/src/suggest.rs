//! "Did you mean ...?"

/// The candidate that is nearest to a misspelt word, if one is near enough to
/// be what was meant.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(word, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= (candidate.len() / 3).max(1))
        .min()
        .map(|(_, candidate)| candidate)
}

/// The end of an error message: a suggestion, or nothing.
pub fn hint<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(word, candidates).map_or_else(String::new, |it| format!("; did you mean `{it}`?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_near_word_is_suggested_and_a_far_one_is_not() {
        let words = ["command", "capabilities", "after"];
        assert_eq!(nearest("comand", words), Some("command"));
        assert_eq!(nearest("capabilites", words), Some("capabilities"));
        assert_eq!(nearest("afetr", words), Some("after"));
        assert_eq!(nearest("colour", words), None);
        assert_eq!(hint("colour", words), "");
        assert_eq!(hint("comand", words), "; did you mean `command`?");
    }
}
