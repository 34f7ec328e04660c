//! A command line that can't be read: what clap says of it, and for numbers how to write them.
//!
//! Never here: which arguments there are.

use std::process::ExitCode;

use clap::error::ErrorKind;

use super::{USAGE, output};

/// What the standard library says of a number, and what to say instead.
const NUMBERS: [(&str, &str); 4] = [
    (
        "invalid digit found in string",
        "write a whole number in digits, as in 42",
    ),
    (
        "cannot parse integer from empty string",
        "write a whole number, as in 42",
    ),
    (
        "number too large to fit in target type",
        "this number is too large",
    ),
    (
        "number too small to fit in target type",
        "this number is too small",
    ),
];

/// Says why the command line can't be read, or shows the help that it asked for; with the exit code.
pub(super) fn refused(error: &clap::Error) -> ExitCode {
    if error.kind() == ErrorKind::ValueValidation {
        let said = error.render().to_string();
        if let Some(said) = worded(&said) {
            output::note(said.trim_end());
            return ExitCode::from(USAGE);
        }
    }
    error.exit()
}

/// The same with words for numbers; `None` if it is about no number.
fn worded(said: &str) -> Option<String> {
    let of = |(raw, words): &(&str, &str)| said.contains(raw).then(|| said.replace(raw, words));
    NUMBERS.iter().find_map(of)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_asked_for_in_words() {
        let table = [
            ("", NUMBERS[1].1),
            ("seven", NUMBERS[0].1),
            ("-1", NUMBERS[0].1),
            ("99999999999999999999999", NUMBERS[2].1),
        ];
        for (text, words) in table {
            let error = text.parse::<u64>().unwrap_err().to_string();
            let said = format!("error: invalid value '{text}' for '[ID]': {error}\n");
            let worded = worded(&said).unwrap();
            assert!(worded.contains(words), "{worded}");
        }
        assert_eq!(worded("error: invalid value 'x' for '--from': no"), None);
    }
}
