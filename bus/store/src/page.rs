//! How much a listing reads at once: bounded in rows and in bytes, forwards or backwards.

/// How much of a listing is wanted, and which way.
///
/// A page ends with the row that fills either bound, so that it always gets somewhere; what it holds is at
/// most `bytes_max` and one row. Bytes are those of the stored records, corrupt ones included.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page {
    /// Rows at the most; 0 is an empty page.
    pub rows_max: usize,
    /// Bytes after which it is enough.
    pub bytes_max: usize,
    /// Which way the rows go from the place given.
    pub direction: Direction,
}

/// Which way a page goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Direction {
    /// In the order of the keys, from behind the place given, or from the first.
    #[default]
    Forward,
    /// Against it, from before the place given, or from the last.
    Backward,
}

impl Page {
    /// So many rows forwards, until they weigh `bytes_max`.
    #[must_use]
    pub const fn forward(rows_max: usize, bytes_max: usize) -> Self {
        Self {
            rows_max,
            bytes_max,
            direction: Direction::Forward,
        }
    }

    /// So many rows backwards, until they weigh `bytes_max`.
    #[must_use]
    pub const fn backward(rows_max: usize, bytes_max: usize) -> Self {
        Self {
            rows_max,
            bytes_max,
            direction: Direction::Backward,
        }
    }

    /// One row forwards, whatever it weighs.
    #[must_use]
    pub const fn one() -> Self {
        Self::forward(1, usize::MAX)
    }

    /// True if so many rows of so many bytes are enough.
    pub(super) fn is_full(self, rows: usize, bytes: usize) -> bool {
        rows >= self.rows_max || bytes >= self.bytes_max
    }
}

/// A page's rows, and where the next one begins.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Rows<T, K> {
    /// The rows, in the page's direction.
    pub rows: Vec<T>,
    /// The place to go on from; `None` once the listing has ended. A page may have few rows or none and still
    /// have a next one, where it looked at much that does not belong to the listing.
    pub next: Option<K>,
    /// What the rows weighed, corrupt ones included.
    pub bytes: usize,
}

impl<T, K> Rows<T, K> {
    /// No row, and nothing behind.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            rows: Vec::new(),
            next: None,
            bytes: 0,
        }
    }
}
