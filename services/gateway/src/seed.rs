//! The functions that the image carries, deployed once.
//!
//! A file remembers which of them this node was given, so that one which its
//! user deleted does not come back. Every step can be repeated: a power cut
//! between two of them does no harm.

use std::{collections::BTreeSet, fs, io, path::Path, time::Duration};

use crate::{
    files,
    model::{FunctionDeployment, FunctionId},
    provider::{Error, Provider},
};

/// What is there to deploy, beside the archive with the images.
const LIST: &str = "functions.json";
const ARCHIVE: &str = "images.tar";
/// Names of the functions that this node was given.
const MARKER: &str = "seeded.json";
/// Pause before what failed is tried again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// What is to be done with one function of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// Deploy it, then remember it.
    Deploy(&'a str),
    /// Remember it: there is a function of that name, which may be the user's.
    Remember(&'a str),
}

/// What is to be done, from what the image carries, what this node was given,
/// and what there is.
pub fn plan<'a>(
    carried: &'a [FunctionDeployment],
    given: &BTreeSet<String>,
    existing: &BTreeSet<String>,
) -> Vec<Step<'a>> {
    carried
        .iter()
        .map(|function| function.service.as_str())
        .filter(|name| !given.contains(*name))
        .map(|name| {
            if existing.contains(name) {
                Step::Remember(name)
            } else {
                Step::Deploy(name)
            }
        })
        .collect()
}

/// Deploys what the image carries, trying again until it is done.
pub async fn run(provider: &impl Provider, namespace: &str, image: &Path, state: &Path) {
    let mut pause = PAUSE.0;
    let mut reason = String::new();
    while let Err(error) = attempt(provider, namespace, image, state).await {
        let error = error.to_string();
        if error != reason {
            eprintln!("gateway: functions of the image are not deployed yet: {error}");
            reason = error;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
}

async fn attempt(
    provider: &impl Provider,
    namespace: &str,
    image: &Path,
    state: &Path,
) -> Result<(), Error> {
    let carried = carried(image)?;
    let marker = state.join(MARKER);
    let mut given: BTreeSet<String> = read(&marker)
        .unwrap_or_else(|error| {
            eprintln!("gateway: {error}; it is made anew");
            None
        })
        .unwrap_or_default();
    if carried
        .iter()
        .all(|function| given.contains(&function.service))
    {
        return Ok(());
    }
    let existing = provider
        .list()
        .await?
        .into_iter()
        .filter(|function| function.namespace == namespace)
        .map(|function| function.name)
        .collect();
    for step in plan(&carried, &given, &existing) {
        let name = match step {
            Step::Remember(name) => name,
            Step::Deploy(name) => {
                let Some(function) = carried.iter().find(|function| function.service == name)
                else {
                    continue;
                };
                let id = FunctionId::new(name, namespace);
                match give(provider, &id, function.clone(), image, 0).await {
                    Ok(()) | Err(Error::Exists) => eprintln!("gateway: deployed {name}"),
                    Err(error) => return Err(error),
                }
                name
            }
        };
        given.insert(name.to_owned());
        let text = serde_json::to_vec(&given).map_err(|error| Error::Failed(error.to_string()))?;
        files::replace(&marker, &text, 0o644).map_err(|error| {
            Error::Failed(format!("cannot write {}: {error}", marker.display()))
        })?;
    }
    Ok(())
}

/// The functions that the image carries.
///
/// # Errors
/// When the list cannot be read; an image without one carries none.
pub fn carried(image: &Path) -> Result<Vec<FunctionDeployment>, Error> {
    Ok(read(&image.join(LIST))?.unwrap_or_default())
}

/// Deploys a function that the image carries. The container image comes from
/// there too, if it is not in the engine already.
///
/// # Errors
/// When the container image cannot be taken in, or the function not deployed.
pub async fn give(
    provider: &impl Provider,
    id: &FunctionId,
    function: FunctionDeployment,
    image: &Path,
    replicas: u32,
) -> Result<(), Error> {
    if !provider.has_image(&function.image).await? {
        provider.load_images(&image.join(ARCHIVE)).await?;
    }
    provider.deploy(id, function, replicas).await
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let wrong = |error: &dyn std::fmt::Display| {
        Error::Failed(format!("cannot read {}: {error}", path.display()))
    };
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| wrong(&error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(wrong(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_function_is_given_once() {
        let carried = ["a", "b"].map(|name| FunctionDeployment {
            service: name.to_owned(),
            ..FunctionDeployment::default()
        });
        let (deploy, remember) = (Step::Deploy, Step::Remember);
        for (given, existing, expected) in [
            // A new node.
            (&[][..], &[][..], vec![deploy("a"), deploy("b")]),
            // A power cut after the first was deployed and not yet remembered.
            (&[], &["a"], vec![remember("a"), deploy("b")]),
            // A power cut between the two.
            (&["a"], &["a"], vec![deploy("b")]),
            // Done; then the user deleted one.
            (&["a", "b"], &["a", "b"], vec![]),
            (&["a", "b"], &["b"], vec![]),
            // The user's own function of that name is left alone.
            (&["a"], &["a", "b", "c"], vec![remember("b")]),
        ] {
            assert_eq!(plan(&carried, &names(given), &names(existing)), expected);
        }
    }
}
