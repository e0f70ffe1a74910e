//! The streaming mode: a process a request, which reads the request as it
//! arrives, and whose output is passed on as it comes.

use std::{
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::{
    Request, Response, StatusCode,
    body::{Bytes, Frame},
    header::{self, HeaderValue},
};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    net::unix::pipe,
    task::JoinHandle,
    time::{self, Instant},
};

use crate::{
    answer::{self, Answer},
    body::{Body, Error},
    cgi,
    children::{Child, exit_error},
    duration,
    lines::{self, Stream},
    log,
    process::{Task, start_error},
    record::Record,
    route::State,
};

/// Bytes of output that are read at once.
const CHUNK: usize = 16 << 10;

/// Answers one request by running the process once. A caller who hangs up ends
/// the process, and so does the end of its time.
pub(crate) async fn serve(state: &Arc<State>, request: Request<Body>) -> Answer {
    let config = &state.config;
    let record = Record::of(&request);
    let (parts, body) = request.into_parts();
    let task = Task {
        command: &config.process,
        environment: cgi::variables(&parts),
        combine_output: false,
    };
    let process = match task.start(&state.children) {
        Ok(process) => process,
        Err(error) => {
            let text = start_error(&config.process[0], &error);
            log::line(&text);
            let failure = StatusCode::INTERNAL_SERVER_ERROR;
            record.log(failure.as_u16(), 0);
            return answer::internal(failure, format!("{text}\n"));
        }
    };
    if let Some(stderr) = process.stderr {
        tokio::spawn(lines::pass_on(stderr, Stream::Stderr, config.lines));
    }
    let start = Instant::from_std(record.start());
    let after = |limit: Duration| start.checked_add(limit);
    let read_limit = (!config.read_timeout.is_zero()).then_some(config.read_timeout);
    let body = body.until(read_limit.and_then(after));
    let limit = config.exchange_limit(config.exec_timeout);
    let deadline = limit.and_then(after);

    let mut output = Output {
        child: process.child,
        stdout: process.stdout,
        feeder: Some(tokio::spawn(feed(body, process.stdin))),
        limit: limit.zip(deadline),
        over: false,
    };
    // The status is told with the first bytes, as the process may need long for
    // them, or have none.
    let first = output.next();
    let first = match deadline {
        Some(deadline) => time::timeout_at(deadline, first).await.ok(),
        None => Some(first.await),
    };
    let Some(first) = first else {
        drop(output);
        let failure = StatusCode::GATEWAY_TIMEOUT;
        record.log(failure.as_u16(), 0);
        return answer::internal(failure, "");
    };
    let body = match first {
        None => Body::empty(),
        Some(Ok(first)) => Body::stream(Rest {
            first: Some(first),
            output,
        })
        .until(deadline),
        Some(Err(error)) => {
            record.log(StatusCode::BAD_REQUEST.as_u16(), 0);
            return answer::internal(StatusCode::BAD_REQUEST, format!("{error}\n"));
        }
    };
    let mut answer = Response::new(body.on_end(move |bytes| record.log(200, bytes)));
    let kind = config.content_type.as_deref();
    if let Some(kind) = kind.and_then(|kind| HeaderValue::from_str(kind).ok()) {
        answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    }
    answer
}

/// A request that broke off. The input of the process is kept open: to the
/// process it must not look like one that ended.
struct Broken {
    error: Error,
    _stdin: pipe::Sender,
}

/// Gives a request to the process as it arrives.
async fn feed(mut body: Body, mut stdin: pipe::Sender) -> Result<(), Broken> {
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                if stdin.write_all(&data).await.is_err() {
                    // A process need not read what it is given.
                    break;
                }
            }
            // Trailers.
            Ok(Err(_)) => {}
            Err(error) => {
                return Err(Broken {
                    error,
                    _stdin: stdin,
                });
            }
        }
    }
    Ok(())
}

/// What a process writes. When it is dropped before its end, the process is
/// killed.
struct Output {
    child: Child,
    stdout: pipe::Receiver,
    /// Who gives the request to the process, as long as there is something left.
    feeder: Option<JoinHandle<Result<(), Broken>>>,
    /// How long the process may run, and until when that is.
    limit: Option<(Duration, Instant)>,
    /// Whether there is nothing left to tell of the process.
    over: bool,
}

impl Output {
    /// The next bytes; nothing once the process has ended.
    ///
    /// # Errors
    /// When the request broke off.
    async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|context| self.poll_next(context)).await
    }

    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if let Some(feeder) = &mut self.feeder
            && let Poll::Ready(fed) = Pin::new(feeder).poll(context)
        {
            self.feeder = None;
            if let Ok(Err(broken)) = fed {
                self.child.kill_group();
                self.over = true;
                log::line(format_args!(
                    "Function was killed: its request broke off: {}",
                    broken.error
                ));
                return Poll::Ready(Some(Err(broken.error)));
            }
        }
        ready!(self.stdout.poll_read_ready(context))?;
        let mut chunk = vec![0; CHUNK];
        let mut buffer = ReadBuf::new(&mut chunk);
        ready!(Pin::new(&mut self.stdout).poll_read(context, &mut buffer))?;
        let read = buffer.filled().len();
        if read > 0 {
            chunk.truncate(read);
            return Poll::Ready(Some(Ok(chunk.into())));
        }
        let status = ready!(pin!(self.child.wait()).poll(context));
        self.over = true;
        if !status.success() {
            log::line(exit_error(status));
        }
        Poll::Ready(None)
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if let Some(feeder) = &self.feeder {
            feeder.abort();
        }
        if self.over {
            return;
        }
        match self.limit {
            Some((limit, deadline)) if Instant::now() >= deadline => log::line(format_args!(
                "Function was killed by ExecTimeout: {}",
                duration::format(limit)
            )),
            _ => log::line("Function was killed: nobody waits for its answer any more"),
        }
    }
}

/// Output of which the first bytes were waited for already.
struct Rest {
    first: Option<Bytes>,
    output: Output,
}

impl hyper::body::Body for Rest {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let next = match self.first.take() {
            Some(first) => Some(Ok(first)),
            None => ready!(self.output.poll_next(context)),
        };
        Poll::Ready(next.map(|bytes| bytes.map(Frame::data)))
    }
}
