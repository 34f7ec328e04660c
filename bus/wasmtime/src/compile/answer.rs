//! The answer that the compiler process writes to its standard output.
//!
//! ```text
//! 1 byte     the kind: C code, R refused, M out of memory
//! 8 bytes    length, little-endian
//! the rest   code, or the reason as text
//! 32 bytes   BLAKE3 of all before
//! ```
//!
//! A partial answer is no answer, because the process may have been killed while it wrote.

use std::io::{self, Write};

use tokio::io::{AsyncRead, AsyncReadExt};

const HEAD_BYTES: usize = 9;

/// The result of compiling.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Answer {
    /// Machine code.
    Code(Vec<u8>),
    /// The component can't be compiled, for this reason.
    Refused(String),
    /// The process needs more memory than it may use.
    Memory,
}

/// Why there is no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// The code is longer than allowed.
    TooLong(u64),
    /// The answer is incomplete or malformed.
    Broken,
}

impl Answer {
    /// Writes the answer.
    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let (kind, body) = match self {
            Self::Code(code) => (b'C', code.as_slice()),
            Self::Refused(reason) => (b'R', reason.as_bytes()),
            Self::Memory => (b'M', [].as_slice()),
        };
        let mut head = [kind; HEAD_BYTES];
        let length = u64::try_from(body.len()).map_err(io::Error::other)?;
        head[1..].copy_from_slice(&length.to_le_bytes());
        let hash = blake3::Hasher::new().update(&head).update(body).finalize();
        out.write_all(&head)?;
        out.write_all(body)?;
        out.write_all(hash.as_bytes())?;
        out.flush()
    }

    /// Reads the answer, if it is no longer than `bytes_max`.
    pub(super) async fn read(
        mut from: impl AsyncRead + Unpin,
        bytes_max: u64,
    ) -> Result<Self, Failure> {
        let mut head = [0; HEAD_BYTES];
        let broken = |_: io::Error| Failure::Broken;
        from.read_exact(&mut head).await.map_err(broken)?;
        let [kind, length @ ..] = head;
        let length = u64::from_le_bytes(length);
        if length > bytes_max {
            return Err(Failure::TooLong(length));
        }
        let length = usize::try_from(length).map_err(|_| Failure::TooLong(length))?;
        let mut body = vec![0; length];
        from.read_exact(&mut body).await.map_err(broken)?;
        let mut hash = [0; blake3::OUT_LEN];
        from.read_exact(&mut hash).await.map_err(broken)?;
        let expected = blake3::Hasher::new().update(&head).update(&body).finalize();
        if expected != blake3::Hash::from_bytes(hash) {
            return Err(Failure::Broken);
        }
        match kind {
            b'C' => Ok(Self::Code(body)),
            b'R' => Ok(Self::Refused(String::from_utf8_lossy(&body).into_owned())),
            b'M' => Ok(Self::Memory),
            _ => Err(Failure::Broken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_is_heard_whole_or_not_at_all() {
        for answer in [
            Answer::Code(vec![7; 1_000]),
            Answer::Refused("no component".to_owned()),
            Answer::Memory,
        ] {
            let mut bytes = Vec::new();
            answer.write(&mut bytes).expect("written");
            let heard = Answer::read(bytes.as_slice(), 1_000).await;
            assert_eq!(heard.expect("whole"), answer);
            for index in 0..bytes.len() {
                let cut = Answer::read(&bytes[..index], 1_000).await;
                assert!(matches!(cut, Err(Failure::Broken)), "cut at {index}");
                let mut changed = bytes.clone();
                changed[index] ^= 1;
                assert!(Answer::read(changed.as_slice(), 1_000).await.is_err());
            }
        }
        let mut bytes = Vec::new();
        let answer = Answer::Code(vec![7; 1_001]);
        answer.write(&mut bytes).expect("written");
        let long = Answer::read(bytes.as_slice(), 1_000).await;
        assert!(matches!(long, Err(Failure::TooLong(1_001))));
    }
}
