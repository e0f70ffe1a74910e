//! `ros tls`: certificates for the engine's API over the network.
//!
//! The node has an authority of its own, which signs the engine's certificate
//! and those of its clients; the engine lets nobody else in. What is kept are
//! two files that are each replaced as a whole, so that no power cut leaves a
//! key without its certificate.

mod certificate;

use std::collections::BTreeSet;
use std::fs::{self, DirBuilder};
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand, ValueHint};
use rubus_config::{files, paths};

use crate::output::Output;
use certificate::{Authority, Host, Use};

/// How long an authority is good: nobody should have to think of it.
const AUTHORITY_DAYS: u32 = 20 * 365;

/// Certificates.
#[derive(Debug, Subcommand)]
pub(crate) enum Tls {
    /// Make the engine's certificate, and one for a client
    ///
    /// The node gets an authority of its own when it has none. The engine's
    /// certificate names the node's names and addresses; make it again when
    /// they change. The client's goes into a folder that the Docker CLI takes
    /// as `DOCKER_CERT_PATH`. Whoever has it is root on this node. All that the
    /// authority signed stays good until it ends, or until there is a new one.
    #[command(after_help = "\
Examples:
  ros tls generate && ros config set docker.tcp true
  ros tls generate --name node1.example.org --out laptop
  ros tls generate --new-authority    no client gets in any more")]
    Generate(Generate),
}

/// What to make.
#[derive(Args, Debug)]
pub(crate) struct Generate {
    /// A further name or address of the node; may be given again
    #[arg(long = "name", value_name = "NAME", value_parser = Host::parse)]
    names: Vec<Host>,
    /// Where the client's files go
    #[arg(long, value_name = "DIR", default_value = "docker-tls", value_hint = ValueHint::DirPath)]
    out: PathBuf,
    /// How many days the certificates are good
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..=7300))]
    days: u32,
    /// Begin anew: no certificate that was made before is good any more
    #[arg(long)]
    new_authority: bool,
}

/// Does what is asked for on the node whose filesystem is at `host`.
pub(crate) fn run(host: &Path, command: &Tls, output: Output) -> Result<()> {
    let Tls::Generate(options) = command;
    let inside = |path: &str| host.join(path.trim_start_matches('/'));
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy().into_owned();
    let known = if options.new_authority {
        None
    } else {
        read_authority(&inside(paths::TLS_AUTHORITY))?
    };
    let hosts = hosts(&name, &addresses()?, &options.names);
    let names: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    let made = make(&name, known, hosts, SystemTime::now(), options.days)?;

    // Where the client's files cannot be, nothing changes.
    let caller = Caller::detect();
    caller.folder(&options.out)?;
    for (path, content) in &made.kept {
        keep(&inside(path), content)?;
    }
    for (file, content) in &made.client {
        caller.file(&options.out.join(file), content)?;
    }
    output.text(&format!(
        "the engine's certificate is for {}\n\
         the client's files are in {out}; copy them to a computer, and there:\n  \
         export DOCKER_HOST=tcp://{name}.local:{port} DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH=PATH/TO/{folder}\n\
         `ros config set docker.tcp true` opens the port; where it is open already, \
         `ros service restart docker` makes the certificate count\n",
        names.join(", "),
        out = options.out.display(),
        folder = options.out.file_name().unwrap_or_default().to_string_lossy(),
        port = paths::ENGINE_TCP_PORT,
    ))?;
    Ok(())
}

/// What is to be written.
struct Made {
    /// Files of the node, in this order: with the first alone, the engine has
    /// the certificate that it had, or none.
    kept: Vec<(&'static str, String)>,
    /// Files of the client.
    client: [(&'static str, String); 3],
}

/// Makes certificates, signed by the authority that is known, else by a new
/// one.
fn make(
    name: &str,
    known: Option<Authority>,
    hosts: Vec<Host>,
    now: SystemTime,
    days: u32,
) -> Result<Made> {
    let mut kept = Vec::new();
    let authority = match known {
        Some(authority) => authority,
        None => {
            let made = Authority::new(&format!("{name} authority"), now, AUTHORITY_DAYS)?;
            kept.push((paths::TLS_AUTHORITY, made.to_pem()?));
            made
        }
    };
    if authority.ends() < now {
        bail!("the node's authority has ended, or its clock is wrong; use `--new-authority`");
    }
    let engine = authority.sign(name, &Use::Server(hosts), now, days)?;
    kept.push((paths::TLS_ENGINE, engine.certificate + &engine.key));
    let client = authority.sign(&format!("client of {name}"), &Use::Client, now, days)?;
    Ok(Made {
        kept,
        client: [
            ("ca.pem", authority.certificate_pem()?),
            ("cert.pem", client.certificate),
            ("key.pem", client.key),
        ],
    })
}

fn read_authority(path: &Path) -> Result<Option<Authority>> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let authority = Authority::from_pem(&text);
    let authority = authority.with_context(|| {
        format!(
            "{} is damaged; use `--new-authority`, and no certificate that was made before is good \
             any more",
            path.display()
        )
    })?;
    Ok(Some(authority))
}

/// Writes what only root may read.
fn keep(path: &Path, content: &str) -> Result<()> {
    let write = || {
        let folder = path.parent().unwrap_or(path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)?;
        files::replace(path, content.as_bytes(), 0o600)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// Everything that the node is called.
fn hosts(name: &str, addresses: &[IpAddr], further: &[Host]) -> Vec<Host> {
    let names = [name.to_owned(), format!("{name}.local"), "localhost".into()];
    let mut all: Vec<Host> = names.iter().filter_map(|it| Host::parse(it).ok()).collect();
    all.extend_from_slice(further);
    all.extend(addresses.iter().copied().map(Host::Address));
    let mut seen = BTreeSet::new();
    all.retain(|host| seen.insert(host.clone()));
    all
}

/// The addresses under which others may reach the node: not those of networks
/// that only containers are in.
fn addresses() -> Result<Vec<IpAddr>> {
    let interfaces = if_addrs::get_if_addrs().context("cannot list the node's addresses")?;
    let all = interfaces.into_iter().filter(|interface| {
        let of_containers = ["docker", "br-", "veth"];
        !interface.is_link_local()
            && of_containers
                .iter()
                .all(|it| !interface.name.starts_with(it))
    });
    Ok(all.map(|interface| interface.ip()).collect())
}

/// Who called, also through sudo: the client's files are theirs.
struct Caller(Option<(u32, u32)>);

impl Caller {
    fn detect() -> Self {
        let number = |name| std::env::var(name).ok()?.parse().ok();
        Self(number("SUDO_UID").zip(number("SUDO_GID")))
    }

    fn folder(&self, path: &Path) -> Result<()> {
        let make = || match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => match self.0 {
                Some((uid, gid)) => chown(path, Some(uid), Some(gid)),
                None => Ok(()),
            },
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        };
        make().with_context(|| format!("cannot make {}", path.display()))
    }

    fn file(&self, path: &Path, content: &str) -> Result<()> {
        let owner = self.0.map(|(uid, _)| uid);
        files::replace_lazily_for(owner, path, content.as_bytes(), 0o600)
            .with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_answers_to_all_its_names_once() {
        let further = [
            Host::parse("n1.example").unwrap(),
            Host::parse("localhost").unwrap(),
        ];
        let names: Vec<String> = hosts("n1", &["10.0.0.2".parse().unwrap()], &further)
            .iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(
            names,
            ["n1", "n1.local", "localhost", "n1.example", "10.0.0.2"]
        );
    }

    /// dockerd does not start with a key that is not that of its certificate.
    #[test]
    fn whenever_the_power_fails_each_key_is_with_its_certificate() {
        let make = |known| {
            make("a", known, Vec::new(), SystemTime::now(), 1)
                .unwrap()
                .kept
        };
        let first = make(None);
        let known = Authority::from_pem(&first[0].1).unwrap();
        for (before, writes) in [
            (&[][..], make(None)),
            (&first[..], make(Some(known))),
            (&first[..], make(None)),
        ] {
            for done in 0..=writes.len() {
                let host = tempfile::tempdir().unwrap();
                for (path, content) in before.iter().chain(&writes[..done]) {
                    keep(&host.path().join(&path[1..]), content).unwrap();
                }
                for path in [paths::TLS_AUTHORITY, paths::TLS_ENGINE] {
                    // What reads an authority looks whether the two are a pair.
                    let read = read_authority(&host.path().join(&path[1..])).unwrap();
                    assert!(read.is_some() || before.is_empty(), "{path}, {done} writes");
                }
            }
        }
    }

    #[test]
    fn an_authority_is_for_root_and_read_again() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tls/authority.pem");
        assert!(read_authority(&path).unwrap().is_none());
        let made = Authority::new("a", SystemTime::now(), 1).unwrap();
        keep(&path, &made.to_pem().unwrap()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(read_authority(&path).unwrap().unwrap().ends(), made.ends());
        fs::write(&path, "junk").unwrap();
        let error = format!("{:#}", read_authority(&path).unwrap_err());
        assert!(error.contains("--new-authority"), "{error}");
    }
}
