//! Writing JSON straight into a buffer: raw event data goes in unchanged, which no value tree allows.
//!
//! Never here: reading.

/// Appends `text` as a JSON string.
pub(crate) fn string(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a Vec takes every byte and a str is always JSON");
}

/// Appends a whole number.
pub(crate) fn number(out: &mut Vec<u8>, number: u64) {
    serde_json::to_writer(out, &number).expect("a Vec takes every byte and a u64 is always JSON");
}

/// A JSON object that is being written; [`Object::end`] closes it.
pub(crate) struct Object<'a> {
    out: &'a mut Vec<u8>,
    empty: bool,
}

impl<'a> Object<'a> {
    /// Opens an object at the end of `out`.
    pub(crate) fn new(out: &'a mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Writes a member's name and gives the buffer for its value.
    pub(crate) fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
        string(self.out, name);
        self.out.push(b':');
        self.out
    }

    /// A string member.
    pub(crate) fn text(&mut self, name: &str, value: &str) {
        string(self.member(name), value);
    }

    /// A number member.
    pub(crate) fn number(&mut self, name: &str, value: u64) {
        number(self.member(name), value);
    }

    /// A true or false member.
    pub(crate) fn boolean(&mut self, name: &str, value: bool) {
        let word: &[u8] = if value { b"true" } else { b"false" };
        self.member(name).extend_from_slice(word);
    }

    /// A member that prints as a string.
    pub(crate) fn shown(&mut self, name: &str, value: &impl std::fmt::Display) {
        self.text(name, &value.to_string());
    }

    /// An array member, each item written by `write`.
    pub(crate) fn array<T>(
        &mut self,
        name: &str,
        items: impl IntoIterator<Item = T>,
        write: impl FnMut(&mut Vec<u8>, T),
    ) {
        array(self.member(name), items, write);
    }

    /// Closes the object.
    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

/// Appends an array, each item written by `write`.
pub(crate) fn array<T>(
    out: &mut Vec<u8>,
    items: impl IntoIterator<Item = T>,
    mut write: impl FnMut(&mut Vec<u8>, T),
) {
    out.push(b'[');
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}
