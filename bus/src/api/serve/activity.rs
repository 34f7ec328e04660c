//! What a connection is doing, as far as time limits ask: one small record for each connection, written
//! where bytes and answers pass, read by a slow tick. No timer is set or reset on the way of a request.
//!
//! Relaxed atomics throughout: each field is a hint of its own, and a tick that comes late by one
//! request decides the same a moment later.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::Limits;

/// A time that has not come.
const NEVER: u64 = u64::MAX;

/// What becomes of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// It goes on.
    Keep,
    /// It does nothing: say goodbye.
    Idle,
    /// The client is past a time limit: hang up.
    Overdue,
}

/// What a connection is doing; times are milliseconds since it was accepted.
pub(super) struct Activity {
    start: Instant,
    /// True once the first byte came.
    begun: AtomicBool,
    /// True once a request came over HTTP/2, where bytes also flow between requests.
    http2: AtomicBool,
    /// Since when the head of the next request has been coming in.
    head_since: AtomicU64,
    /// Since when no request has been open.
    idle_since: AtomicU64,
    /// Since when the socket has taken nothing of what is to be written.
    write_since: AtomicU64,
    /// Requests that came and whose answers have not ended.
    open: AtomicU32,
    /// Answers that wait for their reader, not for us.
    held: AtomicU32,
    /// When the last piece of any answer was taken.
    held_since: AtomicU64,
    /// Time that a test lets pass without waiting for it.
    #[cfg(test)]
    passed: AtomicU64,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            start: Instant::now(),
            begun: AtomicBool::new(false),
            http2: AtomicBool::new(false),
            head_since: AtomicU64::new(NEVER),
            idle_since: AtomicU64::new(0),
            write_since: AtomicU64::new(NEVER),
            open: AtomicU32::new(0),
            held: AtomicU32::new(0),
            held_since: AtomicU64::new(0),
            #[cfg(test)]
            passed: AtomicU64::new(0),
        }
    }

    fn now(&self) -> u64 {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(NEVER);
        #[cfg(test)]
        let now = now + self.passed.load(Relaxed);
        now
    }

    /// A request came: its head is whole.
    pub(super) fn open(self: &Arc<Self>, http2: bool) -> Open {
        self.head_since.store(NEVER, Relaxed);
        self.begun.store(true, Relaxed);
        if http2 {
            self.http2.store(true, Relaxed);
        }
        self.open.fetch_add(1, Relaxed);
        Open {
            activity: Arc::clone(self),
            held: false,
        }
    }

    /// Decides what becomes of the connection now.
    pub(super) fn verdict(&self, limits: &Limits) -> Verdict {
        let now = self.now();
        let late = |since: &AtomicU64, ms_max: u64| {
            let since = since.load(Relaxed);
            since != NEVER && now.saturating_sub(since) >= ms_max
        };
        if late(&self.write_since, limits.stalled_ms_max)
            || self.held.load(Relaxed) > 0 && late(&self.held_since, limits.stalled_ms_max)
        {
            return Verdict::Overdue;
        }
        if self.open.load(Relaxed) > 0 {
            return Verdict::Keep;
        }
        if !self.begun.load(Relaxed) && now >= limits.first_byte_ms_max
            || late(&self.head_since, limits.header_ms_max)
        {
            Verdict::Overdue
        } else if late(&self.idle_since, limits.idle_ms_max) {
            Verdict::Idle
        } else {
            Verdict::Keep
        }
    }

    fn bytes_came(&self) {
        if self.open.load(Relaxed) == 0
            && !self.http2.load(Relaxed)
            && self.head_since.load(Relaxed) == NEVER
        {
            self.begun.store(true, Relaxed);
            self.head_since.store(self.now(), Relaxed);
        }
    }

    fn write_ended(&self, pending: bool) {
        if !pending {
            self.write_since.store(NEVER, Relaxed);
        } else if self.write_since.load(Relaxed) == NEVER {
            self.write_since.store(self.now(), Relaxed);
        }
    }
}

/// A request that came and whose answer has not ended; dropped with the answer.
pub(super) struct Open {
    activity: Arc<Activity>,
    held: bool,
}

impl Open {
    /// The answer has something for its reader, who took the piece before it just now.
    pub(super) fn hold(&mut self) {
        self.activity.held_since.store(self.activity.now(), Relaxed);
        if !self.held {
            self.held = true;
            self.activity.held.fetch_add(1, Relaxed);
        }
    }

    /// The answer has nothing for its reader now: the wait is ours.
    pub(super) fn release(&mut self) {
        if self.held {
            self.held = false;
            self.activity.held.fetch_sub(1, Relaxed);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.release();
        if self.activity.open.fetch_sub(1, Relaxed) == 1 {
            self.activity.idle_since.store(self.activity.now(), Relaxed);
        }
    }
}

/// A socket that notes when bytes come and when they can't go.
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.activity.bytes_came();
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.activity.write_ended(result.is_pending());
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.activity.write_ended(result.is_pending());
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    fn check(activity: &Activity, seconds: u64, verdict: Verdict) {
        activity.passed.fetch_add(seconds * 1_000, Relaxed);
        assert_eq!(activity.verdict(&Limits::default()), verdict);
    }

    #[test]
    fn a_silent_connection_is_overdue() {
        let activity = Activity::new();
        check(&activity, 9, Verdict::Keep);
        check(&activity, 1, Verdict::Overdue);
    }

    #[test]
    fn a_head_that_drips_is_overdue_and_a_quiet_connection_idle() {
        let activity = Arc::new(Activity::new());
        activity.bytes_came();
        check(&activity, 9, Verdict::Keep);
        activity.bytes_came();
        let request = activity.open(false);
        check(&activity, 3_600, Verdict::Keep);
        drop(request);
        check(&activity, 74, Verdict::Keep);
        check(&activity, 1, Verdict::Idle);
        activity.bytes_came();
        check(&activity, 10, Verdict::Overdue);
    }

    #[test]
    fn a_reader_that_takes_nothing_is_overdue() {
        let activity = Arc::new(Activity::new());
        let mut request = activity.open(true);
        check(&activity, 100, Verdict::Keep);
        request.hold();
        check(&activity, 29, Verdict::Keep);
        request.hold();
        check(&activity, 29, Verdict::Keep);
        request.release();
        check(&activity, 3_600, Verdict::Keep);
        request.hold();
        check(&activity, 30, Verdict::Overdue);
        drop(request);
        activity.write_ended(true);
        check(&activity, 29, Verdict::Keep);
        activity.write_ended(true);
        check(&activity, 1, Verdict::Overdue);
        activity.write_ended(false);
        check(&activity, 1, Verdict::Keep);
    }
}
