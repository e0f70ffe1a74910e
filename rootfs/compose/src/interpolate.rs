//! `${NAME:-default}` in values.

/// Puts in what variables say. On a node there is no environment that a file
/// could rely on at every boot, so a variable needs a default.
///
/// # Errors
/// When a variable has none, or what follows `$` is none.
pub(crate) fn interpolate(text: &str) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some(after) = rest.strip_prefix('{') {
            let end = after
                .find('}')
                .ok_or_else(|| format!("\"${{{after}\" has no `}}`"))?;
            out.push_str(default(&after[..end])?);
            rest = &after[end + 1..];
        } else {
            let end = rest
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            return Err(match &rest[..end] {
                "" => "`$` begins a variable; write `$$` for a dollar sign".to_owned(),
                name => without_value(name),
            });
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn default(variable: &str) -> Result<&str, String> {
    let end = variable
        .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .unwrap_or(variable.len());
    let (name, rest) = variable.split_at(end);
    match rest.strip_prefix(":-").or_else(|| rest.strip_prefix('-')) {
        Some(default) if !name.is_empty() && !default.contains('$') => Ok(default),
        _ if name.is_empty() || !rest.is_empty() => Err(format!(
            "\"${{{variable}}}\" is not understood; write `${{NAME:-default}}`"
        )),
        _ => Err(without_value(name)),
    }
}

fn without_value(name: &str) -> String {
    format!("the variable {name} has no value here; write the value, or `${{{name}:-default}}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_and_dollars_are_put_in() {
        for (text, expected) in [
            ("plain", "plain"),
            ("${TAG:-1.2}", "1.2"),
            ("a:${TAG-x}-b", "a:x-b"),
            ("${EMPTY:-}", ""),
            ("cost $$5", "cost $5"),
            ("$${TAG}", "${TAG}"),
        ] {
            assert_eq!(interpolate(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_variable_without_a_default_is_named() {
        for text in ["${TAG}", "$TAG", "x$TAG/y"] {
            let error = interpolate(text).unwrap_err();
            assert!(error.contains("TAG has no value"), "{text}: {error}");
        }
        for text in [
            "$", "${", "${TAG", "${:-x}", "${A:?no}", "${A:-$B}", "$ {A}",
        ] {
            assert!(interpolate(text).is_err(), "{text}");
        }
    }
}
