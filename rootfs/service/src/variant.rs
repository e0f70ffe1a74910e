//! Reading a variant: what is different from a `service.toml`.

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use crate::{
    Service,
    parse::{Error, Source, check_keys, find},
    validate::{self, Place},
};

/// The table of what is added to lists and tables of `service.toml`.
const ADD: &str = "add";

/// What packages and their users need; an image brings its own.
const OF_PACKAGES: [&str; 8] = [
    "packages",
    "suite",
    "exclude",
    "remove",
    "links",
    "users",
    "groups",
    "version_of",
];

impl Service {
    /// Reads a variant of a service. A key of `own` takes the place of the same
    /// key of `base`, the service's own definition, as a whole; what stands in
    /// its table `add` joins the list or the table that `base` has. A variant
    /// with an `image` keeps nothing that `base` says of packages.
    ///
    /// # Errors
    /// When either is wrong; the error names file, line and key.
    pub fn parse_variant(
        name: &str,
        variant: &str,
        base: Source<'_>,
        own: Source<'_>,
    ) -> Result<Service, Error> {
        let original = Service::parse(name, base.file, base.text)?;
        let base_table = base.parse()?.into_inner();
        let document = own.parse()?.into_inner();
        let mut own_table = document.clone();
        let add = take_add(own, &mut own_table)?;
        check_keys(own, "", &own_table)?;
        if let Some((key, _)) = own_table.get_key_value("variant") {
            let message = format!("this variant is called {variant} by its file; remove this key");
            return Err(own.at(Some(key.span()), Some("variant".to_owned()), &message));
        }

        let mut merged = base_table.clone();
        for key in dropped(&original, &own_table) {
            merged.remove(*key);
        }
        for (key, value) in &own_table {
            merged.insert(key.clone(), value.clone());
        }
        for (key, value) in &add {
            join(own, &own_table, &mut merged, key, value)?;
        }
        // What `base` says was read before, so a wrong value is one of `own`.
        let merged = Spanned::new(0..own.text.len(), merged);
        let mut service = Service::deserialize(toml::Deserializer::from(merged))
            .map_err(|error| own.wrong_value(&document, &error))?;
        name.clone_into(&mut service.name);
        service.variant = Some(variant.to_owned());
        validate::check(&service, Place::Builder).map_err(|problem| {
            let (source, span) = find(&own_table, &problem.key)
                .or_else(|| find(&add, &problem.key))
                .map(|span| (own, Some(span)))
                .unwrap_or_else(|| (base, find(&base_table, &problem.key)));
            source.at(span, Some(problem.key), &problem.message)
        })?;
        Ok(service)
    }
}

/// Takes the table `add` out of a definition.
fn take_add<'a>(own: Source<'a>, table: &mut DeTable<'a>) -> Result<DeTable<'a>, Error> {
    let Some((key, value)) = table.remove_entry(ADD) else {
        return Ok(DeTable::new());
    };
    let DeValue::Table(add) = value.into_inner() else {
        let message = "this is a table; write [add] in a line of its own";
        return Err(own.at(Some(key.span()), Some(ADD.to_owned()), message));
    };
    check_keys(own, "add.", &add)?;
    Ok(add)
}

/// The keys of the original that have no meaning beside those of a variant.
fn dropped(original: &Service, own: &DeTable<'_>) -> &'static [&'static str] {
    if own.contains_key("image") {
        &OF_PACKAGES
    } else if own.contains_key("packages") && original.image.is_some() {
        &["image"]
    } else if own.contains_key("version") {
        &["version_of"]
    } else if own.contains_key("version_of") {
        &["version"]
    } else {
        &[]
    }
}

/// Adds entries to the list or the table of a key.
fn join<'a>(
    own: Source<'a>,
    replaced: &DeTable<'a>,
    merged: &mut DeTable<'a>,
    key: &Spanned<DeString<'a>>,
    value: &Spanned<DeValue<'a>>,
) -> Result<(), Error> {
    let name = key.get_ref().as_ref();
    let error = |message: &str| Err(own.at(Some(key.span()), Some(format!("add.{name}")), message));
    if replaced.contains_key(name) {
        return error("the same key stands outside of [add]; put all of its entries there");
    }
    if !matches!(value.get_ref(), DeValue::Array(_) | DeValue::Table(_)) {
        return error("only lists and tables can be added to; put this key above [add]");
    }
    let Some(known) = merged.get_mut(name) else {
        merged.insert(key.clone(), value.clone());
        return Ok(());
    };
    match (known.get_mut(), value.get_ref()) {
        (DeValue::Array(known), DeValue::Array(further)) => {
            for entry in further {
                known.push(entry.clone());
            }
        }
        (DeValue::Table(known), DeValue::Table(further)) => {
            for (key, entry) in further {
                known.insert(key.clone(), entry.clone());
            }
        }
        (DeValue::Array(_), _) => return error("service.toml has a list here"),
        _ => return error("service.toml has a table here"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = r#"
description = "An engine"
kind = "daemon"
variant = "engine-2"
version_of = "engined"
packages = ["engined", "runc"]
exclude = ["debconf"]
command = ["/usr/bin/engine"]
settings = ["docker"]
groups = [{ name = "docker", gid = 998 }]
[links]
"/usr/bin/a" = "b"
[health]
exec = ["ping"]
interval = "30s"
[limits]
memory = "64M"
pids = 10
"#;

    fn variant(text: &str) -> Result<Service, Error> {
        let base = Source {
            file: "services/docker/service.toml",
            text: BASE,
        };
        let own = Source {
            file: "services/docker/variants/engine-1.toml",
            text,
        };
        Service::parse_variant("docker", "engine-1", base, own)
    }

    fn error(text: &str) -> String {
        let error = variant(text).expect_err(text).to_string();
        error.replace("services/docker/variants/engine-1.toml:", "own:")
    }

    #[test]
    fn what_it_does_not_say_is_as_in_the_service() {
        let service = variant("").unwrap();
        let mut expected = Service::parse("docker", "f", BASE).unwrap();
        assert_eq!(expected.variant.as_deref(), Some("engine-2"));
        expected.variant = Some("engine-1".to_owned());
        assert_eq!(service, expected);
    }

    #[test]
    fn a_key_is_replaced_as_a_whole() {
        let service = variant(
            "suite = \"bookworm\"\nexclude = [\"adduser\"]\n[health]\ntcp = 1\n[limits]\npids = 5\n",
        );
        // The check by port needs the node's network.
        assert!(service.unwrap_err().to_string().contains("health.tcp"));
        let service = variant(
            "suite = \"bookworm\"\nexclude = [\"adduser\"]\nnetwork = \"host\"\n\
             [health]\ntcp = 1\n[limits]\npids = 5\n",
        )
        .unwrap();
        assert_eq!(service.suite.as_deref(), Some("bookworm"));
        assert_eq!(service.exclude, ["adduser"]);
        let health = service.health.unwrap();
        assert_eq!(
            health.interval.0.as_secs(),
            10,
            "not the 30 s of the original"
        );
        assert_eq!(service.limits.pids, Some(5));
        assert_eq!(service.limits.memory, None);
    }

    #[test]
    fn lists_and_tables_can_be_added_to() {
        let service = variant(
            "[add]\nexclude = [\"systemd\"]\ndevices = [\"/dev/fuse\"]\n\
             [add.links]\n\"/usr/bin/c\" = \"d\"\n\"/usr/bin/a\" = \"e\"\n\
             [add.limits]\npids = 5\n[[add.users]]\nname = \"u\"\nuid = 5\ngid = 5\n",
        )
        .unwrap();
        assert_eq!(service.exclude, ["debconf", "systemd"]);
        assert_eq!(service.devices, ["/dev/fuse"]);
        assert_eq!(service.links["/usr/bin/a"], "e");
        assert_eq!(service.links["/usr/bin/c"], "d");
        assert_eq!(service.limits.pids, Some(5));
        assert_eq!(service.limits.memory.unwrap().0, 64 << 20);
        assert_eq!(service.users[0].name, "u");
    }

    #[test]
    fn an_image_brings_everything_that_packages_would() {
        let reference = format!("registry.lan/engine@sha256:{}", "0".repeat(64));
        let service = variant(&format!("image = \"{reference}\"\n")).unwrap();
        assert_eq!(service.image, Some(reference));
        assert!(service.packages.is_empty() && service.groups.is_empty());
        assert!(service.links.is_empty() && service.version_of.is_none());
        assert_eq!(service.command, ["/usr/bin/engine"]);
        assert_eq!(service.settings, ["docker"]);
    }

    #[test]
    fn a_version_of_its_own_takes_the_place_of_a_packages() {
        let service = variant("version = \"27.1\"\npackages = []\n").unwrap();
        assert_eq!(service.version.as_deref(), Some("27.1"));
        assert_eq!(service.version_of, None);
    }

    #[test]
    fn mistakes_are_named_with_file_line_and_suggestion() {
        for (text, message) in [
            (
                "pakcages = []\n",
                "own:1: `pakcages`: there is no such key; did you mean `packages`?",
            ),
            (
                "\n[add]\nexlude = []\n",
                "own:3: `add.exlude`: there is no such key; did you mean `exclude`?",
            ),
            (
                "\n[limits]\nmemroy = \"1M\"\n",
                "own:3: `limits.memroy`: there is no such key; did you mean `memory`?",
            ),
            (
                "[add]\nkind = \"oneshot\"\n",
                "own:2: `add.kind`: only lists and tables can be added to; \
                 put this key above [add]",
            ),
            (
                "exclude = []\n[add]\nexclude = []\n",
                "own:3: `add.exclude`: the same key stands outside of [add]; \
                 put all of its entries there",
            ),
            (
                "[add]\nlinks = [\"a\"]\n",
                "own:2: `add.links`: service.toml has a table here",
            ),
            (
                "[add.exclude]\na = \"b\"\n",
                "own:1: `add.exclude`: service.toml has a list here",
            ),
            (
                "add = 1\n",
                "own:1: `add`: this is a table; write [add] in a line of its own",
            ),
            (
                "variant = \"x\"\n",
                "own:1: `variant`: this variant is called engine-1 by its file; remove this key",
            ),
            (
                "name = \"x\"\n",
                "own:1: `name`: a service is named by its folder; remove this key",
            ),
            ("\n[add]\nmounts = [\"x\"]\n", "own:3: `mounts`: "),
        ] {
            let error = error(text);
            assert!(error.starts_with(message), "{error}");
        }
        let said = error("\n[add]\nexclude = [\"a\", 5]\n");
        assert!(said.starts_with("own:3: `add.exclude`: "), "{said}");
    }

    #[test]
    fn what_no_longer_fits_in_the_service_is_told_with_its_file() {
        let said = error("kind = \"oneshot\"\n");
        assert!(
            said.starts_with("services/docker/service.toml:13: `health`: "),
            "{said}"
        );
    }

    #[test]
    fn a_broken_service_is_told_before_its_variant() {
        let broken = Source {
            file: "service.toml",
            text: "kind = 1\n",
        };
        let own = Source {
            file: "v.toml",
            text: "kind = 2\n",
        };
        let error = Service::parse_variant("a", "b", broken, own).unwrap_err();
        assert_eq!(error.file, "service.toml");
    }
}
