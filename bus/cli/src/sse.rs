//! Server-sent events: from bytes to messages, and a stream that comes back when it was lost.
//!
//! Never here: what messages mean.

use std::collections::VecDeque;
use std::time::Duration;

use super::Failure;
use super::client::{self, Client, Stream};
use super::output;
use edgebus_model::Code;

/// The longest line and the longest message, in bytes: an event of the largest size, escaped.
const MESSAGE_BYTES_MAX: usize = 16 << 20;
/// A stream that is quiet for this long is lost: the bus sends a comment every 15 seconds.
const QUIET_MAX: Duration = Duration::from_secs(45);
/// The position before the first of a log.
const FIRST: &str = "0";
/// The wait before the first attempt to come back, in milliseconds; it doubles.
const BACKOFF_MS_MIN: u64 = 250;
/// The longest wait.
const BACKOFF_MS_MAX: u64 = 10_000;

/// Reads messages out of a stream of bytes.
#[derive(Default)]
struct Parser {
    line: Vec<u8>,
    data: String,
    /// The id of the message that is being read.
    id: Option<String>,
    /// Comments on messages that the bus passed over.
    lost: Vec<String>,
    /// The id of the last whole message, which says where to go on.
    last_id: Option<String>,
}

impl Parser {
    /// Takes more bytes; the data of each message that is complete now goes into `out`.
    fn feed(&mut self, bytes: &[u8], out: &mut VecDeque<String>) -> Result<(), Failure> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + self.data.len() + piece.len() > MESSAGE_BYTES_MAX {
                return Err(Failure::new(format!(
                    "the bus sent a message of more than {MESSAGE_BYTES_MAX} bytes"
                )));
            }
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") {
                let line = std::mem::take(&mut self.line);
                self.end_line(&String::from_utf8_lossy(&line[..line.len() - 1]), out);
            }
        }
        Ok(())
    }

    fn end_line(&mut self, line: &str, out: &mut VecDeque<String>) {
        if line.is_empty() {
            if let Some(id) = self.id.take() {
                self.last_id = Some(id);
            }
            if !self.data.is_empty() {
                // Every line of data left one behind it.
                self.data.pop();
                out.push_back(std::mem::take(&mut self.data));
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                self.data.push_str(value);
                self.data.push('\n');
            }
            "id" => self.id = Some(value.to_owned()),
            // A comment; one that begins with a number says how many messages were lost.
            "" if value.starts_with(|first: char| first.is_ascii_digit()) => {
                self.lost.push(value.to_owned());
            }
            _ => {}
        }
    }
}

/// What following a stream brings.
#[derive(Debug)]
pub(super) enum StreamItem {
    /// The stream is open, for the first time or again.
    Opened,
    /// The data of a message.
    Message(String),
}

/// A stream that is opened again when it is lost.
pub(super) struct Following<'a> {
    client: &'a Client,
    path: String,
    stream: Option<Stream>,
    parser: Parser,
    ready: VecDeque<String>,
    /// Whether it was ever open.
    opened: bool,
    /// Whether the bus ever answered: from then on it is waited for.
    answered: bool,
    backoff_ms: u64,
}

impl<'a> Following<'a> {
    /// The stream at `path`, which is opened by the first [`Following::next`].
    #[must_use]
    pub(super) fn new(client: &'a Client, path: &str) -> Self {
        Self {
            client,
            path: path.to_owned(),
            stream: None,
            parser: Parser::default(),
            ready: VecDeque::new(),
            opened: false,
            answered: false,
            backoff_ms: BACKOFF_MS_MIN,
        }
    }

    /// The same for a bus that has answered already: it is waited for from the first opening on.
    #[must_use]
    pub(super) fn of_known(client: &'a Client, path: &str) -> Self {
        Self {
            answered: true,
            ..Self::new(client, path)
        }
    }

    /// The next thing; waits for it, and for the bus to come back where it is gone.
    ///
    /// # Errors
    /// The first opening failed, or the bus refuses the stream.
    pub(super) async fn next(&mut self) -> Result<StreamItem, Failure> {
        loop {
            if let Some(message) = self.ready.pop_front() {
                return Ok(StreamItem::Message(message));
            }
            let Some(stream) = &mut self.stream else {
                if self.open().await? {
                    return Ok(StreamItem::Opened);
                }
                continue;
            };
            let lost = match tokio::time::timeout(QUIET_MAX, stream.next()).await {
                Ok(Ok(Some(bytes))) => {
                    self.backoff_ms = BACKOFF_MS_MIN;
                    self.parser.feed(&bytes, &mut self.ready)?;
                    for lost in self.parser.lost.drain(..) {
                        output::note(&format!("note: {}", output::plain(&lost)));
                    }
                    continue;
                }
                Ok(Ok(None)) => "the bus ended the stream".to_owned(),
                Ok(Err(error)) => error.to_string(),
                Err(_) => "nothing comes any more".to_owned(),
            };
            output::note(&format!("{lost}; going on as soon as the bus is back"));
            self.stream = None;
        }
    }

    /// The next opening waits longer than the first one.
    fn again(&mut self) -> bool {
        self.backoff_ms = self.backoff_ms.max(BACKOFF_MS_MIN + 1);
        false
    }

    /// Opens the stream; `false` if it is to be tried again.
    async fn open(&mut self) -> Result<bool, Failure> {
        if self.backoff_ms > BACKOFF_MS_MIN || self.opened {
            let jitter = rand::random_range(0..=self.backoff_ms / 2);
            tokio::time::sleep(Duration::from_millis(self.backoff_ms / 2 + jitter)).await;
            self.backoff_ms = (self.backoff_ms * 2).min(BACKOFF_MS_MAX);
        }
        let after = self.parser.last_id.clone();
        match self.client.stream(&self.path, after.as_deref()).await {
            Ok(stream) => {
                if self.opened {
                    output::note("the bus is back");
                }
                // Half a message is told again from its beginning.
                self.parser = Parser {
                    last_id: after,
                    ..Parser::default()
                };
                self.stream = Some(stream);
                (self.opened, self.answered) = (true, true);
                Ok(true)
            }
            Err(client::Error::Refused { code, .. })
                if self.answered && code == Code::PositionAhead.as_str() =>
            {
                output::note(
                    "the bus has another log than before: its events are shown from the first on",
                );
                self.parser.last_id = Some(FIRST.to_owned());
                Ok(false)
            }
            Err(client::Error::Unreachable { .. }) if self.answered => Ok(self.again()),
            Err(client::Error::Refused { status, .. }) if self.answered && status >= 500 => {
                Ok(self.again())
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_whole_however_the_bytes_are_cut() {
        let bytes = b": hello\n\n: 7 lost\n\nid: 3\ndata: {\"a\":\ndata:  1}\n\nid: 9\n\nevent: attempt\ndata: x\n\nid: 12\ndata: half";
        for size in [1, 2, 7, 1_000] {
            let mut parser = Parser::default();
            let mut out = VecDeque::new();
            for piece in bytes.chunks(size) {
                parser.feed(piece, &mut out).unwrap();
            }
            assert_eq!(out, ["{\"a\":\n 1}", "x"], "{size}");
            assert_eq!(parser.last_id.as_deref(), Some("9"));
            assert_eq!(parser.lost, ["7 lost"]);
        }
    }

    #[test]
    fn a_message_without_end_is_refused() {
        let mut parser = Parser::default();
        let mut out = VecDeque::new();
        let piece = vec![b'x'; 1 << 20];
        let fed = (0..20).try_for_each(|_| parser.feed(&piece, &mut out));
        assert_eq!(fed.unwrap_err().code, crate::FAILURE);
    }
}
