//! The body of an answer on its way to a reader, who may be slow.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::activity::Open;
use crate::body::Reservation;

/// The largest piece that hyper gets at a time. Of what a stalled reader holds, everything beyond one piece
/// stays counted.
const PIECE_BYTES_MAX: usize = 64 << 10;

/// The body of an answer.
pub(crate) struct Payload {
    kind: Kind,
    /// The share of the byte budget that the answer holds until its reader has it.
    _held: Option<Arc<Reservation>>,
}

enum Kind {
    Whole(Bytes),
    Stream(axum::body::Body),
}

impl Payload {
    /// An answer that is complete.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self {
            kind: Kind::Whole(bytes.into()),
            _held: None,
        }
    }

    /// The answer as the body type of the router.
    pub(crate) fn into_body(self) -> axum::body::Body {
        match self.kind {
            Kind::Whole(bytes) => bytes.into(),
            Kind::Stream(body) => body,
        }
    }

    /// An answer from the router, with its share of the byte budget.
    pub(crate) fn stream(body: axum::body::Body, held: Option<Arc<Reservation>>) -> Self {
        Self {
            kind: Kind::Stream(body),
            _held: held,
        }
    }
}

/// The body that hyper sends: the payload in pieces, with its progress recorded.
pub(super) struct Answer {
    payload: Payload,
    /// The rest of a piece of the stream that was too large.
    rest: Bytes,
    open: Open,
}

impl Answer {
    pub(super) fn new(payload: Payload, mut open: Open) -> Self {
        open.hold();
        Self {
            payload,
            rest: Bytes::new(),
            open,
        }
    }
}

fn piece(bytes: &mut Bytes) -> Frame<Bytes> {
    let length = bytes.len().min(PIECE_BYTES_MAX);
    Frame::data(bytes.split_to(length))
}

impl Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let frame = match &mut this.payload.kind {
            Kind::Whole(bytes) if bytes.is_empty() => None,
            Kind::Whole(bytes) => Some(Ok(piece(bytes))),
            Kind::Stream(_) if !this.rest.is_empty() => Some(Ok(piece(&mut this.rest))),
            Kind::Stream(body) => match Pin::new(body).poll_frame(context) {
                Poll::Pending => {
                    this.open.release();
                    return Poll::Pending;
                }
                Poll::Ready(Some(Ok(frame))) => Some(Ok(match frame.into_data() {
                    Ok(data) => {
                        this.rest = data;
                        piece(&mut this.rest)
                    }
                    Err(trailers) => trailers,
                })),
                Poll::Ready(other) => other,
            },
        };
        match frame {
            Some(_) => this.open.hold(),
            None => this.open.release(),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.payload.kind {
            Kind::Whole(bytes) => bytes.is_empty(),
            Kind::Stream(body) => self.rest.is_empty() && body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.payload.kind {
            Kind::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Stream(body) => {
                let (hint, rest) = (body.size_hint(), self.rest.len() as u64);
                let mut whole = SizeHint::new();
                whole.set_lower(hint.lower() + rest);
                if let Some(upper) = hint.upper() {
                    whole.set_upper(upper + rest);
                }
                whole
            }
        }
    }
}
