//! A provider whose replicas are servers in this process: what the HTTP surface
//! is tested on, and proof that nothing in the gateway assumes an engine.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    net::SocketAddr,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use gateway::{
    model::{FunctionDeployment, FunctionId, FunctionStatus, Usage, logs},
    provider::{About, Error, Lines, Provider, Result, Route},
    server,
};
use http_body_util::BodyExt;
use hyper_util::rt::TokioIo;
use tokio::{io::AsyncWriteExt, net::TcpListener, task::JoinHandle, time};

/// Functions in memory. What an image does is in its name: see [`answer`].
#[derive(Default)]
pub(crate) struct Memory {
    functions: Mutex<BTreeMap<FunctionId, Function>>,
    images: Mutex<BTreeSet<String>>,
    secrets: Mutex<BTreeMap<(String, String), Vec<u8>>>,
    /// Set to make every operation fail as if the engine were away.
    pub(crate) away: Mutex<bool>,
    /// Set to have it accept questions and never answer, as an engine that
    /// starts.
    pub(crate) silent: Mutex<bool>,
    /// How long the last replicas of a function take to end.
    pub(crate) ending: Mutex<Duration>,
    /// Replicas started so far.
    pub(crate) starts: AtomicUsize,
}

struct Function {
    deployment: FunctionDeployment,
    replicas: Vec<Replica>,
}

struct Replica {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Replica {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Memory {
    /// The value of a secret.
    pub(crate) fn secret(&self, namespace: &str, name: &str) -> Option<Vec<u8>> {
        let key = (namespace.to_owned(), name.to_owned());
        self.secrets.lock().unwrap().get(&key).cloned()
    }

    fn check(&self) -> Result<()> {
        if *self.away.lock().unwrap() {
            return Err(Error::Unavailable("the engine is away".to_owned()));
        }
        Ok(())
    }

    async fn replicas(&self, image: &str, count: u32) -> Vec<Replica> {
        let mut replicas = Vec::new();
        for _ in 0..count {
            self.starts.fetch_add(1, Ordering::Relaxed);
            replicas.push(replica(image).await);
        }
        replicas
    }

    /// Ends the replicas behind the back of the provider's records.
    pub(crate) async fn crash_and_move(&self, id: &FunctionId) {
        let (image, count) = {
            let functions = self.functions.lock().unwrap();
            let function = &functions[id];
            (
                function.deployment.image.clone(),
                function.replicas.len() as u32,
            )
        };
        let moved = self.replicas(&image, count).await;
        self.functions.lock().unwrap().get_mut(id).unwrap().replicas = moved;
    }
}

/// A server on a port of its own. One whose image begins with `late` listens
/// only after a while, as containers do.
async fn replica(image: &str) -> Replica {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut listener = Some(listener);
    if image.starts_with("late") {
        listener = None;
    }
    let image: Arc<str> = image.into();
    let task = tokio::spawn(async move {
        let listener = match listener {
            Some(listener) => listener,
            None => {
                time::sleep(Duration::from_millis(300)).await;
                TcpListener::bind(address).await.unwrap()
            }
        };
        let router = Router::new().fallback(move |request| answer(Arc::clone(&image), request));
        server::serve(
            listener,
            router,
            Duration::from_secs(30),
            std::future::pending(),
        )
        .await;
    });
    Replica { address, task }
}

/// What a replica answers: `echo` what it was sent, with what it saw of the
/// request in headers; `socket` what comes over a WebSocket; `redirect` and `teapot` a status; `slow` nothing for two
/// seconds; `endless` a body without end.
async fn answer(image: Arc<str>, request: Request) -> Response {
    let kind = image.trim_start_matches("late-");
    let kind = kind.split(':').next().unwrap_or_default();
    match kind {
        "redirect" => (axum::http::StatusCode::FOUND, [("location", "/elsewhere")]).into_response(),
        "socket" if request.headers().contains_key("upgrade") => {
            let seen = format!("{:?}", request.headers().get("upgrade"));
            let mut request = request;
            let caller = hyper::upgrade::on(&mut request);
            tokio::spawn(async move {
                let mut caller = TokioIo::new(caller.await.unwrap());
                let (mut read, mut write) = tokio::io::split(&mut caller);
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
            let switch = axum::http::StatusCode::SWITCHING_PROTOCOLS;
            let headers = [
                ("connection", "upgrade"),
                ("upgrade", "websocket"),
                ("sec-websocket-accept", "accepted"),
            ];
            (switch, headers, [("x-seen-upgrade", seen)]).into_response()
        }
        "teapot" => (axum::http::StatusCode::IM_A_TEAPOT, "short and stout").into_response(),
        "slow" => {
            time::sleep(Duration::from_secs(2)).await;
            "late".into_response()
        }
        "endless" => {
            let stream = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>("tick\n"));
            let stream = stream.then(async |item| {
                time::sleep(Duration::from_millis(20)).await;
                item
            });
            Body::from_stream(stream).into_response()
        }
        _ => {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let mut answer = body.into_response();
            let headers = answer.headers_mut();
            headers.remove("content-type");
            headers.insert("x-seen-method", head.method.as_str().parse().unwrap());
            headers.insert("x-seen-uri", head.uri.to_string().parse().unwrap());
            for (name, value) in &head.headers {
                let name = format!("x-seen-{name}");
                headers.insert(
                    axum::http::HeaderName::try_from(name).unwrap(),
                    value.clone(),
                );
            }
            answer
        }
    }
}

impl Provider for Memory {
    async fn about(&self) -> About {
        About {
            provider: "memory".to_owned(),
            orchestration: "none".to_owned(),
            release: "1".to_owned(),
        }
    }

    async fn ready(&self) -> Result<()> {
        if *self.silent.lock().unwrap() {
            std::future::pending::<()>().await;
        }
        self.check()
    }

    async fn list(&self) -> Result<Vec<FunctionStatus>> {
        self.check()?;
        Ok(self
            .functions
            .lock()
            .unwrap()
            .iter()
            .map(|(id, function)| function.status(id))
            .collect())
    }

    async fn status(&self, id: &FunctionId) -> Result<FunctionStatus> {
        self.check()?;
        let functions = self.functions.lock().unwrap();
        functions
            .get(id)
            .map(|function| function.status(id))
            .ok_or(Error::NotFound)
    }

    async fn deploy(
        &self,
        id: &FunctionId,
        deployment: FunctionDeployment,
        replicas: u32,
    ) -> Result<()> {
        self.check()?;
        if self.functions.lock().unwrap().contains_key(id) {
            return Err(Error::Exists);
        }
        if deployment.image.starts_with("missing") {
            return Err(Error::Invalid("cannot fetch the image".to_owned()));
        }
        for name in deployment.secret_names() {
            let key = (id.namespace.clone(), name.clone());
            if !self.secrets.lock().unwrap().contains_key(&key) {
                return Err(Error::Invalid(format!("unable to find secret: {name}")));
            }
        }
        let replicas = self.replicas(&deployment.image, replicas).await;
        let function = Function {
            deployment,
            replicas,
        };
        self.functions.lock().unwrap().insert(id.clone(), function);
        Ok(())
    }

    async fn update(&self, id: &FunctionId, deployment: FunctionDeployment) -> Result<()> {
        self.check()?;
        let count = self.status(id).await?.replicas;
        let replicas = self.replicas(&deployment.image, count).await;
        let function = Function {
            deployment,
            replicas,
        };
        self.functions.lock().unwrap().insert(id.clone(), function);
        Ok(())
    }

    async fn delete(&self, id: &FunctionId) -> Result<()> {
        self.check()?;
        let removed = self.functions.lock().unwrap().remove(id);
        removed.map(drop).ok_or(Error::NotFound)
    }

    async fn scale(&self, id: &FunctionId, replicas: u32) -> Result<()> {
        self.check()?;
        let status = self.status(id).await?;
        let more = self
            .replicas(&status.image, replicas.saturating_sub(status.replicas))
            .await;
        if replicas == 0 {
            let ending = *self.ending.lock().unwrap();
            time::sleep(ending).await;
        }
        let mut functions = self.functions.lock().unwrap();
        let function = functions.get_mut(id).ok_or(Error::NotFound)?;
        function.replicas.truncate(replicas as usize);
        function.replicas.extend(more);
        Ok(())
    }

    async fn route(&self, id: &FunctionId) -> Result<Route> {
        self.check()?;
        let functions = self.functions.lock().unwrap();
        let function = functions.get(id).ok_or(Error::NotFound)?;
        let annotations = function.deployment.annotations.clone();
        Ok(Route {
            endpoints: function.replicas.iter().map(|it| it.address).collect(),
            annotations: Arc::new(annotations.unwrap_or_default()),
        })
    }

    fn distrust(&self, _: &FunctionId) {}

    async fn usage(&self, id: &FunctionId) -> Result<Usage> {
        let replicas = self.status(id).await?.available_replicas;
        Ok(Usage {
            cpu: 10.0 * f64::from(replicas),
            memory: 1000.0 * f64::from(replicas),
        })
    }

    /// Every replica wrote its number, a second after the one before it. Who
    /// follows hears nothing more.
    async fn logs(&self, id: &FunctionId, query: &logs::Query) -> Result<Lines> {
        let replicas = self.status(id).await?.available_replicas;
        let line = |index: u32| logs::Line {
            name: id.name.clone(),
            namespace: id.namespace.clone(),
            instance: format!("{id}.{index}"),
            timestamp: format!("2026-01-01T00:00:{index:02}Z"),
            text: format!("this is {index}"),
        };
        let wanted = query.clone();
        let lines: Vec<_> = (0..replicas)
            .map(line)
            .filter(|line| {
                wanted
                    .instance
                    .as_ref()
                    .is_none_or(|it| *it == line.instance)
            })
            .filter(|line| {
                let time = logs::parse_time(&line.timestamp);
                wanted.since.is_none_or(|since| time.unwrap() >= since)
            })
            .take(wanted.tail.unwrap_or(usize::MAX))
            .map(Ok)
            .collect();
        let lines = futures_util::stream::iter(lines);
        Ok(if query.follow {
            lines.chain(futures_util::stream::pending()).boxed()
        } else {
            lines.boxed()
        })
    }

    async fn secrets(&self, namespace: &str) -> Result<Vec<String>> {
        self.check()?;
        let secrets = self.secrets.lock().unwrap();
        let of_it = secrets.keys().filter(|(space, _)| space == namespace);
        Ok(of_it.map(|(_, name)| name.clone()).collect())
    }

    async fn create_secret(&self, namespace: &str, name: &str, value: &[u8]) -> Result<()> {
        self.check()?;
        if !gateway::secrets::is_name(name) {
            return Err(Error::Invalid(format!("name: {name:?}")));
        }
        let key = (namespace.to_owned(), name.to_owned());
        match self.secrets.lock().unwrap().entry(key) {
            Entry::Occupied(_) => Err(Error::Exists),
            Entry::Vacant(entry) => {
                entry.insert(value.to_owned());
                Ok(())
            }
        }
    }

    async fn replace_secret(&self, namespace: &str, name: &str, value: &[u8]) -> Result<()> {
        self.check()?;
        let key = (namespace.to_owned(), name.to_owned());
        let mut secrets = self.secrets.lock().unwrap();
        *secrets.get_mut(&key).ok_or(Error::NotFound)? = value.to_owned();
        Ok(())
    }

    async fn is_secret(&self, namespace: &str, name: &str, value: &[u8]) -> Result<bool> {
        self.check()?;
        Ok(self.secret(namespace, name).as_deref() == Some(value))
    }

    async fn delete_secret(&self, namespace: &str, name: &str) -> Result<()> {
        self.check()?;
        let key = (namespace.to_owned(), name.to_owned());
        let removed = self.secrets.lock().unwrap().remove(&key);
        removed.map(drop).ok_or(Error::NotFound)
    }

    async fn has_image(&self, image: &str) -> Result<bool> {
        self.check()?;
        Ok(self.images.lock().unwrap().contains(image))
    }

    async fn load_images(&self, archive: &Path) -> Result<()> {
        self.check()?;
        let text = std::fs::read_to_string(archive).map_err(|error| {
            Error::Failed(format!("cannot load {}: {error}", archive.display()))
        })?;
        let mut images = self.images.lock().unwrap();
        images.extend(text.lines().map(str::to_owned));
        Ok(())
    }
}

impl Function {
    fn status(&self, id: &FunctionId) -> FunctionStatus {
        let count = self.replicas.len() as u32;
        FunctionStatus {
            replicas: count,
            available_replicas: count,
            created_at: "2026-01-01T00:00:00Z".to_owned(),
            ..FunctionStatus::of(&self.deployment, &id.namespace)
        }
    }
}
