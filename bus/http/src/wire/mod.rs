//! CloudEvents over HTTP: from headers and a body to events, and from an event to JSON.
//!
//! One pass over the envelope, borrowed from the body; data is kept byte for byte and never goes
//! through a parser and a printer. The mode follows from Content-Type alone, before the body is read.
//! Never here: a bus, a route, a status.

mod attribute;
mod binary;
mod encode;
mod envelope;
mod media;
mod payload;
mod percent;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;

use super::problem::{Cause, Problem};
use edgebus_model::error::{Error, InputError, Kind};
use edgebus_model::limits::EVENT_BYTES_MAX;
use edgebus_model::{Code, Event, EventError};

pub use encode::encode;
pub(crate) use encode::{Encoded, key};
pub(crate) use percent::decode as percent_decode;

/// Errors that are reported for one request; the rest appear once these are fixed.
const ERRORS_MAX: usize = 100;
/// The same for each event of a batch whose events are taken one by one.
const ERRORS_OF_ENTRY_MAX: usize = 10;

/// How events are laid out in a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Attributes in `ce-` headers, the body is the data.
    Binary,
    /// The body is one event in JSON.
    Structured,
    /// The body is a JSON array of events.
    Batch,
}

/// Tells the mode from the Content-Type.
pub(crate) fn mode(headers: &HeaderMap) -> Result<Mode, Problem> {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let Some(first) = types.next() else {
        return Ok(Mode::Binary);
    };
    if types.next().is_some() {
        return Err(Problem::input_error("", "Content-Type is given twice", ""));
    }
    let text = first.as_bytes().trim_ascii();
    let Some(rest) = strip_prefix(text, b"application/cloudevents") else {
        return Ok(Mode::Binary);
    };
    let (mode, rest) = match strip_prefix(rest, b"-batch") {
        Some(rest) => (Mode::Batch, rest),
        None => (Mode::Structured, rest),
    };
    if media::is_json_format(rest) {
        Ok(mode)
    } else {
        Err(Problem::new(
            Cause::UnsupportedMedia,
            "of CloudEvents' formats only JSON in UTF-8 is read: application/cloudevents+json, \
             application/cloudevents-batch+json, or binary mode",
        ))
    }
}

/// Reads a request without a connection, as benches and fuzz targets have none.
///
/// # Errors
/// As a publish: [`Kind::Invalid`] with every error, or [`Kind::TooLarge`].
pub fn decode_request(headers: &HeaderMap, body: Bytes) -> Result<Vec<Event>, Error> {
    mode(headers)
        .and_then(|mode| decode(mode, headers, body))
        .map_err(|problem| Error {
            code: problem.code,
            kind: match problem.cause {
                Cause::Handle(kind) => kind,
                _ => Kind::Invalid,
            },
            message: problem.detail,
            errors: problem.errors,
        })
}

/// Reads one event in the JSON format, as a line of a file holds it.
///
/// # Errors
/// [`Kind::Invalid`] with every error.
pub fn decode_structured(json: &Bytes) -> Result<Event, Error> {
    let mut errors = Errors::default();
    match envelope::decode_one(json, &mut errors) {
        Some(event) if errors.list.is_empty() => Ok(event),
        _ => Err(Error::invalid("this is not a CloudEvent", errors.list).coded(Code::EventInvalid)),
    }
}

/// Reads the events of a request, in order, and checks each of them.
///
/// # Errors
/// Every error, each with a JSON pointer to its attribute (`/3/source` in a batch); or what is too large.
pub(crate) fn decode(mode: Mode, headers: &HeaderMap, body: Bytes) -> Result<Vec<Event>, Problem> {
    let mut errors = Errors::default();
    let events = match mode {
        Mode::Binary => binary::decode(headers, body, &mut errors)
            .into_iter()
            .collect(),
        Mode::Structured => envelope::decode_one(&body, &mut errors)
            .into_iter()
            .collect(),
        Mode::Batch => envelope::decode_batch(&body, &mut errors)?,
    };
    match errors.refusal() {
        None => Ok(events),
        Some(problem) => Err(problem),
    }
}

/// Reads the events of a batch, in order, and checks each for itself. An error's pointer leads into the batch.
///
/// # Errors
/// What keeps the batch from being read at all.
pub(crate) fn decode_each(body: &Bytes) -> Result<Vec<Result<Event, Problem>>, Problem> {
    let mut errors = Errors::default();
    let each = envelope::decode_each(body, &mut errors)?;
    if let Some(problem) = errors.refusal() {
        return Err(problem);
    }
    let each = each.into_iter().map(|one| {
        one.map_err(|errors| {
            let nameless = || Problem::invalid("the event can't be read", Vec::new());
            errors.refusal().unwrap_or_else(nameless)
        })
    });
    Ok(each.collect())
}

fn shown(pointer: &str) -> &str {
    if pointer.is_empty() {
        "the body"
    } else {
        pointer
    }
}

/// Cuts an ASCII prefix off, without regard to case.
fn strip_prefix<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (head, rest) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// The errors found so far, up to a bound.
struct Errors {
    list: Vec<InputError>,
    most: usize,
    /// True if the first error was a size, which has a status of its own.
    first_too_large: bool,
}

impl Default for Errors {
    fn default() -> Self {
        Self::at_most(ERRORS_MAX)
    }
}

impl Errors {
    fn at_most(most: usize) -> Self {
        Self {
            list: Vec::new(),
            most,
            first_too_large: false,
        }
    }

    /// The answer that these are a reason for.
    fn refusal(self) -> Option<Problem> {
        let detail = match self.list.as_slice() {
            [] => return None,
            [only] => format!("{}: {}", shown(&only.pointer), only.reason),
            [first, ..] => format!(
                "{} errors; the first at {}",
                self.list.len(),
                shown(&first.pointer)
            ),
        };
        Some(match self.first_too_large {
            true => Problem {
                errors: self.list,
                ..Problem::too_large(detail)
            },
            false => Problem::invalid(detail, self.list).coded(Code::EventInvalid),
        })
    }

    fn add(&mut self, place: &At, member: &str, reason: impl Into<String>, remedy: &str) {
        if self.list.len() < self.most {
            self.list.push(InputError {
                pointer: place.pointer(member),
                place: None,
                reason: reason.into(),
                remedy: remedy.to_owned(),
            });
        }
    }

    fn add_event_error(&mut self, place: &At, error: EventError) {
        self.add(place, &error.attribute, error.reason, "");
    }
}

/// Which event of the request.
#[derive(Clone, Copy)]
struct At {
    /// Its index in a batch.
    index: Option<usize>,
}

impl At {
    fn pointer(self, member: &str) -> String {
        let mut out = String::new();
        if let Some(index) = self.index {
            out.push('/');
            out.push_str(&index.to_string());
        }
        if !member.is_empty() {
            out.push('/');
            // A name that a caller invented is cut, so that the answer stays small.
            for character in member.chars().take(64) {
                match character {
                    '~' => out.push_str("~0"),
                    '/' => out.push_str("~1"),
                    other => out.push(other),
                }
            }
        }
        out
    }
}

/// The last checks of an event, whatever mode it came in.
fn finish(event: Event, place: At, errors: &mut Errors) -> Option<Event> {
    if let Err(error) = event.check() {
        errors.add_event_error(&place, error);
        return None;
    }
    if event.size() > EVENT_BYTES_MAX {
        errors.first_too_large = errors.list.is_empty();
        errors.add(
            &place,
            "",
            format!("the event is larger than {EVENT_BYTES_MAX} bytes"),
            "put the data elsewhere and its address into `dataref`",
        );
        return None;
    }
    Some(event)
}
