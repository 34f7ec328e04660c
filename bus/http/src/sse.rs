//! The body of server-sent events: takes the next piece from its source when the socket can send it.
//!
//! Never here: what the pieces hold.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Frame;
use hyper::header::{CACHE_CONTROL, HeaderValue};

use super::call::text;

/// How long a stream may be quiet before a comment is sent.
pub(super) const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Where the pieces come from.
pub(super) trait Source: Sized + Send + 'static {
    /// Waits for the next piece. `None` ends the stream.
    fn next(self) -> impl Future<Output = Option<(Bytes, Self)>> + Send;
}

/// The answer that streams `first`, if there is one already, and then what `source` brings.
pub(super) fn answer(first: Option<Bytes>, source: impl Source) -> Response {
    let stream = Stream {
        first,
        next: Some(Box::pin(source.next())),
    };
    let mut response = text("text/event-stream", Body::new(stream));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

type Next<S> = Pin<Box<dyn Future<Output = Option<(Bytes, S)>> + Send>>;

struct Stream<S> {
    first: Option<Bytes>,
    next: Option<Next<S>>,
}

impl<S: Source> hyper::body::Body for Stream<S> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        }
        let Some(next) = &mut self.next else {
            return Poll::Ready(None);
        };
        match next.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(None) => {
                self.next = None;
                Poll::Ready(None)
            }
            Poll::Ready(Some((piece, source))) => {
                self.next = Some(Box::pin(source.next()));
                Poll::Ready(Some(Ok(Frame::data(piece))))
            }
        }
    }
}
