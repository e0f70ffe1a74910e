//! `ros function`: the functions gateway.

use std::{fs, path::Path};

use anyhow::{Result, anyhow, bail};
use clap::Subcommand;
use rubus_config::{paths, view};
use serde::Serialize;

use crate::cli::Listing;
use crate::output::Output;

/// Functions.
#[derive(Debug, Subcommand)]
pub(crate) enum Function {
    /// Show where the gateway is, and the password that its API asks for
    #[command(after_help = "\
Examples:
  ros function credentials
  ssh rubus@node1.local ros function credentials --json | jq -r .password |
      faas-cli login --gateway http://node1.local:8080 --password-stdin")]
    Credentials(Listing),
}

/// What a client needs.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Credentials {
    gateway: String,
    user: Option<String>,
    password: Option<String>,
}

/// Does what is asked for on the node whose filesystem is at `host`.
pub(crate) fn run(host: &Path, command: &Function, output: Output) -> Result<()> {
    let Function::Credentials(listing) = command;
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    let credentials = credentials(host, &name)?;
    if listing.json {
        return output.json(&credentials);
    }
    let mut text = format!("gateway   {}\n", credentials.gateway);
    match (&credentials.user, &credentials.password) {
        (Some(user), Some(password)) => {
            text.push_str(&format!("user      {user}\npassword  {password}\n"));
        }
        _ => text.push_str("no password: `ros config set gateway.basic_auth true` asks for one\n"),
    }
    Ok(output.text(&text)?)
}

fn credentials(host: &Path, name: &str) -> Result<Credentials> {
    let inside = |path: &str| host.join(path.trim_start_matches('/'));
    let settings = view::read(&inside(paths::CONFIG)).map_err(|error| anyhow!(error))?;
    let gateway = settings.gateway;
    let address = match gateway.address {
        Some(address) if address.is_ipv6() => format!("[{address}]"),
        Some(address) => address.to_string(),
        None => format!("{name}.local"),
    };
    let secret = |file: &str| {
        let path = inside(paths::GATEWAY_CREDENTIALS).join(file);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(text.trim().to_owned()),
            Err(error) => bail!(
                "cannot read {}: {error}; the gateway makes it when it first runs: `ros service start gateway`",
                path.display()
            ),
        }
    };
    let asked = gateway.basic_auth;
    Ok(Credentials {
        gateway: format!("http://{address}:{}", gateway.port),
        user: asked.then(|| secret("basic-auth-user")).transpose()?,
        password: asked.then(|| secret("basic-auth-password")).transpose()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(settings: &str) -> tempfile::TempDir {
        let node = tempfile::tempdir().unwrap();
        for (path, text) in [
            (paths::CONFIG.to_owned(), settings),
            (
                format!("{}/basic-auth-user", paths::GATEWAY_CREDENTIALS),
                "admin",
            ),
            (
                format!("{}/basic-auth-password", paths::GATEWAY_CREDENTIALS),
                "hush\n",
            ),
        ] {
            let path = node.path().join(path.trim_start_matches('/'));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        node
    }

    fn known(gateway: &str, password: Option<&str>) -> Credentials {
        Credentials {
            gateway: gateway.to_owned(),
            user: password.map(|_| "admin".to_owned()),
            password: password.map(str::to_owned),
        }
    }

    #[test]
    fn clients_are_told_what_they_need() {
        for (settings, expected) in [
            ("{}", known("http://node1.local:8080", Some("hush"))),
            (
                r#"{"gateway": {"port": 80, "address": "192.0.2.1"}}"#,
                known("http://192.0.2.1:80", Some("hush")),
            ),
            (
                r#"{"gateway": {"address": "fd00::1", "basic_auth": false}}"#,
                known("http://[fd00::1]:8080", None),
            ),
        ] {
            let node = node(settings);
            assert_eq!(credentials(node.path(), "node1").unwrap(), expected);
        }
    }

    #[test]
    fn a_gateway_that_never_ran_is_said_to_make_them() {
        let node = node("{}");
        let folder = paths::GATEWAY_CREDENTIALS.trim_start_matches('/');
        fs::remove_dir_all(node.path().join(folder)).unwrap();
        let error = credentials(node.path(), "node1").unwrap_err().to_string();
        assert!(error.contains("ros service start gateway"), "{error}");
    }
}
