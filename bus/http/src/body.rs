//! Reads a request's body within limits of size, time and rate, and of the bytes that the node holds for all
//! clients.
//!
//! Never here: what the bytes mean.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::HeaderMap;
use hyper::body::Body;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue, TRANSFER_ENCODING};
use tokio::time::{Instant, timeout_at};

use super::problem::{Cause, Problem};
use super::serve::Limits;

/// Bytes that may be short of the least rate before a body is given up: small bodies get this long.
const RATE_GRACE: Duration = Duration::from_secs(5);

/// Counts bytes that are held on behalf of clients, up to a bound.
#[derive(Clone, Debug)]
pub(crate) struct ByteBudget(Arc<(AtomicUsize, usize)>);

impl ByteBudget {
    /// A budget of `bytes_max` at once.
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Arc::new((AtomicUsize::new(0), bytes_max)))
    }

    /// What is held now.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.0.0.load(Ordering::Relaxed)
    }

    fn reservation(&self) -> Reservation {
        Reservation {
            byte_budget: self.clone(),
            bytes: 0,
        }
    }

    /// Holds `bytes`, if that many are left.
    pub(crate) fn hold(&self, bytes: usize) -> Option<Reservation> {
        let mut reservation = self.reservation();
        reservation.grow_to(bytes).then_some(reservation)
    }
}

/// Bytes that are held until this is dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    byte_budget: ByteBudget,
    bytes: usize,
}

impl Reservation {
    /// Holds `bytes` in all. False if there are not enough left; then nothing changes.
    fn grow_to(&mut self, bytes: usize) -> bool {
        let (held, bytes_max) = &*self.byte_budget.0;
        let more = bytes.saturating_sub(self.bytes);
        if more == 0 {
            return true;
        }
        // The counter guards memory only and orders nothing, so relaxed is enough.
        if held.fetch_add(more, Ordering::Relaxed) + more > *bytes_max {
            held.fetch_sub(more, Ordering::Relaxed);
            return false;
        }
        self.bytes = bytes;
        true
    }
}

impl Reservation {
    /// Bytes that are held until the last copy of them is dropped.
    pub(crate) fn with(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(ReservedBytes {
            bytes,
            _reservation: self,
        })
    }
}

/// Bytes with their charge.
struct ReservedBytes {
    bytes: Bytes,
    _reservation: Reservation,
}

impl AsRef<[u8]> for ReservedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.byte_budget
            .0
            .0
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Refuses an encoded body, because its unpacked size has no bound.
pub(crate) fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    match headers.get(CONTENT_ENCODING) {
        Some(encoding) if !encoding.as_bytes().eq_ignore_ascii_case(b"identity") => {
            Err(Problem::new(
                Cause::UnsupportedMedia,
                "Content-Encoding is not supported; send the body as it is",
            ))
        }
        _ => Ok(()),
    }
}

/// Refuses a body in a transfer coding that nothing here decodes. hyper decodes chunks, but no other coding.
pub(crate) fn check_transfer(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let is_known = |value: &HeaderValue| {
        value
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked")
    };
    let (first, second) = (codings.next(), codings.next());
    match first {
        None => Ok(()),
        Some(own) if is_known(own) && second.is_none() => Ok(()),
        Some(own) => {
            let shown: String = String::from_utf8_lossy(own.as_bytes())
                .chars()
                .take(64)
                .flat_map(char::escape_debug)
                .collect();
            Err(Problem::new(
                Cause::TransferCoding,
                format!("Transfer-Encoding may be `chunked` alone, not `{shown}`"),
            ))
        }
    }
}

/// Reads a body of at most `bytes_max`. The charge is held until the caller is done with the bytes.
///
/// # Errors
/// The body is too large (by Content-Length, before anything is read), too slow or incomplete, or the node
/// holds too many bytes.
pub(crate) async fn read<B>(
    headers: &HeaderMap,
    mut body: B,
    bytes_max: usize,
    limits: &Limits,
    byte_budget: &ByteBudget,
) -> Result<(Bytes, Reservation), Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let too_large = || Problem::too_large(format!("the body may have {bytes_max} bytes at most"));
    let full = || Problem::busy("too many bytes are in flight");
    // hyper has refused a length that is not a number. An HTTP/2 body of another length than announced is
    // reset.
    let announced: Option<u64> = headers
        .get(CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large());
    }
    let announced = announced.and_then(|length| usize::try_from(length).ok());
    let mut reservation = byte_budget.reservation();
    if !reservation.grow_to(announced.unwrap_or(0)) {
        return Err(full());
    }
    let pace = Pace::new(limits);
    let mut first = Bytes::new();
    let mut all = BytesMut::new();
    loop {
        let received = first.len() + all.len();
        let Ok(frame) = timeout_at(pace.deadline(received), body.frame()).await else {
            return Err(Problem::new(
                Cause::BodyTimeout,
                format!("only {received} bytes came in time"),
            ));
        };
        let Some(frame) = frame else {
            break;
        };
        let Ok(frame) = frame else {
            return Err(Problem::new(
                Cause::BodyBroken,
                format!("the body broke off after {received} bytes"),
            ));
        };
        // Trailers mean nothing here.
        let Ok(data) = frame.into_data() else {
            continue;
        };
        if received + data.len() > bytes_max {
            return Err(too_large());
        }
        if !reservation.grow_to(received + data.len()) {
            return Err(full());
        }
        if first.is_empty() && all.is_empty() {
            first = data;
        } else {
            if all.is_empty() {
                all.reserve(announced.unwrap_or(0).max(first.len() + data.len()));
                all.extend_from_slice(&first);
                first = Bytes::new();
            }
            all.extend_from_slice(&data);
        }
    }
    let bytes = if all.is_empty() { first } else { all.freeze() };
    Ok((bytes, reservation))
}

/// How fast a body must come.
struct Pace {
    start: Instant,
    whole: Duration,
    bytes_per_second: u64,
}

impl Pace {
    fn new(limits: &Limits) -> Self {
        Self {
            start: Instant::now(),
            whole: Duration::from_millis(limits.body_ms_max),
            bytes_per_second: limits.body_bytes_per_second_min.max(1),
        }
    }

    /// When the next bytes must be there after `received` of them.
    fn deadline(&self, received: usize) -> Instant {
        let earned_ms = (received as u64).saturating_mul(1_000) / self.bytes_per_second;
        let paced = RATE_GRACE.saturating_add(Duration::from_millis(earned_ms));
        self.start + paced.min(self.whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::body::Frame;

    /// Gives its frames, then hangs or ends.
    struct Frames {
        frames: VecDeque<&'static [u8]>,
        hang: bool,
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.frames.pop_front() {
                Some(frame) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(frame))))),
                None if self.hang => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }

    async fn check(
        frames: &[&'static [u8]],
        hang: bool,
        length: Option<&'static str>,
    ) -> Result<Bytes, u16> {
        let byte_budget = ByteBudget::new(16);
        let limits = Limits {
            body_ms_max: 20,
            ..Limits::default()
        };
        let mut headers = HeaderMap::new();
        if let Some(length) = length {
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static(length));
        }
        let body = Frames {
            frames: frames.iter().copied().collect(),
            hang,
        };
        let result = read(&headers, body, 20, &limits, &byte_budget).await;
        let result = result
            .map(|(bytes, _)| bytes)
            .map_err(|problem| problem.status());
        assert_eq!(byte_budget.held(), 0, "a charge stayed");
        result
    }

    #[tokio::test]
    async fn a_body_is_bounded_in_every_way() {
        assert_eq!(check(&[], false, None).await.unwrap(), "");
        assert_eq!(check(&[b"abc"], false, Some("3")).await.unwrap(), "abc");
        assert_eq!(
            check(&[b"abc", b"", b"def", b"g"], false, None)
                .await
                .unwrap(),
            "abcdefg"
        );
        // Announced too large: nothing is read. Too large without a word: as soon as it is.
        assert_eq!(check(&[], true, Some("21")).await.unwrap_err(), 413);
        assert_eq!(
            check(&[], true, Some("99999999999999")).await.unwrap_err(),
            413
        );
        // More than the node holds at once.
        assert_eq!(check(&[], true, Some("17")).await.unwrap_err(), 503);
        assert_eq!(
            check(&[b"0123456789", b"0123456"], true, None)
                .await
                .unwrap_err(),
            503
        );
        // Too slow.
        assert_eq!(check(&[b"abc"], true, Some("9")).await.unwrap_err(), 408);
    }

    #[test]
    fn the_pace_is_a_rate_within_a_whole() {
        let pace = Pace::new(&Limits::default());
        let after = |received| pace.deadline(received) - pace.start;
        assert_eq!(after(0), Duration::from_secs(5));
        assert_eq!(after(10 * 1024), Duration::from_secs(15));
        assert_eq!(after(1 << 20), Duration::from_secs(30));
    }
}
