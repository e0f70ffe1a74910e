//! The address at which the process of a function listens.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use hyper::{Uri, header::HeaderValue};

/// Where the process of a function listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Upstream {
    /// Host and port as they were written, for requests that name no host.
    pub(crate) authority: HeaderValue,
    /// Name or address of the host.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// The addresses of the host, where no lookup is needed to know them.
    pub(crate) addresses: Vec<SocketAddr>,
    /// What stands before the path of every request, without `/` at its end.
    pub(crate) prefix: String,
}

impl Upstream {
    /// Reads a URL such as `http://127.0.0.1:3000`.
    pub(crate) fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url
            .parse()
            .map_err(|error| format!("cannot read \"{url}\": {error}"))?;
        if uri.scheme_str() != Some("http") {
            return Err(format!("\"{url}\" does not begin with http://"));
        }
        let authority = uri
            .authority()
            .filter(|authority| !authority.as_str().contains('@'))
            .ok_or_else(|| format!("\"{url}\" names no host"))?;
        if uri.query().is_some() {
            return Err(format!("\"{url}\" has a query"));
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(format!("\"{url}\" names no host"));
        }
        let port = match authority.port_u16() {
            Some(port) => port,
            None if authority.as_str() == authority.host() => 80,
            None => return Err(format!("\"{url}\" names no port that there is")),
        };
        let addresses: Vec<IpAddr> = if host == "localhost" {
            // A server that listens on the name may have chosen either.
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        } else {
            host.parse().into_iter().collect()
        };
        Ok(Self {
            authority: HeaderValue::from_str(authority.as_str())
                .map_err(|error| format!("cannot read \"{url}\": {error}"))?,
            host,
            port,
            addresses: addresses
                .into_iter()
                .map(|address| SocketAddr::new(address, port))
                .collect(),
            prefix: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_host_port_and_what_stands_before_paths() {
        let upstream = Upstream::parse("http://127.0.0.1:3000").unwrap();
        assert_eq!(upstream.authority, "127.0.0.1:3000");
        assert_eq!(upstream.addresses, ["127.0.0.1:3000".parse().unwrap()]);
        assert_eq!(upstream.prefix, "");

        let upstream = Upstream::parse("http://localhost:5000/api/").unwrap();
        assert_eq!(
            upstream.addresses,
            [
                "127.0.0.1:5000".parse().unwrap(),
                "[::1]:5000".parse().unwrap()
            ]
        );
        assert_eq!(upstream.prefix, "/api");

        let upstream = Upstream::parse("http://[::1]").unwrap();
        assert_eq!(upstream.addresses, ["[::1]:80".parse().unwrap()]);

        let upstream = Upstream::parse("http://sidecar:81").unwrap();
        assert_eq!((upstream.host.as_str(), upstream.port), ("sidecar", 81));
        assert!(upstream.addresses.is_empty());
    }

    #[test]
    fn what_is_no_address_of_a_server_is_refused() {
        for url in [
            "127.0.0.1:3000",
            "/path",
            "https://127.0.0.1:3000",
            "unix:///run/x.sock",
            "http://",
            "http://user:password@127.0.0.1",
            "http://127.0.0.1:99999",
            "http://127.0.0.1/?a=b",
            "http://a b",
        ] {
            assert!(Upstream::parse(url).is_err(), "{url}");
        }
    }
}
