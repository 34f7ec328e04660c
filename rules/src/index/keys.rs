//! Finds out, while a text is checked, whether an object has a key twice or a key with a dot.
//!
//! Only objects outside of arrays count, because a walk may end early only there. So the open objects always
//! lie one inside the other. Keys are recorded by hash. Two keys with the same hash count as equal. Then the
//! text gets `Trust::Json` instead of `Trust::Plain`, which is slower but correct. Work is linear in the
//! keys, except for sorting those of large objects. Never here: a decision that an event is invalid.

use wide::u8x16;

/// The first keys of an object are compared one by one, up to this many. The others are sorted when the
/// object closes.
const COMPARED_MAX: usize = 16;
/// A key of fewer bytes than this is hashed in one piece.
const SHORT: usize = 16;

/// The first keys of an object. All are compared at once, unused entries too. In a loop that ends early, the
/// processor would mispredict the branch at nearly every key.
#[derive(Debug, Clone, Copy, Default)]
struct Few {
    hashes: [u32; COMPARED_MAX],
    count: usize,
    /// The place in `Keys::further` at which the hashes of its other keys start.
    further: usize,
}

/// The keys of the open objects.
#[derive(Debug)]
pub(super) struct Keys {
    innermost: Few,
    /// The objects around the innermost one.
    around: Vec<Few>,
    /// The keys beyond the first ones, of all open objects.
    further: Vec<u32>,
    plain: bool,
}

impl Keys {
    pub(super) fn new() -> Self {
        Keys {
            innermost: Few::default(),
            around: Vec::new(),
            further: Vec::new(),
            plain: true,
        }
    }

    /// Prepares for the next event.
    pub(super) fn begin(&mut self) {
        self.innermost = Few::default();
        self.around.clear();
        self.further.clear();
        self.plain = true;
    }

    /// Whether all keys so far are unique in their objects and have no dots.
    pub(super) fn are_plain(&self) -> bool {
        self.plain
    }

    /// Records that some keys may not have been recorded.
    pub(super) fn doubt(&mut self) {
        self.plain = false;
    }

    /// Records that an object opens.
    pub(super) fn open(&mut self) {
        let further = self.further.len();
        let opened = Few {
            further,
            ..Few::default()
        };
        self.around
            .push(std::mem::replace(&mut self.innermost, opened));
    }

    /// Records a key of the innermost object, as it is written between its quotes.
    pub(super) fn note(&mut self, key: &[u8]) {
        if key.len() >= SHORT {
            self.note_hash(long_hash(key));
            return;
        }
        let mut chunk = [0; SHORT];
        if let Some(start) = chunk.get_mut(..key.len()) {
            start.copy_from_slice(key);
        }
        self.note_hash(short_hash(&chunk, key.len()));
    }

    /// Records a key of less than sixteen bytes. The chunk holds the key and the bytes that follow it.
    #[inline]
    pub(super) fn note_short(&mut self, chunk: &[u8; SHORT], length: usize) {
        self.note_hash(short_hash(chunk, length));
    }

    #[inline]
    fn note_hash(&mut self, hash: Option<u32>) {
        // Unused entries are zero, so no hash may be.
        let hash = hash.map(|hash| hash.max(1));
        self.plain &= hash.is_some_and(|hash| {
            let same = self.innermost.hashes.iter().map(|known| *known == hash);
            !same.fold(false, |any, same| any | same)
        });
        let hash = hash.unwrap_or_default();
        match self.innermost.hashes.get_mut(self.innermost.count) {
            Some(vacant) => *vacant = hash,
            None => self.further.push(hash),
        }
        self.innermost.count += 1;
    }

    /// Records that the innermost object closes.
    pub(super) fn close(&mut self) {
        let start = self.innermost.further;
        let further = self.further.get_mut(start..).unwrap_or_default();
        further.sort_unstable();
        self.plain &= further.array_windows().all(|[one, other]| one != other);
        self.further.truncate(start);
        self.innermost = self.around.pop().unwrap_or_default();
    }
}

/// The hash of the key at the start of a chunk. `None` if the key has a dot or an escape.
#[inline]
fn short_hash(chunk: &[u8; SHORT], length: usize) -> Option<u32> {
    let bytes = u8x16::new(*chunk);
    let odd = bytes.simd_eq(u8x16::splat(b'.')) | bytes.simd_eq(u8x16::splat(b'\\'));
    let key = u128::from_le_bytes(*chunk) & !(u128::MAX << (8 * length % 128));
    let mixed = mix(key as u64 ^ length as u64, (key >> 64) as u64);
    (odd.to_bitmask().trailing_zeros() as usize >= length).then_some(mixed as u32)
}

/// The hash of a long key. `None` if it has a dot or an escape.
fn long_hash(key: &[u8]) -> Option<u32> {
    if memchr::memchr2(b'.', b'\\', key).is_some() {
        return None;
    }
    let (words, rest) = key.as_chunks::<8>();
    let last = rest
        .iter()
        .fold(key.len() as u64, |all, byte| all << 8 | u64::from(*byte));
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    Some(words.fold(mix(0, last), mix) as u32)
}

fn mix(state: u64, word: u64) -> u64 {
    let mixed = (state ^ word.rotate_left(29)).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(objects: &[&[&str]], plain: bool) {
        let mut keys = Keys::new();
        for object in objects {
            keys.open();
            for key in *object {
                keys.note(key.as_bytes());
            }
        }
        for _ in objects {
            keys.close();
        }
        assert_eq!(keys.are_plain(), plain, "{objects:?}");
        keys.begin();
        assert!(keys.are_plain());
    }

    #[test]
    fn equal_keys_dots_and_escapes_are_found() {
        check(&[&[]], true);
        check(&[&["", "a", "aa", "b"]], true);
        check(&[&["", "a", ""]], false);
        check(&[&["a", "b", "a"]], false);
        check(&[&["a"], &["a"], &["a", "b"]], true);
        check(&[&["a"], &["b", "b"], &["c"]], false);
        check(&[&["a.b"]], false);
        check(&[&["."]], false);
        check(&[&["12345678."]], false);
        check(&[&["123456789012345678901234.67890"]], false);
        check(&[&[r"\u0061"]], false);
        check(&[&[r"123456789012345678901234\t"]], false);
        check(&[&["12345678901234567", "12345678901234568"]], true);
        check(
            &[&["1234567890_1_1234567890", "1234567890_2_1234567890"]],
            true,
        );
        check(
            &[&["1234567890_1_1234567890", "1234567890_1_1234567890"]],
            false,
        );
        check(&[&["é", "è", "ë"]], true);
    }

    #[test]
    fn large_objects_are_sorted() {
        let mut names: Vec<String> = (0..5000).map(|number| format!("key {number}")).collect();
        let check = |names: &[String], plain| {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            check(&[&["a"], &names], plain);
        };
        check(&names, true);
        names.push("key 0".to_owned());
        check(&names, false);
        names.remove(0);
        check(&names, true);
        names.push("key 4999".to_owned());
        check(&names, false);
    }
}
