//! Server-sent events: from bytes to messages.
//!
//! `eventsource-stream` and its like pass over comments, which is where the bus says how many messages a slow
//! reader lost, and bound neither a line nor a message. Never here: what messages mean.

use std::collections::VecDeque;

use serde::de::DeserializeOwned;

use super::error::Error;
use super::request::read;

/// The longest line and the longest message, in bytes: an event of the largest size, escaped.
const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// A message of a stream.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Its data as it was sent: JSON.
    pub data: String,
}

impl Message {
    /// Its data as a struct of the API.
    ///
    /// # Errors
    /// [`Error::Unreadable`].
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        read(self.data.as_bytes())
    }
}

/// Reads messages out of a stream of bytes.
#[derive(Default)]
pub(crate) struct Parser {
    line: Vec<u8>,
    data: String,
    /// The id of the message that is being read.
    id: Option<String>,
    /// Comments on messages that the bus passed over.
    pub(crate) lost: VecDeque<String>,
    /// The id of the last whole message, which says where to go on.
    pub(crate) last_id: Option<String>,
}

impl Parser {
    /// One that goes on after the message of this id.
    pub(crate) fn after(last_id: Option<String>) -> Self {
        Self {
            last_id,
            ..Self::default()
        }
    }

    /// Takes more bytes; each message that is complete now goes into `out`.
    ///
    /// # Errors
    /// [`Error::Unreadable`]: a message is too long.
    pub(crate) fn feed(&mut self, bytes: &[u8], out: &mut VecDeque<Message>) -> Result<(), Error> {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if self.line.len() + self.data.len() + piece.len() > MESSAGE_BYTES_MAX {
                return Err(Error::Unreadable(format!(
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

    fn end_line(&mut self, line: &str, out: &mut VecDeque<Message>) {
        if line.is_empty() {
            if let Some(id) = self.id.take() {
                self.last_id = Some(id);
            }
            if !self.data.is_empty() {
                // Every line of data left one behind it.
                self.data.pop();
                let data = std::mem::take(&mut self.data);
                out.push_back(Message { data });
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
                self.lost.push_back(value.to_owned());
            }
            _ => {}
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
            let data: Vec<&str> = out.iter().map(|message| message.data.as_str()).collect();
            assert_eq!(data, ["{\"a\":\n 1}", "x"], "{size}");
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
        assert!(matches!(fed, Err(Error::Unreadable(_))));
    }
}
