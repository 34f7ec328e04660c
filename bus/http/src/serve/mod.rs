//! The server. It accepts connections up to their limits, and drains them when it stops.
//!
//! It uses hyper's own connection builder, because axum's `serve` sets no timer and hyper-util's builder
//! waits for ever for the first byte. Each connection is one task, and its HTTP/2 streams are tasks that it
//! owns. All of them end before [`run`] returns, either cleanly or aborted at the deadline of the drain.
//! Never here: routes, events, a bus.

mod activity;
mod answer;
mod connection_limiter;
mod limits;
mod socket;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::service::service_fn;
use hyper::{Request, Response, Version};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use activity::Verdict;
use answer::Answer;
use connection_limiter::{ConnectionLimiter, ConnectionPermit};
use socket::{Line, Watched};

pub(super) use activity::Inward;
pub(super) use answer::Payload;
pub(super) use connection_limiter::Access;
pub use limits::Limits;

/// How long accepting pauses when the system has no more sockets.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// How often a lasting lack of sockets is logged.
const COMPLAINT_EVERY: Duration = Duration::from_secs(60);
/// hyper takes no smaller bound for a read buffer.
const READ_BYTES_MIN: usize = 8 << 10;
/// Bytes that may wait to be sent on one HTTP/2 stream.
const SEND_BYTES_MAX: usize = 64 << 10;
/// Bytes that an HTTP/2 client may send ahead, for one request and in total.
const WINDOW_BYTES: u32 = 256 << 10;
/// How often a ping asks an HTTP/2 client for a sign of life, and how long it may take to answer.
const PING: Duration = Duration::from_secs(20);
/// Requests that an HTTP/2 client may reset before they were read (rapid reset).
const RESETS_MAX: usize = 20;

/// Answers one request.
pub(super) trait Handler: Clone + Send + Sync + 'static {
    /// The answer. Its body may still be incomplete.
    fn call(
        &self,
        request: Request<Inward>,
        access: Access,
    ) -> impl Future<Output = Response<Payload>> + Send + 'static;
}

/// Serves until `shutdown`, then drains. Returns when no connection is left.
///
/// # Errors
/// When the listener fails for good.
pub(super) async fn run(
    listener: TcpListener,
    limits: Limits,
    handler: impl Handler,
    shutdown: impl Future<Output = ()>,
) -> io::Result<()> {
    let limits = Arc::new(limits);
    let connection_limiter = ConnectionLimiter::new(Arc::clone(&limits));
    let mut out_of_sockets = Complaint::default();
    let (stop, stopping) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut shutdown = pin!(shutdown);
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => note_end(ended),
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let (line, watched) = Line::new(stream);
                    if let Some(connection_permit) = connection_limiter.admit(peer.ip(), &line) {
                        let connection = Connection {
                            limits: Arc::clone(&limits),
                            line,
                            connection_permit,
                            stopping: stopping.clone(),
                        };
                        connections.spawn(connection.run(watched, peer, handler.clone()));
                    }
                }
                // A client that left before it was accepted.
                Err(error) if is_client_gone(&error) => {}
                Err(error) => {
                    out_of_sockets.say(&error, Instant::now());
                    connection_limiter.give_up_one();
                    sleep(ACCEPT_REST).await;
                }
            },
        }
    }
    // From here on, the system refuses new connections.
    drop(listener);
    stop.send_replace(true);
    let drain = Duration::from_millis(limits.drain_ms_max);
    let drained = timeout(drain, async {
        while let Some(ended) = connections.join_next().await {
            note_end(ended);
        }
    });
    if drained.await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "connections were cut off: they did not end in time"
        );
        connections.shutdown().await;
    }
    Ok(())
}

fn note_end(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

fn is_client_gone(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// Logs that no connection can be accepted: at once, and then at most once in [`COMPLAINT_EVERY`].
#[derive(Default)]
struct Complaint {
    said_at: Option<Instant>,
    unsaid: u64,
}

impl Complaint {
    /// Logs or counts an error. Returns true if it was logged.
    fn say(&mut self, error: &io::Error, now: Instant) -> bool {
        if self.said_at.is_some_and(|at| now < at + COMPLAINT_EVERY) {
            self.unsaid += 1;
            return false;
        }
        let unsaid = std::mem::take(&mut self.unsaid);
        self.said_at = Some(now);
        tracing::error!(%error, unsaid, "no connection can be accepted for the moment");
        true
    }
}

struct Connection {
    limits: Arc<Limits>,
    line: Arc<Line>,
    connection_permit: ConnectionPermit,
    stopping: watch::Receiver<bool>,
}

impl Connection {
    async fn run(mut self, watched: Watched, peer: SocketAddr, handler: impl Handler) {
        let streams = Streams::default();
        let end = self.drive(watched, peer, handler, streams.clone()).await;
        let mut left =
            std::mem::take(&mut *streams.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        left.shutdown().await;
        let ends_unread = match end {
            End::InOrder => self.line.activity.left_unread(),
            End::Disorder => true,
            End::CutOff => false,
        };
        if ends_unread {
            self.take_leave().await;
        }
    }

    async fn drive(
        &mut self,
        watched: Watched,
        peer: SocketAddr,
        handler: impl Handler,
        streams: Streams,
    ) -> End {
        let line = Arc::clone(&self.line);
        // Small answers must not wait for more data. A socket that is broken already reports it when it is
        // read.
        line.send_at_once();
        let activity = &line.activity;
        let builder = builder(&self.limits, streams);
        let access = self.connection_permit.access;
        let service = service_fn(|request: Request<Incoming>| {
            let open = activity.open(request.version() == Version::HTTP_2);
            let request = request.map(|body| Inward::new(body, Arc::clone(activity)));
            let answer = handler.call(request, access);
            async move {
                let answer = answer.await;
                Ok::<_, Infallible>(answer.map(|payload| Answer::new(payload, open)))
            }
        });
        let mut connection = pin!(builder.serve_connection(TokioIo::new(watched), service));
        let mut tick = interval(self.limits.tick());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut stopped, mut dismissed) = (false, false);
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => match ended {
                    Ok(()) => return End::InOrder,
                    Err(error) => {
                        tracing::debug!(%peer, %error, "a connection ended in disorder");
                        return End::Disorder;
                    }
                },
                () = line.evicted.notified() => {
                    tracing::debug!(%peer, "a connection gave way to a newcomer");
                    return End::CutOff;
                }
                // An error means that the server is gone, which also means to stop.
                _ = self.stopping.wait_for(|stop| *stop), if !stopped => {
                    stopped = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = tick.tick() => {
                    if activity.is_busy() && activity.client_left(line.look(), &self.limits) {
                        tracing::debug!(%peer, "a client left before its answer");
                        return End::CutOff;
                    }
                    match activity.verdict(&self.limits) {
                        Verdict::Keep => {}
                        Verdict::Idle if !dismissed => {
                            dismissed = true;
                            connection.as_mut().graceful_shutdown();
                        }
                        Verdict::Idle | Verdict::Overdue => {
                            tracing::debug!(%peer, "a connection was cut off: it was too slow");
                            return End::CutOff;
                        }
                    }
                }
            }
        }
    }

    /// Ends a connection whose client is still sending. The client has its answer, but reads it only after it
    /// has sent everything. The server reads on and discards what comes, within bounds.
    async fn take_leave(&mut self) {
        let line = Arc::clone(&self.line);
        line.activity.leave();
        if line.shut().is_err() {
            return;
        }
        let mut drained = pin!(line.drain(self.limits.leaving_bytes_max));
        let mut tick = interval(self.limits.tick());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = &mut drained => return,
                () = line.evicted.notified() => return,
                _ = self.stopping.wait_for(|stop| *stop) => return,
                _ = tick.tick() => {
                    if line.activity.verdict(&self.limits) != Verdict::Keep {
                        return;
                    }
                }
            }
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// Every request was answered.
    InOrder,
    /// The input could not be read, or the connection broke.
    Disorder,
    /// The server closed the connection.
    CutOff,
}

fn builder(limits: &Limits, streams: Streams) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(streams);
    // The tick enforces the time limit of the head, because it can tell a slow head from a quiet connection.
    // hyper's own limit would end both after the same time and set a timer for each request.
    builder
        .http1()
        .header_read_timeout(None)
        // A client that has sent its request and closed its sending side still waits for the answer.
        .half_close(true)
        // A head must fit into the read buffer, so this also bounds the head.
        .max_buf_size(limits.header_bytes_max.max(READ_BYTES_MIN));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection_max)
        .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(RESETS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_send_buf_size(SEND_BYTES_MAX)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

/// The tasks of one connection's HTTP/2 streams. They end with the connection and are aborted if necessary.
#[derive(Clone, Default)]
struct Streams {
    // A plain mutex. It is held to spawn a task and to remove those that ended.
    tasks: Arc<Mutex<JoinSet<()>>>,
}

impl<F> Executor<F> for Streams
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, task: F) {
        let mut tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(ended) = tasks.try_join_next() {
            note_end(ended);
        }
        tasks.spawn(task);
    }
}
