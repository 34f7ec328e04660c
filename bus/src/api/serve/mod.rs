//! The server: connections within their limits, and a stop that drains.
//!
//! hyper's own connection builder, because axum's `serve` sets no timer and hyper-util's builder waits
//! for ever for the first byte. Each connection is one task; its HTTP/2 streams are tasks that it owns.
//! All of them end before [`run`] returns: in order, or at the drain's deadline by abort.
//! Never here: routes, events, a bus.

mod activity;
mod answer;
mod crowd;
mod limits;
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
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use activity::{Activity, Verdict, Watched};
use answer::Answer;
use crowd::{Crowd, Ticket};

pub(super) use answer::Payload;
pub(super) use crowd::Standing;
pub use limits::Limits;

/// How long accepting rests when the system has no more sockets to give.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// hyper takes no smaller bound for a read buffer.
const READ_BYTES_MIN: usize = 8 << 10;
/// What may wait to be sent to one HTTP/2 stream.
const SEND_BYTES_MAX: usize = 64 << 10;
/// What HTTP/2 clients may send ahead, for one request and in all.
const WINDOW_BYTES: u32 = 256 << 10;
/// How often an HTTP/2 client is asked whether it is still there, and how long it may take to say so.
const PING: Duration = Duration::from_secs(20);
/// Requests that an HTTP/2 client may reset before they were looked at (rapid reset).
const RESETS_MAX: usize = 20;

/// Answers one request.
pub(super) trait Handler: Clone + Send + Sync + 'static {
    /// The answer; its body may still be coming.
    fn call(
        &self,
        request: Request<Incoming>,
        standing: Standing,
    ) -> impl Future<Output = Response<Payload>> + Send + 'static;
}

/// Serves until `shutdown`, then drains; resolves when no connection is left.
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
    let crowd = Crowd::new(&limits);
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
                    if let Some(ticket) = crowd.admit(peer.ip()) {
                        let connection = Connection {
                            limits: Arc::clone(&limits),
                            ticket,
                            stopping: stopping.clone(),
                        };
                        connections.spawn(connection.run(stream, peer, handler.clone()));
                    }
                }
                Err(error) => rest(&error).await,
            },
        }
    }
    // From here on the system refuses new connections.
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

/// A client that was gone before it was accepted costs nothing; running out of files needs a pause.
async fn rest(error: &io::Error) {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    ) {
        tracing::error!(%error, "no connection can be accepted for the moment");
        sleep(ACCEPT_REST).await;
    }
}

struct Connection {
    limits: Arc<Limits>,
    ticket: Ticket,
    stopping: watch::Receiver<bool>,
}

impl Connection {
    async fn run(self, stream: TcpStream, peer: SocketAddr, handler: impl Handler) {
        let streams = Streams::default();
        self.drive(stream, peer, handler, streams.clone()).await;
        let mut left =
            std::mem::take(&mut *streams.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        left.shutdown().await;
    }

    async fn drive(
        mut self,
        stream: TcpStream,
        peer: SocketAddr,
        handler: impl Handler,
        streams: Streams,
    ) {
        // Small answers must not wait for more to come; a socket that is gone already says so when read.
        let _ = stream.set_nodelay(true);
        let activity = Arc::new(Activity::new());
        let io = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
        let builder = builder(&self.limits, streams);
        let standing = self.ticket.standing;
        let service = service_fn(|request: Request<Incoming>| {
            let open = activity.open(request.version() == Version::HTTP_2);
            let answer = handler.call(request, standing);
            async move {
                let answer = answer.await;
                Ok::<_, Infallible>(answer.map(|payload| Answer::new(payload, open)))
            }
        });
        let mut connection = pin!(builder.serve_connection(io, service));
        let mut tick = interval(self.limits.tick());
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut stopped, mut dismissed) = (false, false);
        loop {
            tokio::select! {
                biased;
                ended = connection.as_mut() => {
                    if let Err(error) = ended {
                        tracing::debug!(%peer, %error, "a connection ended in disorder");
                    }
                    break;
                }
                // An error means that the server is gone, which is a stop too.
                _ = self.stopping.wait_for(|stop| *stop), if !stopped => {
                    stopped = true;
                    connection.as_mut().graceful_shutdown();
                }
                _ = tick.tick() => match activity.verdict(&self.limits) {
                    Verdict::Keep => {}
                    Verdict::Idle if !dismissed => {
                        dismissed = true;
                        connection.as_mut().graceful_shutdown();
                    }
                    Verdict::Idle | Verdict::Overdue => {
                        tracing::debug!(%peer, "a connection was cut off: it was too slow");
                        break;
                    }
                },
            }
        }
    }
}

fn builder(limits: &Limits, streams: Streams) -> auto::Builder<Streams> {
    let mut builder = auto::Builder::new(streams);
    // The head's time limit is the tick's, which tells a slow head from a quiet connection; hyper's
    // own would end both after the same time and set a timer for each request.
    builder
        .http1()
        .header_read_timeout(None)
        // A head must fit the read buffer, so this is the bound of the head too.
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

/// The tasks of one connection's HTTP/2 streams: they end with it, by abort if need be.
#[derive(Clone, Default)]
struct Streams {
    // A plain mutex: it is held to spawn a task and to let go of those that ended.
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
