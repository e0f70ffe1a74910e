//! VLANs: which of those that the settings name are made or removed, as links
//! come and go.

use std::collections::BTreeMap;

use rubus_config::settings;
use serde::{Deserialize, Serialize};

use crate::{link::Link, netlink::LinkEvent};

/// A VLAN of IEEE 802.1Q.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Vlan {
    /// Its number.
    pub(crate) id: u16,
    /// Name of the link that carries it.
    pub(crate) link: String,
}

/// What has to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Make this VLAN on the link of this number.
    Make {
        /// Its name.
        name: String,
        /// The VLAN.
        id: u16,
        /// Number of the link that carries it.
        link: u32,
    },
    /// Remove the link of this number.
    Remove(u32),
}

/// All VLANs.
pub(crate) struct Vlans {
    /// What the settings want, by name.
    wanted: BTreeMap<String, Vlan>,
    /// Those that we made, in this run or an earlier one. Others are not ours
    /// to remove.
    made: BTreeMap<String, Vlan>,
    /// All links that there are, by number.
    links: BTreeMap<u32, Link>,
    /// Whether something happened that may call for steps. A step that failed
    /// is not taken again with every container that comes and goes.
    stirred: bool,
}

impl Vlans {
    /// Those that the settings name; `made` by an earlier run.
    pub(crate) fn new(settings: &settings::Network, made: BTreeMap<String, Vlan>) -> Self {
        let wanted = settings.interfaces.iter().filter_map(|(name, interface)| {
            let vlan = interface.vlan.as_ref()?;
            let vlan = Vlan {
                id: u16::try_from(vlan.id.get()).ok()?,
                link: vlan.link.as_str().to_owned(),
            };
            Some((name.as_str().to_owned(), vlan))
        });
        Self {
            wanted: wanted.collect(),
            made,
            links: BTreeMap::new(),
            stirred: false,
        }
    }

    /// Those that we made.
    pub(crate) fn made(&self) -> &BTreeMap<String, Vlan> {
        &self.made
    }

    /// Takes note of what happens to a link.
    pub(crate) fn saw(&mut self, event: &LinkEvent) {
        let had = match event {
            LinkEvent::Is(link) => self.links.insert(link.index, link.clone()),
            LinkEvent::Gone(index) => self.links.remove(index),
        };
        if let LinkEvent::Is(link) = event {
            self.stirred |= self.concerns(&link.name);
        }
        // It is gone, or has another name now.
        if let Some(had) = had
            && !self.links.values().any(|link| link.name == had.name)
        {
            self.stirred |= self.concerns(&had.name);
            self.made.remove(&had.name);
        }
    }

    fn concerns(&self, name: &str) -> bool {
        self.made.contains_key(name)
            || self.wanted.contains_key(name)
            || self.wanted.values().any(|vlan| vlan.link == name)
    }

    /// Forgets those that an earlier run made and that are gone, once all links
    /// have been seen.
    pub(crate) fn saw_all(&mut self) {
        let links = &self.links;
        self.made
            .retain(|name, _| links.values().any(|link| link.name == *name));
    }

    /// Whether a VLAN that we made is not what the settings want any more: it
    /// is to be removed, and gets no address before.
    pub(crate) fn is_stale(&self, name: &str) -> bool {
        let made = self.made.get(name);
        made.is_some() && made != self.wanted.get(name)
    }

    /// What has to be done since the last call.
    pub(crate) fn steps(&mut self) -> Vec<Step> {
        if !std::mem::take(&mut self.stirred) {
            return Vec::new();
        }
        let find = |name: &str| self.links.values().find(|link| link.name == name);
        let removed = self.made.keys().filter_map(|name| {
            let link = find(name).filter(|link| link.kind.as_deref() == Some("vlan"))?;
            self.is_stale(name).then_some(Step::Remove(link.index))
        });
        let made = self.wanted.iter().filter_map(|(name, vlan)| {
            if find(name).is_some() {
                return None;
            }
            // It goes up together with its link, and not without it.
            let link = find(&vlan.link).filter(|link| link.up)?;
            Some(Step::Make {
                name: name.clone(),
                id: vlan.id,
                link: link.index,
            })
        });
        removed.chain(made).collect()
    }

    /// A VLAN was made.
    pub(crate) fn remember(&mut self, name: &str) {
        if let Some(vlan) = self.wanted.get(name) {
            self.made.insert(name.to_owned(), vlan.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(index: u32, name: &str, kind: Option<&str>, up: bool) -> LinkEvent {
        LinkEvent::Is(Link {
            index,
            name: name.to_owned(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            kind: kind.map(str::to_owned),
            enslaved: false,
            up,
            carrier: up,
            supplicant: false,
            mtu: 1500,
        })
    }

    /// `lan` is VLAN `id` of eth0.
    fn vlans(id: Option<u16>, made: &[(&str, u16)]) -> Vlans {
        let mut settings = settings::Network::default();
        if let Some(id) = id {
            let text = format!(r#"{{"vlan": {{"id": {id}, "link": "eth0"}}}}"#);
            settings.interfaces.insert(
                "lan".try_into().unwrap(),
                serde_json::from_str(&text).unwrap(),
            );
        }
        let made = made.iter().map(|(name, id)| {
            let vlan = Vlan {
                id: *id,
                link: "eth0".to_owned(),
            };
            ((*name).to_owned(), vlan)
        });
        Vlans::new(&settings, made.collect())
    }

    fn make(id: u16) -> Step {
        Step::Make {
            name: "lan".to_owned(),
            id,
            link: 2,
        }
    }

    #[test]
    fn a_vlan_is_made_when_its_link_is_up_and_tried_once() {
        let mut vlans = vlans(Some(7), &[]);
        assert_eq!(vlans.steps(), []);
        vlans.saw(&link(2, "eth0", None, false));
        assert_eq!(vlans.steps(), []);
        vlans.saw(&link(2, "eth0", None, true));
        assert_eq!(vlans.steps(), [make(7)]);
        // What does not concern it does not call for another try.
        vlans.saw(&link(9, "veth1", Some("veth"), true));
        vlans.saw(&LinkEvent::Gone(9));
        assert_eq!(vlans.steps(), []);
        vlans.remember("lan");
        vlans.saw(&link(10, "lan", Some("vlan"), false));
        assert_eq!(vlans.steps(), []);
        assert_eq!(vlans.made()["lan"].id, 7);
    }

    #[test]
    fn a_vlan_that_goes_with_its_link_comes_back_with_it() {
        let mut vlans = vlans(Some(7), &[("lan", 7)]);
        vlans.saw(&link(2, "eth0", None, true));
        vlans.saw(&link(10, "lan", Some("vlan"), true));
        assert_eq!(vlans.steps(), []);
        vlans.saw(&LinkEvent::Gone(10));
        vlans.saw(&LinkEvent::Gone(2));
        assert_eq!(vlans.steps(), []);
        assert!(vlans.made().is_empty());
        vlans.saw(&link(2, "eth0", None, true));
        assert_eq!(vlans.steps(), [make(7)]);
    }

    #[test]
    fn one_that_has_changed_is_removed_and_then_made() {
        let mut vlans = vlans(Some(8), &[("lan", 7)]);
        vlans.saw(&link(2, "eth0", None, true));
        vlans.saw(&link(10, "lan", Some("vlan"), true));
        assert!(vlans.is_stale("lan") && !vlans.is_stale("eth0"));
        assert_eq!(vlans.steps(), [Step::Remove(10)]);
        vlans.saw(&LinkEvent::Gone(10));
        assert!(!vlans.is_stale("lan"));
        assert_eq!(vlans.steps(), [make(8)]);
    }

    #[test]
    fn only_what_we_made_is_removed() {
        let all = |vlans: &mut Vlans, kind| {
            vlans.saw(&link(2, "eth0", None, true));
            vlans.saw(&link(10, "lan", Some(kind), true));
            vlans.steps()
        };
        // Ours, and not wanted any more.
        assert_eq!(
            all(&mut vlans(None, &[("lan", 7)]), "vlan"),
            [Step::Remove(10)]
        );
        // Somebody else's.
        assert_eq!(all(&mut vlans(None, &[]), "vlan"), []);
        assert_eq!(all(&mut vlans(Some(7), &[]), "vlan"), []);
        // Another kind of link has taken the name of ours.
        assert_eq!(all(&mut vlans(None, &[("lan", 7)]), "bridge"), []);
    }

    #[test]
    fn what_an_earlier_run_made_and_somebody_removed_is_forgotten() {
        let mut vlans = vlans(None, &[("lan", 7), ("old", 9)]);
        vlans.saw(&link(10, "lan", Some("vlan"), true));
        vlans.saw_all();
        assert_eq!(vlans.made().keys().collect::<Vec<_>>(), ["lan"]);
    }

    #[test]
    fn a_link_that_is_renamed_is_another() {
        let mut vlans = vlans(Some(7), &[]);
        vlans.saw(&link(2, "eth9", None, true));
        assert_eq!(vlans.steps(), []);
        vlans.saw(&link(2, "eth0", None, true));
        assert_eq!(vlans.steps(), [make(7)]);
    }
}
