//! What a connection is doing, for time limits. Each connection has one small record. Code that moves bytes or
//! answers writes it, and a slow tick reads it. So a request sets no timers.
//!
//! All atomics are relaxed: no field depends on another, and a tick that misses an update decides the same at
//! the next tick.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::Instant;

use super::Limits;
use super::socket::ClientState;

/// Stands for no time.
const NEVER: u64 = u64::MAX;

/// What to do with a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Verdict {
    /// Keep it open.
    Keep,
    /// It is idle: close it cleanly.
    Idle,
    /// The client exceeded a time limit: close it at once.
    Overdue,
}

/// What a connection waits for, if it waits for its client. When no place is left, connections are closed in
/// this order to make place for new ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Waits {
    /// For a first request, or for the client to close the connection. Closing it loses nothing.
    First,
    /// For the next request.
    Next,
    /// For the rest of a request, or for the client to read the answer.
    Rest,
}

/// What a connection is doing. Times are milliseconds since it was accepted.
pub(super) struct Activity {
    start: Instant,
    /// True once the first byte has arrived.
    begun: AtomicBool,
    /// True once a request came over HTTP/2, which also sends bytes between requests.
    http2: AtomicBool,
    /// When the head of the next request began to arrive.
    head_since: AtomicU64,
    /// When the last open request ended.
    idle_since: AtomicU64,
    /// When the newest request arrived.
    opened_at: AtomicU64,
    /// How many handlers wait for more of a body.
    bodies: AtomicU32,
    /// True once an answer has ended.
    served: AtomicBool,
    /// True once a body was not read to its end. The connection can't be read beyond it.
    unread: AtomicBool,
    /// When the server began to wait only for the client to close the connection.
    leaving_since: AtomicU64,
    /// When bytes last arrived during that wait.
    drained_at: AtomicU64,
    /// When the client was first known to send no more.
    half_closed_since: AtomicU64,
    /// When the socket stopped accepting bytes that wait to be written.
    write_since: AtomicU64,
    /// How many requests have arrived whose answers have not ended.
    open: AtomicU32,
    /// How many answers wait for their reader, not for the server.
    held: AtomicU32,
    /// When the reader last took a piece of any answer.
    held_since: AtomicU64,
    /// Time that a test adds, so that it need not wait.
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
            opened_at: AtomicU64::new(0),
            bodies: AtomicU32::new(0),
            served: AtomicBool::new(false),
            unread: AtomicBool::new(false),
            leaving_since: AtomicU64::new(NEVER),
            drained_at: AtomicU64::new(NEVER),
            half_closed_since: AtomicU64::new(NEVER),
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

    /// A request has arrived: its head is complete.
    pub(super) fn open(self: &Arc<Self>, http2: bool) -> Open {
        self.head_since.store(NEVER, Relaxed);
        self.begun.store(true, Relaxed);
        if http2 {
            self.http2.store(true, Relaxed);
        }
        self.opened_at.store(self.now(), Relaxed);
        self.open.fetch_add(1, Relaxed);
        Open {
            activity: Arc::clone(self),
            held: false,
        }
    }

    /// Decides what to do with the connection now.
    pub(super) fn verdict(&self, limits: &Limits) -> Verdict {
        let now = self.now();
        let late = |since: &AtomicU64, ms_max: u64| {
            let since = since.load(Relaxed);
            since != NEVER && now.saturating_sub(since) >= ms_max
        };
        if self.leaving_since.load(Relaxed) != NEVER {
            let over = late(&self.leaving_since, limits.leaving_ms_max)
                || late(&self.drained_at, limits.leaving_quiet_ms_max);
            return if over {
                Verdict::Overdue
            } else {
                Verdict::Keep
            };
        }
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

    /// Decides whether the client has left, from what was seen of it while a request is open. A client that
    /// sends no more may be waiting for its answer, or it may have left. Only a write can show which, so the
    /// client gets some time.
    pub(super) fn client_left(&self, client_state: ClientState, limits: &Limits) -> bool {
        match client_state {
            ClientState::Gone => true,
            ClientState::Quiet | ClientState::Sending => false,
            ClientState::HalfClosed if self.held.load(Relaxed) > 0 => false,
            ClientState::HalfClosed => {
                let now = self.now();
                let since = self.half_closed_since.load(Relaxed);
                if since == NEVER {
                    self.half_closed_since.store(now, Relaxed);
                }
                now.saturating_sub(since) >= limits.half_closed_ms_max
            }
        }
    }

    /// True while a request is open and the socket can show whether its client is there. False for HTTP/2,
    /// where a client also sends other frames.
    pub(super) fn is_busy(&self) -> bool {
        self.open.load(Relaxed) > 0 && !self.http2.load(Relaxed)
    }

    /// True if bytes of the client were left unread, so that the server must wait for the client to close the
    /// connection.
    pub(super) fn left_unread(&self) -> bool {
        self.unread.load(Relaxed) && !self.http2.load(Relaxed)
    }

    /// From now on, the server only waits for the client to close the connection.
    pub(super) fn leave(&self) {
        self.leaving_since.store(self.now(), Relaxed);
        self.bytes_drained();
    }

    /// Unwanted bytes arrived and were discarded.
    pub(super) fn bytes_drained(&self) {
        self.drained_at.store(self.now(), Relaxed);
    }

    /// What the connection waits for, if it waits for its client, and for how many milliseconds it has
    /// waited.
    pub(super) fn waiting(&self) -> Option<(Waits, u64)> {
        let open = self.open.load(Relaxed);
        let leaving = self.leaving_since.load(Relaxed);
        let head = self.head_since.load(Relaxed);
        let (waits, since) = if leaving != NEVER {
            (Waits::First, leaving)
        } else if open == 0 && !self.served.load(Relaxed) {
            (Waits::First, 0)
        } else if open == 0 && head != NEVER {
            (Waits::Rest, head)
        } else if open == 0 {
            (Waits::Next, self.idle_since.load(Relaxed))
        } else if self.bodies.load(Relaxed) >= open {
            (Waits::Rest, self.opened_at.load(Relaxed))
        } else if self.held.load(Relaxed) >= open {
            (Waits::Rest, self.held_since.load(Relaxed))
        } else {
            return None;
        };
        Some((waits, self.now().saturating_sub(since)))
    }

    pub(super) fn bytes_came(&self) {
        if self.open.load(Relaxed) == 0
            && !self.http2.load(Relaxed)
            && self.head_since.load(Relaxed) == NEVER
        {
            self.begun.store(true, Relaxed);
            self.head_since.store(self.now(), Relaxed);
        }
    }

    pub(super) fn write_ended(&self, pending: bool) {
        if !pending {
            self.write_since.store(NEVER, Relaxed);
        } else if self.write_since.load(Relaxed) == NEVER {
            self.write_since.store(self.now(), Relaxed);
        }
    }
}

/// A request whose answer has not ended. Dropped with the answer.
pub(super) struct Open {
    activity: Arc<Activity>,
    held: bool,
}

impl Open {
    /// The answer has data for its reader, who has just taken the piece before it.
    pub(super) fn hold(&mut self) {
        self.activity.held_since.store(self.activity.now(), Relaxed);
        if !self.held {
            self.held = true;
            self.activity.held.fetch_add(1, Relaxed);
        }
    }

    /// The answer has nothing to send now, so the reader is not the slow side.
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
        self.activity.served.store(true, Relaxed);
        if self.activity.open.fetch_sub(1, Relaxed) == 1 {
            self.activity.idle_since.store(self.activity.now(), Relaxed);
        }
    }
}

/// A request's body on its way to its handler. It records when the handler waits for the client, and whether
/// bytes were left unread.
pub(crate) struct Inward {
    body: Incoming,
    activity: Arc<Activity>,
    waits: bool,
    ended: bool,
}

impl Inward {
    pub(super) fn new(body: Incoming, activity: Arc<Activity>) -> Self {
        Self {
            ended: body.is_end_stream(),
            body,
            activity,
            waits: false,
        }
    }

    fn wait(&mut self, waits: bool) {
        if waits && !self.waits {
            self.activity.bodies.fetch_add(1, Relaxed);
        } else if self.waits && !waits {
            self.activity.bodies.fetch_sub(1, Relaxed);
        }
        self.waits = waits;
    }
}

impl Body for Inward {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        self.wait(frame.is_pending());
        if matches!(frame, Poll::Ready(None)) {
            self.ended = true;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Inward {
    fn drop(&mut self) {
        self.wait(false);
        if !self.ended && !self.body.is_end_stream() {
            self.activity.unread.store(true, Relaxed);
        }
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

    #[test]
    fn a_client_that_sends_no_more_has_a_while_and_one_that_is_gone_has_none() {
        let activity = Arc::new(Activity::new());
        let limits = Limits::default();
        let left = |client_state| activity.client_left(client_state, &limits);
        let mut request = activity.open(false);
        assert!(
            left(ClientState::Gone) && !left(ClientState::Quiet) && !left(ClientState::Sending)
        );
        assert!(!left(ClientState::HalfClosed));
        activity.passed.fetch_add(9_000, Relaxed);
        assert!(!left(ClientState::HalfClosed));
        activity.passed.fetch_add(1_000, Relaxed);
        assert!(left(ClientState::HalfClosed));
        // The client reads its answer, so other limits apply.
        request.hold();
        assert!(!left(ClientState::HalfClosed));
    }

    #[test]
    fn who_waits_for_its_client_is_known() {
        let activity = Arc::new(Activity::new());
        let wait = |seconds: u64| {
            activity.passed.fetch_add(seconds * 1_000, Relaxed);
            activity.waiting().map(|(waits, ms)| (waits, ms / 1_000))
        };
        assert_eq!(wait(3), Some((Waits::First, 3)));
        let mut request = activity.open(false);
        assert_eq!(wait(1), None);
        request.hold();
        assert_eq!(wait(2), Some((Waits::Rest, 2)));
        drop(request);
        assert_eq!(wait(5), Some((Waits::Next, 5)));
        activity.bytes_came();
        assert_eq!(wait(1), Some((Waits::Rest, 1)));
        activity.leave();
        assert_eq!(wait(4), Some((Waits::First, 4)));
    }
}
