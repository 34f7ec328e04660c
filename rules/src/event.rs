//! An event as callers pass it: its top-level members, decoded or raw.
//!
//! An event need not be one document. A CloudEvent's attributes come as text from headers, while its data are
//! bytes that must not change. So nothing is joined or encoded again for a match.

/// One top-level member of an event. If several have the same name, the last one counts, or the event is
/// refused: see [`Duplicates`].
#[derive(Debug, Clone, Copy)]
pub enum Part<'a> {
    /// A string that is already decoded, such as an attribute that came in a header.
    Text {
        /// The member's name.
        name: &'a str,
        /// Its value.
        value: &'a str,
    },
    /// A member whose value is raw JSON text of any kind.
    Raw {
        /// The member's name.
        name: &'a str,
        /// Its JSON text. Only white space may be around the value.
        json: &'a [u8],
    },
}

/// How to treat a key that occurs twice in one object of the event. Keys are compared after decoding their
/// escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// The event is refused if a rule mentions the key. RFC 8259 doesn't define what such a key means.
    Refuse,
    /// The last value counts, as in most JSON libraries.
    LastWins,
}
