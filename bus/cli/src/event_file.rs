//! One event out of a file or standard input, for the commands that try something on it.
//!
//! Never here: files of many events, and what to do with the event.

use std::io::Read;

use bytes::Bytes;

use super::Failure;
use super::output::plain;
use edgebus_http::wire;
use edgebus_model::limits::EVENT_BYTES_MAX;
use edgebus_model::{Code, Event};

/// The largest file, in bytes: escapes can make JSON longer than the event that it holds.
const BYTES_MAX: usize = 6 * EVENT_BYTES_MAX;

/// Reads `file`, or standard input for `-`.
///
/// # Errors
/// It can't be read, or is larger than an event may be.
pub(super) fn read(file: &str) -> Result<Bytes, Failure> {
    let unread = |error: std::io::Error| {
        Failure::new(format!("the event in {file} can't be read: {error}"))
            .coded(Code::FileUnreadable)
    };
    let mut bytes = Vec::new();
    let most = BYTES_MAX as u64 + 1;
    if file == "-" {
        let input = std::io::stdin().lock();
        input.take(most).read_to_end(&mut bytes).map_err(unread)?;
    } else {
        let input = std::fs::File::open(file).map_err(unread)?;
        input.take(most).read_to_end(&mut bytes).map_err(unread)?;
    }
    if bytes.len() > BYTES_MAX {
        let message = format!("{file} has more than {BYTES_MAX} bytes, which no event has");
        return Err(Failure::new(message).coded(Code::TooLarge));
    }
    Ok(Bytes::from(bytes))
}

/// The CloudEvent in JSON that `bytes` of `file` are; `hint` is what else to try.
///
/// # Errors
/// Every error of it.
pub(super) fn structured(file: &str, bytes: &Bytes, hint: &str) -> Result<Event, Failure> {
    wire::decode_structured(bytes).map_err(|error| {
        let errors: Vec<String> = error
            .errors
            .iter()
            .map(|input_error| {
                format!(
                    "\n  {}: {}",
                    plain(&input_error.pointer),
                    plain(&input_error.reason)
                )
            })
            .collect();
        Failure::new(format!(
            "{file} holds no CloudEvent in JSON:{}\n{hint}",
            errors.concat()
        ))
        .coded(Code::EventInvalid)
    })
}
