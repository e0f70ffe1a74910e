//! Listens and serves until it is told to stop.

use std::{
    convert::Infallible,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
    pin::pin,
    time::Duration,
};

use axum::{Router, body::Body};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, UnixListener},
    sync::watch,
    time,
};
use tower_service::Service;

use crate::api::Remote;

/// Most bytes of a request line with its headers.
const HEADER_BYTES: usize = 64 << 10;
/// Most headers of a request.
const HEADERS: usize = 256;
/// How long requests may take to end when the gateway stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Pause after a connection that could not be accepted (no descriptors left).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Listens on an address; without one on every address, and where there is no
/// IPv6 on those of IPv4.
///
/// # Errors
/// When the port is taken, or the node does not have the address.
pub async fn listen(address: Option<IpAddr>, port: u16) -> Result<TcpListener, String> {
    let any = address.unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    let listener = match (TcpListener::bind((any, port)).await, address) {
        (Err(_), None) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).await,
        (listener, _) => listener,
    };
    listener.map_err(|error| match address {
        Some(address) => format!("cannot listen on port {port} of {address}: {error}"),
        None => format!("cannot listen on port {port}: {error}"),
    })
}

/// Answers every request on a socket of the node: who hears it knows that the
/// gateway is at work.
///
/// # Errors
/// When the socket cannot be made.
pub fn answer_health(socket: &Path) -> Result<(), String> {
    const WELL: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nOK";
    let failed = |error| format!("cannot listen on {}: {error}", socket.display());
    // Left by one before this.
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let listener = UnixListener::bind(socket).map_err(failed)?;
    tokio::spawn(async move {
        loop {
            let Ok((mut stream, _)) = listener.accept().await else {
                time::sleep(ACCEPT_PAUSE).await;
                continue;
            };
            tokio::spawn(async move {
                let mut request = [0; 1024];
                let answer = async {
                    if stream.read(&mut request).await? > 0 {
                        stream.write_all(WELL).await?;
                    }
                    io::Result::Ok(())
                };
                // Whatever is asked, and whoever does not listen.
                let _ = time::timeout(DRAIN, answer).await;
            });
        }
    });
    Ok(())
}

/// Serves `router` until `stop` is done, then lets requests end.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    read_timeout: Duration,
    stop: impl Future<Output = ()>,
) {
    let mut http = http1::Builder::new();
    http.max_buf_size(HEADER_BYTES)
        .max_headers(HEADERS)
        .title_case_headers(true)
        .timer(TokioTimer::new())
        .header_read_timeout(read_timeout);
    // Every connection has a receiver; when the last one goes, all have ended.
    let (ending, end) = watch::channel(());
    let mut stop = pin!(stop);
    loop {
        let (stream, remote) = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    report(&error);
                    time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let router = router.clone();
        let service = service_fn(move |request: Request<Incoming>| {
            let mut router = router.clone();
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Remote(unmapped(remote)));
            async move {
                Ok::<_, Infallible>(
                    router
                        .call(request)
                        .await
                        .unwrap_or_else(|never| match never {}),
                )
            }
        });
        let connection = http.serve_connection(TokioIo::new(stream), service);
        let mut end = end.clone();
        // A connection that breaks is its caller's affair.
        tokio::spawn(async move {
            let mut connection = pin!(connection.with_upgrades());
            tokio::select! {
                _ = &mut connection => return,
                _ = end.changed() => connection.as_mut().graceful_shutdown(),
            }
            let _ = connection.await;
        });
    }
    drop((listener, end));
    ending.send_replace(());
    let _ = time::timeout(DRAIN, ending.closed()).await;
}

/// An IPv4 address as itself, though it came in over IPv6.
fn unmapped(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

fn report(error: &io::Error) {
    eprintln!("gateway: cannot accept a connection: {error}");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    #[tokio::test]
    async fn the_health_socket_answers_also_after_a_kill() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("health.sock");
        for _ in 0..2 {
            answer_health(&socket).unwrap();
            let path = socket.clone();
            let ask = move || {
                let mut stream = UnixStream::connect(path)?;
                stream.write_all(b"GET /healthz HTTP/1.1\r\n\r\n")?;
                let mut answer = String::new();
                stream.read_to_string(&mut answer).map(|_| answer)
            };
            let answer = tokio::task::spawn_blocking(ask).await.unwrap().unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        }
        assert!(answer_health(Path::new("/nonexistent/x.sock")).is_err());
    }

    #[tokio::test]
    async fn an_address_of_its_own_is_listened_on() {
        let loopback = Some(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let listener = listen(loopback, 0).await.unwrap();
        assert!(listener.local_addr().unwrap().ip().is_loopback());
        let foreign = Some(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));
        let error = listen(foreign, 1).await.unwrap_err();
        assert!(
            error.starts_with("cannot listen on port 1 of 192.0.2.1"),
            "{error}"
        );
    }
}
