//! Loads compiled code. This is the only file with `unsafe`.
//!
//! [`Component::deserialize`] accepts any machine code. Whoever chooses its bytes can run code in the bus,
//! outside of any sandbox. wasmtime only checks that the code was made by the same version with the same
//! settings. A start that loads code is much faster than one that compiles it (for a component of 12 MB: 0.1
//! s instead of 4 s). This is safe only if it is known where the bytes come from. The type [`Code`] stands
//! for that knowledge: its bytes are private to this file. There are two ways to make one:
//!
//! - [`Code::from_own_compiler`]: the bytes come from this program's own compiler, in this process or over a
//!   pipe from a child that runs the same executable. Nobody else can write to that pipe. An answer is
//!   accepted whole or not at all (`compile/answer.rs` checks length and hash), so a child that is killed
//!   leaves no partial code.
//! - [`Code::open`]: the bytes were sealed by [`Code::seal`], under a key that is derived from the store's
//!   secret and never leaves this process. The seal also covers the component's digest and the engine's hash.
//!   So a file that was renamed, cut, damaged, written by another version, or copied from another store is
//!   ignored. Who can read the secret can also change the store's functions, and needs no forged seal.
//!
//! The bytes that were checked are those that are loaded. `deserialize_file` would map the file and save a
//! copy for a moment. But a mapped file can change after the check (a failing disk, a file that its owner
//! truncates or writes again), and then the seal no longer holds for it. Both ways keep the same memory
//! afterwards: only the copy that wasmtime makes.

#![allow(
    unsafe_code,
    reason = "loading code that this program compiled; the argument is above, and tidy.rs keeps it here"
)]

use ::wasmtime::component::Component;
use ::wasmtime::{Engine, Error};

use edgebus_model::Digest;

/// The first bytes of each sealed file. The number is the version of the format.
const MAGIC: &[u8; 16] = b"edgebus code 02\n";
const TAG_BYTES: usize = 32;
/// The number of bytes before the code in a sealed file.
pub(super) const HEAD_BYTES: usize = MAGIC.len() + TAG_BYTES;

/// What a seal covers.
#[derive(Clone, Copy)]
pub(super) struct Seal<'a> {
    /// The key. Nobody else has it.
    pub(super) key: &'a [u8; 32],
    /// The component that was compiled.
    pub(super) component: Digest,
    /// The hash of the engine's version and settings.
    pub(super) engine: &'a [u8; 32],
}

/// Machine code of a component that this program compiled.
pub(super) struct Code {
    code: Vec<u8>,
}

impl Code {
    /// Takes what this program's own compiler returned.
    ///
    /// Only `compile/` calls it, with the answer of the child that it started or of its own engine.
    pub(super) fn from_own_compiler(code: Vec<u8>) -> Self {
        Self { code }
    }

    /// The contents of a sealed file in two parts: the head, and the code.
    pub(super) fn seal(&self, seal: Seal<'_>) -> ([u8; HEAD_BYTES], &[u8]) {
        let mut head = [0; HEAD_BYTES];
        let (magic, place) = head.split_at_mut(MAGIC.len());
        magic.copy_from_slice(MAGIC);
        place.copy_from_slice(tag(seal, &self.code).as_bytes());
        (head, &self.code)
    }

    /// The code after a head, if it is complete and the seal is valid for it.
    pub(super) fn open(head: &[u8; HEAD_BYTES], code: Vec<u8>, seal: Seal<'_>) -> Option<Self> {
        let (magic, found) = head.split_last_chunk::<TAG_BYTES>()?;
        // `blake3::Hash` compares in constant time.
        let sealed = magic == MAGIC && tag(seal, &code) == blake3::Hash::from_bytes(*found);
        sealed.then_some(Self { code })
    }

    /// Prepares the code so that it can be instantiated.
    ///
    /// # Errors
    /// If it was compiled with settings other than the engine's, or if the system gives no memory for it.
    pub(super) fn load(&self, engine: &Engine) -> Result<Component, Error> {
        // SAFETY: the bytes were made by `Engine::precompile_component` of this program. Both ways to make a
        // `Code` guarantee this, and nothing changes the bytes in between. wasmtime copies them.
        unsafe { Component::deserialize(engine, &self.code) }
    }
}

fn tag(seal: Seal<'_>, code: &[u8]) -> blake3::Hash {
    blake3::Hasher::new_keyed(seal.key)
        .update(MAGIC)
        .update(&seal.component.0)
        .update(seal.engine)
        .update(code)
        .finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGINE: [u8; 32] = [7; 32];

    fn seal(key: &[u8; 32], component: u8) -> Seal<'_> {
        Seal {
            key,
            component: Digest([component; 32]),
            engine: &ENGINE,
        }
    }

    #[test]
    fn only_what_was_sealed_for_this_is_opened() {
        let key = [1; 32];
        let code = Code::from_own_compiler(b"machine code".to_vec());
        let (head, body) = code.seal(seal(&key, 1));
        let open = |head: [u8; HEAD_BYTES], body: &[u8], seal: Seal<'_>| {
            Code::open(&head, body.to_vec(), seal).is_some()
        };
        assert!(open(head, body, seal(&key, 1)));
        assert!(!open(head, body, seal(&[2; 32], 1)), "another key");
        assert!(!open(head, body, seal(&key, 2)), "another component");
        let other = Seal {
            engine: &[8; 32],
            ..seal(&key, 1)
        };
        assert!(!open(head, body, other), "another engine");
        for index in 0..HEAD_BYTES {
            let mut head = head;
            head[index] ^= 1;
            assert!(!open(head, body, seal(&key, 1)), "byte {index} of the head");
        }
        for index in 0..body.len() {
            let mut changed = body.to_vec();
            changed[index] ^= 1;
            assert!(!open(head, &changed, seal(&key, 1)), "byte {index}");
            assert!(!open(head, &body[..index], seal(&key, 1)), "cut at {index}");
        }
        let longer = [body, b"x"].concat();
        assert!(!open(head, &longer, seal(&key, 1)), "one byte more");
    }
}
