//! Calls functions by the clock: those with the annotation `topic:
//! cron-function`, when their annotation `schedule` says.

mod plan;
mod schedule;

use std::{
    collections::HashSet,
    pin::pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use axum::body::Body;
use http_body_util::BodyExt;
use hyper::{
    Request,
    header::{self, HeaderValue},
};
use tokio::time;

use self::plan::{Now, Planner, schedule_of};
use crate::{
    model::{FunctionId, FunctionStatus},
    provider::Result,
    proxy::Trusted,
    queue::Caller,
};

/// How long the functions may take to be listed; the former list is used then.
const LIST_LIMIT: Duration = Duration::from_secs(5);
/// How soon they are listed again when that failed, at first and at the latest:
/// at the start the engine comes after the gateway, and some nodes have none.
const LIST_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What knows the functions and calls them.
pub(crate) trait Functions: Caller {
    /// All of them.
    fn list(&self) -> impl Future<Output = Result<Vec<FunctionStatus>>> + Send;
}

/// The functions that a call by the clock is under way to.
type Busy = Arc<Mutex<HashSet<FunctionId>>>;

/// Calls functions by the clock until `stop` is done.
pub(crate) async fn run(functions: Arc<impl Functions>, stop: impl Future) {
    let mut stop = pin!(stop);
    let start = Instant::now();
    let mut planner = Planner::default();
    let mut listed = Vec::new();
    let mut again = LIST_PAUSE.0;
    let busy = Busy::default();
    loop {
        let mut latest = None;
        if let Ok(Ok(all)) = time::timeout(LIST_LIMIT, functions.list()).await {
            listed = all;
            listed.retain(|function| schedule_of(function).is_some());
            again = LIST_PAUSE.0;
        } else {
            latest = Some(again);
            again = (again * 2).min(LIST_PAUSE.1);
        }
        let now = Now {
            wall: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            monotonic: start.elapsed(),
        };
        let look = planner.look(&listed, now);
        for complaint in look.complaints {
            eprintln!("gateway: {complaint}");
        }
        for id in look.due {
            if busy_set(&busy).insert(id.clone()) {
                tokio::spawn(call(Arc::clone(&functions), id, Arc::clone(&busy)));
            } else {
                eprintln!("gateway: {id} is not called by the clock: its last call is not over");
            }
        }
        let pause = latest.unwrap_or(look.pause).min(look.pause);
        tokio::select! {
            _ = &mut stop => return,
            () = time::sleep(pause) => {}
        }
    }
}

async fn call(functions: Arc<impl Functions>, id: FunctionId, busy: Busy) {
    let result = match request(&id) {
        Ok(request) => {
            let answer = functions.call(request).await;
            let status = answer.status();
            let mut body = answer.into_body();
            while let Some(Ok(_)) = body.frame().await {}
            match status.is_server_error() || status.is_client_error() {
                true => Err(format!("it answers {status}")),
                false => Ok(()),
            }
        }
        Err(error) => Err(error.to_string()),
    };
    if let Err(reason) = result {
        eprintln!("gateway: {id} was called by the clock: {reason}");
    }
    busy_set(&busy).remove(&id);
}

fn request(id: &FunctionId) -> hyper::http::Result<Request<Body>> {
    const AGENT: HeaderValue =
        HeaderValue::from_static(concat!("rubus-cron/", env!("CARGO_PKG_VERSION")));
    Request::post(format!("/function/{id}"))
        .header(header::USER_AGENT, AGENT)
        .header(header::CONTENT_LENGTH, 0)
        .extension(Trusted)
        .body(Body::empty())
}

fn busy_set(busy: &Busy) -> std::sync::MutexGuard<'_, HashSet<FunctionId>> {
    busy.lock().unwrap_or_else(PoisonError::into_inner)
}
