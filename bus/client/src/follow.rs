//! A stream that is opened again when it is lost, and goes on behind the last message.

use std::collections::VecDeque;
use std::marker::PhantomData;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde::de::DeserializeOwned;

use super::error::Error;
use super::request::Client;
use super::sse::{Message, Parser};
use edgebus_api::ProblemType;

/// A stream that is quiet for this long is lost: the bus sends a comment every 15 seconds.
const QUIET_MAX: Duration = Duration::from_secs(45);
/// The position before the first of a log.
const FIRST: &str = "0";
/// The wait before the first attempt to come back, in milliseconds; it doubles.
const BACKOFF_MS_MIN: u64 = 250;
/// The longest wait.
const BACKOFF_MS_MAX: u64 = 10_000;

/// What following a stream brings.
#[derive(Debug)]
pub enum Followed {
    /// The stream is open: for the first time, or `again`.
    Opened {
        /// Whether it was open before.
        again: bool,
    },
    /// A message.
    Message(Message),
    /// The bus passed over messages, because this reader is too slow; in its words.
    Missed(String),
    /// The stream is lost, in words. The next [`Follow::next`] waits until it is open again.
    Lost(String),
    /// The bus has another log than before. It is read from its first event on.
    AnotherLog,
}

/// A stream of messages, each a `T`.
pub struct Follow<T> {
    client: Client,
    path: String,
    stream: Option<Incoming>,
    parser: Parser,
    ready: VecDeque<Message>,
    /// Whether it was ever open.
    opened: bool,
    /// Whether the bus ever answered: from then on it is waited for.
    answered: bool,
    backoff_ms: u64,
    of: PhantomData<fn() -> T>,
}

impl<T> Follow<T> {
    /// The stream at `path` of the API, which is opened by the first [`Follow::next`].
    #[must_use]
    pub fn new(client: &Client, path: impl Into<String>) -> Self {
        Self {
            client: client.clone(),
            path: path.into(),
            stream: None,
            parser: Parser::default(),
            ready: VecDeque::new(),
            opened: false,
            answered: false,
            backoff_ms: BACKOFF_MS_MIN,
            of: PhantomData,
        }
    }

    /// The same for a bus that has answered already: it is waited for from the first opening on.
    #[must_use]
    pub fn of_known(self) -> Self {
        Self {
            answered: true,
            ..self
        }
    }

    /// The next thing; waits for it, and for the bus to come back where it is gone.
    ///
    /// # Errors
    /// The first opening failed, the bus refuses the stream, or a message is too long.
    pub async fn next(&mut self) -> Result<Followed, Error> {
        loop {
            if let Some(lost) = self.parser.lost.pop_front() {
                return Ok(Followed::Missed(lost));
            }
            if let Some(message) = self.ready.pop_front() {
                return Ok(Followed::Message(message));
            }
            let Some(stream) = &mut self.stream else {
                if let Some(followed) = self.open().await? {
                    return Ok(followed);
                }
                continue;
            };
            let lost = match tokio::time::timeout(QUIET_MAX, piece(stream)).await {
                Ok(Ok(Some(bytes))) => {
                    self.backoff_ms = BACKOFF_MS_MIN;
                    self.parser.feed(&bytes, &mut self.ready)?;
                    continue;
                }
                Ok(Ok(None)) => "the bus ended the stream".to_owned(),
                Ok(Err(error)) => self.client.unreachable(&error).to_string(),
                Err(_) => "nothing comes any more".to_owned(),
            };
            self.stream = None;
            return Ok(Followed::Lost(lost));
        }
    }

    /// The next opening waits longer than the first one.
    fn again(&mut self) -> Option<Followed> {
        self.backoff_ms = self.backoff_ms.max(BACKOFF_MS_MIN + 1);
        None
    }

    /// Opens the stream; `None` if it is to be tried again.
    async fn open(&mut self) -> Result<Option<Followed>, Error> {
        if self.backoff_ms > BACKOFF_MS_MIN || self.opened {
            let jitter = rand::random_range(0..=self.backoff_ms / 2);
            tokio::time::sleep(Duration::from_millis(self.backoff_ms / 2 + jitter)).await;
            self.backoff_ms = (self.backoff_ms * 2).min(BACKOFF_MS_MAX);
        }
        let after = self.parser.last_id.clone();
        let mut request = self.client.request("GET", &self.path);
        if let Some(after) = &after {
            request = request.header("last-event-id", after);
        }
        match request.stream().await {
            Ok(stream) => {
                // Half a message is told again from its beginning.
                self.parser = Parser::after(after);
                self.stream = Some(stream);
                let again = std::mem::replace(&mut self.opened, true);
                self.answered = true;
                Ok(Some(Followed::Opened { again }))
            }
            Err(Error::Refused { problem, .. })
                if self.answered && problem.kind == ProblemType::PositionAhead =>
            {
                self.parser.last_id = Some(FIRST.to_owned());
                Ok(Some(Followed::AnotherLog))
            }
            Err(Error::Unreachable { .. } | Error::TimedOut { .. }) if self.answered => {
                Ok(self.again())
            }
            Err(Error::Refused { status, .. }) if self.answered && status >= 500 => {
                Ok(self.again())
            }
            Err(error) => Err(error),
        }
    }
}

impl<T: DeserializeOwned> Follow<T> {
    /// The next message as a struct of the API; waits for the bus to come back where it is gone.
    ///
    /// # Errors
    /// As [`Follow::next`], and a message that can't be read.
    pub async fn next_item(&mut self) -> Result<T, Error> {
        loop {
            if let Followed::Message(message) = self.next().await? {
                return message.read();
            }
        }
    }
}

/// The next bytes; `None` at the end.
async fn piece(stream: &mut Incoming) -> Result<Option<Bytes>, hyper::Error> {
    loop {
        match stream.frame().await {
            None => return Ok(None),
            Some(frame) => {
                if let Ok(bytes) = frame?.into_data() {
                    return Ok(Some(bytes));
                }
            }
        }
    }
}
