//! Replicas that were asked for by hand. They are the least that a function has
//! until somebody says otherwise, also after a restart: a number that the load
//! takes back a minute later would not have been worth asking for.

use std::{collections::BTreeMap, path::Path};

use crate::{kept::Kept, model::FunctionId, provider::Result};

/// The file in the gateway's state.
const FILE: &str = "replicas.json";

/// What was asked for, by the function's full name.
#[derive(Debug)]
pub(crate) struct ByHand(Kept<BTreeMap<String, u32>>);

impl ByHand {
    /// Reads what was asked for of a gateway with this state.
    pub(crate) fn load(state: &Path) -> Self {
        Self(Kept::load(&state.join(FILE)))
    }

    /// The replicas asked for, or zero.
    pub(crate) fn get(&self, id: &FunctionId) -> u32 {
        let name = id.to_string();
        self.0
            .look(|all| all.get(&name).copied().unwrap_or_default())
    }

    /// Remembers a number; zero forgets it.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn set(&self, id: &FunctionId, replicas: u32) -> Result<()> {
        let name = id.to_string();
        self.0.change(|all| {
            match replicas {
                0 => all.remove(&name),
                replicas => all.insert(name, replicas),
            };
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_lasts_until_it_is_taken_back() {
        let state = tempfile::tempdir().unwrap();
        let [f, g] = ["f", "g"].map(|name| FunctionId::new(name, "fn"));
        let by_hand = ByHand::load(state.path());
        by_hand.set(&f, 3).unwrap();
        by_hand.set(&g, 0).unwrap();
        let by_hand = ByHand::load(state.path());
        assert_eq!((by_hand.get(&f), by_hand.get(&g)), (3, 0));
        by_hand.set(&f, 0).unwrap();
        assert_eq!(ByHand::load(state.path()).get(&f), 0);
    }
}
