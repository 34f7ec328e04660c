//! The client of the bus as commands use it: what went wrong in the command line's words.
//!
//! Never here: a request; `edgebus-client` makes them, and repeats none.

use super::Failure;
use super::output::{plain, plain_lines};
use edgebus_api::{InputError, Problem};
use edgebus_model::Code;

pub(super) use edgebus_client::{Client, Error, STRUCTURED, read};

/// The position after which the next page of a log begins, from a page's `next`. `None` at the end.
///
/// # Errors
/// [`Error::Unreadable`]: it is not a position. Ending there would silently skip the rest.
pub(super) fn next_after(next: Option<&str>) -> Result<Option<u64>, Error> {
    let position = |next: &str| {
        let unreadable = |_| Error::Unreadable(format!("`{}` is not a position", plain(next)));
        next.parse().map_err(unreadable)
    };
    next.map(position).transpose()
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Unreachable { .. } | Error::TimedOut { .. } => Some(Code::BusUnreachable),
            Error::Address { .. } => Some(Code::AddressInvalid),
            Error::Unreadable(_) => Some(Code::AnswerUnreadable),
            // The bus's code. A newer bus may send one that is unknown here.
            Error::Refused { problem, .. } => Code::find(&problem.code),
            _ => None,
        };
        Self {
            page: code,
            ..Self::new(words(&error))
        }
    }
}

/// What went wrong, and what to do.
pub(super) fn words(error: &Error) -> String {
    match error {
        Error::Unreachable { .. } | Error::TimedOut { .. } => format!(
            "{error}; is `edgebus serve` running there? Name another one with --url or EDGEBUS_URL"
        ),
        Error::Refused { problem, .. } => refused(problem),
        Error::Unreadable(_) => {
            format!("{error}; `edgebus version` and the bus's /version should be the same")
        }
        Error::Address { url, reason } => {
            format!("`{url}` is not the address of a bus: {reason}")
        }
        other => other.to_string(),
    }
}

/// The same without what to do.
pub(super) fn reason(error: &Error) -> String {
    match error {
        Error::Refused { problem, .. } => refused(problem),
        other => other.to_string(),
    }
}

/// A refusal with each of its errors on a line.
fn refused(problem: &Problem) -> String {
    let mut text = format!(
        "the bus answered {} {}",
        problem.status,
        plain_lines(&problem.title)
    );
    if !problem.detail.is_empty() {
        text.push_str(": ");
        text.push_str(&plain_lines(&problem.detail));
    }
    let errors = problem.errors.iter();
    for error in errors.filter_map(|error| line(error, &problem.detail)) {
        text.push_str("\n  ");
        text.push_str(&plain_lines(&error));
    }
    text
}

/// Why the event at `index` of a batch was refused.
pub(super) fn refused_entry(mut problem: Problem, index: usize) -> Failure {
    // The author of the event knows its line, not its place in the request.
    let within = format!("/{index}");
    for error in &mut problem.errors {
        if let Some(own) = error.pointer.strip_prefix(&within) {
            error.pointer = own.to_owned();
        }
    }
    if let Some(own) = problem.detail.strip_prefix(&within) {
        problem.detail = own.trim_start_matches(": ").to_owned();
    }
    Failure {
        page: Code::find(&problem.code),
        ..Failure::new(refused(&problem))
    }
}

/// An error on its own line. `None` if the problem's detail says it already.
fn line(error: &InputError, detail: &str) -> Option<String> {
    let InputError {
        pointer, reason, ..
    } = error;
    let remedy = error.remedy.as_deref().unwrap_or("");
    let said = pointer.is_empty() && reason == detail;
    match (said, remedy) {
        (true, "") => None,
        (true, remedy) => Some(remedy.to_owned()),
        (false, remedy) => {
            let place = match pointer.as_str() {
                "" => String::new(),
                pointer => format!("{pointer}: "),
            };
            let remedy = match remedy {
                "" => String::new(),
                remedy => format!(" ({remedy})"),
            };
            Some(format!("{place}{reason}{remedy}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_page_has_a_position_or_is_told() {
        assert!(matches!(next_after(None), Ok(None)));
        assert!(matches!(next_after(Some("17")), Ok(Some(17))));
        for strange in ["", "17-1", "-1", "x\u{1b}"] {
            let error = next_after(Some(strange)).unwrap_err();
            assert!(matches!(error, Error::Unreadable(_)), "{error}");
        }
    }
}
