//! Patterns of paths: `*` stands for anything within one name, and a pattern
//! that names a folder takes all of it.

/// Whether a pattern names a path or a folder above it.
pub(super) fn covers(pattern: &str, path: &str) -> bool {
    let mut names = path.split('/');
    pattern
        .trim_matches('/')
        .split('/')
        .all(|wanted| names.next().is_some_and(|name| name_matches(wanted, name)))
}

fn name_matches(pattern: &str, name: &str) -> bool {
    let Some((first, rest)) = pattern.split_once('*') else {
        return pattern == name;
    };
    let Some(name) = name.strip_prefix(first) else {
        return false;
    };
    let Some((middles, last)) = rest.rsplit_once('*') else {
        return name.len() >= rest.len() && name.ends_with(rest);
    };
    let mut left = name;
    for middle in middles.split('*') {
        match left.find(middle) {
            Some(at) => left = &left[at + middle.len()..],
            None => return false,
        }
    }
    left.ends_with(last)
}

#[cfg(test)]
mod tests {
    use super::covers;

    #[test]
    fn a_folder_goes_whole_and_its_neighbours_stay() {
        assert!(covers("usr/share/perl5", "usr/share/perl5"));
        assert!(covers("/usr/share/perl5/", "usr/share/perl5/a/b"));
        assert!(!covers("usr/share/perl5", "usr/share/perl55"));
        assert!(!covers("usr/share/perl5", "usr/share"));
    }

    #[test]
    fn a_star_stays_within_one_name() {
        assert!(covers("usr/bin/*", "usr/bin/sh"));
        assert!(covers("usr/lib/*/perl", "usr/lib/aarch64-linux-gnu/perl/x"));
        assert!(covers("a/lib*.so.*", "a/libx.so.1"));
        assert!(covers("a/*x*y*z", "a/1x2y3z"));
        assert!(!covers("a/*x*y*z", "a/1y2x3z"));
        assert!(!covers("usr/*", "usr"));
        assert!(!covers("a/ab*ba", "a/aba"));
    }
}
