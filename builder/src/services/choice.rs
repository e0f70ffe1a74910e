//! Which variants of a service an image gets.

use anyhow::{Result, bail, ensure};
use rubus_service::suggest;

use super::{Bundle, file_name, variants::Kind};
use crate::config::Choice;

/// Finds what is asked for among the variants of a service, in the order in
/// which it is asked for; the first when nothing is.
pub(super) fn choose(kind: Kind, family: &[Bundle], wanted: &[Choice]) -> Result<Vec<usize>> {
    let names: Vec<&str> = family.iter().map(Bundle::variant).collect();
    let mut chosen = Vec::new();
    for choice in wanted {
        let index = match choice {
            Choice::Name(name) => find(kind, &names, name)?,
            // The user's own are in the family by the names of their folders.
            Choice::Folder(folder) => find(kind, &names, &file_name(folder))?,
        };
        ensure!(
            !chosen.contains(&index),
            "the {} {} is asked for twice; name it once",
            kind.one,
            names[index]
        );
        chosen.push(index);
    }
    if chosen.is_empty() {
        chosen.push(0);
    }
    Ok(chosen)
}

/// Finds a variant by its name, or by the beginning of it.
fn find(kind: Kind, names: &[&str], wanted: &str) -> Result<usize> {
    if let Some(index) = names.iter().position(|name| *name == wanted) {
        return Ok(index);
    }
    let matching: Vec<usize> = (0..names.len())
        .filter(|&index| !wanted.is_empty() && names[index].starts_with(wanted))
        .collect();
    match matching[..] {
        [index] => Ok(index),
        [] => bail!(
            "there is no {} {wanted:?}{}; `rubus {}` lists all, and a folder of your own \
             is written as a path, such as ./{wanted}",
            kind.one,
            suggest::hint(wanted, names.iter().copied()),
            kind.many
        ),
        _ => {
            let matching: Vec<&str> = matching.iter().map(|&index| names[index]).collect();
            bail!(
                "{wanted:?} could be the {} {}; write more of the name",
                kind.one,
                matching.join(" or ")
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: Kind = Kind::ENGINE;
    const NAMES: [&str; 4] = ["docker-26.1.5", "docker-20.10.24", "docker-28", "mine"];

    fn found(wanted: &str) -> Result<&str, String> {
        find(KIND, &NAMES, wanted)
            .map(|index| NAMES[index])
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_beginning_of_a_name_is_enough_while_it_is_the_only_one() {
        assert_eq!(found("docker-28"), Ok("docker-28"));
        assert_eq!(found("docker-20"), Ok("docker-20.10.24"));
        assert_eq!(found("m"), Ok("mine"));
        assert_eq!(
            found("docker-2").unwrap_err(),
            "\"docker-2\" could be the engine docker-26.1.5 or docker-20.10.24 or docker-28; \
             write more of the name"
        );
        assert!(found("").is_err());
    }

    #[test]
    fn a_whole_name_is_not_the_beginning_of_another() {
        assert_eq!(find(KIND, &["a-1.0", "a-1"], "a-1").unwrap(), 1);
    }

    #[test]
    fn a_name_that_does_not_exist_is_an_error_with_a_suggestion() {
        assert_eq!(
            found("dokcer-28").unwrap_err(),
            "there is no engine \"dokcer-28\"; did you mean `docker-28`?; `rubus engines` lists \
             all, and a folder of your own is written as a path, such as ./dokcer-28"
        );
        assert!(
            found("podman")
                .unwrap_err()
                .starts_with("there is no engine \"podman\"; `rubus")
        );
    }
}
