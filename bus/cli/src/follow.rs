//! A stream of the bus, with a word on standard error of what happens to it.
//!
//! Never here: opening it again; the client does that.

use serde::de::DeserializeOwned;

use super::Failure;
use super::output::{self, plain};
use edgebus_client::{Follow, Followed};

/// What following a stream brings.
#[derive(Debug)]
pub(super) enum StreamItem {
    /// The stream is open, for the first time or again.
    Opened,
    /// The data of a message, as it was sent.
    Message(String),
}

/// The next thing of a stream.
///
/// # Errors
/// The first opening failed, or the bus refuses the stream.
pub(super) async fn next<T: DeserializeOwned>(
    follow: &mut Follow<T>,
) -> Result<StreamItem, Failure> {
    next_of("", follow).await
}

/// The same for one of several streams. Each note begins with `label`.
///
/// # Errors
/// As [`next`].
pub(super) async fn next_of<T: DeserializeOwned>(
    label: &str,
    follow: &mut Follow<T>,
) -> Result<StreamItem, Failure> {
    let note = |words: &str| output::note(&format!("{label}{words}"));
    loop {
        match follow.next().await? {
            Followed::Opened { again } => {
                if again {
                    note("the bus is back");
                }
                return Ok(StreamItem::Opened);
            }
            Followed::Message(message) => return Ok(StreamItem::Message(message.data)),
            Followed::Missed(words) => note(&format!("note: {}", plain(&words))),
            Followed::Lost(words) => {
                let words = plain(&words);
                note(&format!("{words}; continuing as soon as the bus is back"));
            }
            Followed::AnotherLog => {
                note("the bus has another log than before: its events are shown from the first on");
            }
        }
    }
}
