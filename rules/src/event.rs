//! An event as callers hand it over: its top-level members, decoded or raw.
//!
//! A CloudEvent's attributes come as text from headers while its data are bytes that must not be
//! touched, so an event need not be one document; nothing is ever joined or re-encoded for a match.

/// One top-level member of an event. Of several with one name the last counts, or the event is refused,
/// as [`Duplicates`] says.
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
        /// Its JSON text, with nothing but white space around the value.
        json: &'a [u8],
    },
}

/// What to do with a key that occurs twice in one object of the event, also spelled with escapes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicates {
    /// The event is refused, if a rule mentions the key; RFC 8259 leaves its meaning open.
    Refuse,
    /// The last one counts, as it does in most JSON libraries.
    LastWins,
}
