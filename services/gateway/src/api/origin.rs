//! Which pages may ask `/system` through a browser: those of the gateway itself.
//!
//! A browser that knows the password sends it with every request to the gateway,
//! whichever page makes it do so. It says which one, though, in headers that no
//! page can change. Other clients send none of them.

use axum::{
    extract::Request,
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

const FETCH_SITE: &str = "sec-fetch-site";
/// What the caller asked for, where a proxy asks for something else. A page can
/// set it for requests to its own origin only: for others the browser asks
/// first, and is not let.
const FORWARDED_HOST: &str = "x-forwarded-host";

/// Refuses what a page of another site asks for.
pub(super) async fn refuse_foreign(request: Request, next: Next) -> Response {
    if is_foreign(request.headers()) {
        let reason = "a page of another site must not use this API\n";
        return (StatusCode::FORBIDDEN, reason).into_response();
    }
    next.run(request).await
}

fn is_foreign(headers: &HeaderMap) -> bool {
    // What is not text is nobody's origin.
    let text = |name: &str| Some(headers.get(name)?.to_str().unwrap_or_default());
    // Over plain HTTP browsers send the origin only.
    match (text(FETCH_SITE), text(header::ORIGIN.as_str())) {
        // `none`: nobody but the person at the browser.
        (Some(site), _) => !matches!(site, "same-origin" | "none"),
        (None, Some(origin)) => {
            let hosts = [text(header::HOST.as_str()), text(FORWARDED_HOST)];
            !hosts.iter().flatten().any(|hosts| is_of(origin, hosts))
        }
        (None, None) => false,
    }
}

/// Whether an origin, as `http://node1.local:8080`, is one of these hosts.
fn is_of(origin: &str, hosts: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, authority)| {
        hosts
            .split(',')
            .any(|host| host.trim().eq_ignore_ascii_case(authority))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderName, HeaderValue};

    #[test]
    fn only_pages_of_the_gateway_may_ask() {
        const HOST: (&str, &str) = ("host", "node1.local:8080");
        for (headers, foreign) in [
            // faas-cli and curl.
            (&[HOST][..], false),
            // The portal over TLS, over plain HTTP, and in front of it a proxy.
            (&[HOST, ("sec-fetch-site", "same-origin")], false),
            (&[HOST, ("origin", "http://node1.local:8080")], false),
            (&[HOST, ("origin", "http://Node1.local:8080")], false),
            (
                &[
                    HOST,
                    ("origin", "https://fn.example"),
                    ("x-forwarded-host", "fn.example"),
                ],
                false,
            ),
            // An address that somebody typed.
            (&[HOST, ("sec-fetch-site", "none")], false),
            // Pages of others: elsewhere, on another port, without a name.
            (&[HOST, ("sec-fetch-site", "cross-site")], true),
            (&[HOST, ("sec-fetch-site", "same-site")], true),
            (&[HOST, ("sec-fetch-site", "")], true),
            (&[HOST, ("origin", "http://evil.example")], true),
            (&[HOST, ("origin", "http://node1.local")], true),
            (&[HOST, ("origin", "http://node1.local:80801")], true),
            (
                &[HOST, ("origin", "http://node1.local:8080.evil.example")],
                true,
            ),
            (&[HOST, ("origin", "null")], true),
            (&[HOST, ("origin", "")], true),
            (&[HOST, ("origin", "node1.local:8080")], true),
            (&[("origin", "http://node1.local:8080")], true),
            (
                &[
                    HOST,
                    ("sec-fetch-site", "cross-site"),
                    ("origin", "http://node1.local:8080"),
                ],
                true,
            ),
        ] {
            let mut map = HeaderMap::new();
            for (name, value) in headers {
                map.insert(
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                );
            }
            assert_eq!(is_foreign(&map), foreign, "{headers:?}");
        }
        let mut map = HeaderMap::new();
        map.insert("origin", HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(is_foreign(&map));
    }
}
