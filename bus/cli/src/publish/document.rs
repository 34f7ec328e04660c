//! A whole `.json` file: one event or an array of events, on any number of lines.
//!
//! Never here: what an event is. Data keep their bytes, because the text is cut and never printed again.

use std::path::{Path, PathBuf};

use serde_json::value::RawValue;

use crate::Failure;
use edgebus_model::Code;

/// The largest file that is read whole, in bytes; JSON Lines have no such limit.
const DOCUMENT_BYTES_MAX: u64 = 64 << 20;

/// The text of a file that holds one JSON value.
pub(super) struct Document {
    file: PathBuf,
    text: String,
}

impl Document {
    /// Reads `file`; `None` if it holds several JSON values and so is JSON Lines under another name.
    ///
    /// # Errors
    /// It can't be read, is too large, or is no JSON: with the line and the column.
    pub(super) fn read(file: &Path) -> Result<Option<Self>, Failure> {
        let unread = |error| {
            Failure::new(format!("{} can't be read: {error}", file.display()))
                .coded(Code::FileUnreadable)
        };
        let size = std::fs::metadata(file).map_err(unread)?.len();
        if size > DOCUMENT_BYTES_MAX {
            return Err(Failure::new(format!(
                "{} has {size} bytes, and {DOCUMENT_BYTES_MAX} are read at once: give more events as JSON Lines, in a file whose name ends in .jsonl",
                file.display()
            )).coded(Code::LineUnfit));
        }
        let mut text = std::fs::read_to_string(file).map_err(unread)?;
        // Some programs put a byte order mark in front.
        if text.starts_with('\u{feff}') {
            text.remove(0);
        }
        let document = Self {
            file: file.to_owned(),
            text,
        };
        let mut values =
            serde_json::Deserializer::from_str(&document.text).into_iter::<&RawValue>();
        match (values.next(), values.next()) {
            (Some(Err(error)), _) => Err(document.error(&error)),
            (_, Some(_)) => Ok(None),
            _ => Ok(Some(document)),
        }
    }

    /// The events, each as the file has it.
    ///
    /// # Errors
    /// The array is not one to its end.
    pub(super) fn events(&self) -> Result<Vec<&RawValue>, Failure> {
        let text = self.text.trim_ascii();
        let read = match text.bytes().next() {
            None => Ok(Vec::new()),
            Some(b'[') => serde_json::from_str(text),
            Some(_) => serde_json::from_str(text).map(|event| vec![event]),
        };
        read.map_err(|error| self.error(&error))
    }

    fn error(&self, error: &serde_json::Error) -> Failure {
        Failure::new(format!("{} is not JSON: {error}", self.file.display())).coded(Code::LineUnfit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many events the text holds, `None` for lines, or what is said of it.
    fn check(text: &str) -> Result<Option<usize>, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let read = Document::read(file.path()).map_err(|failure| failure.message)?;
        let counted = read.map(|document| document.events().map(|events| events.len()));
        counted.transpose().map_err(|failure| failure.message)
    }

    #[test]
    fn one_event_an_array_and_lines_are_told_apart() {
        assert_eq!(check("{\n  \"id\": \"1\"\n}\n"), Ok(Some(1)));
        assert_eq!(check("[\n {},\n {}\n]"), Ok(Some(2)));
        assert_eq!(check("[]"), Ok(Some(0)));
        assert_eq!(check(" \n"), Ok(Some(0)));
        assert_eq!(check("\u{feff}{}\n"), Ok(Some(1)));
        assert_eq!(check("{}\n{}\n"), Ok(None));
        assert_eq!(check("{}\nnot json\n"), Ok(None));
        let error = check("{\n  \"id\": 1,\n}\n").unwrap_err();
        assert!(error.contains("line 3 column 1"), "{error}");
    }
}
