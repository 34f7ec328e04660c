//! A writer changes rules while readers match: every reader sees a whole state, old or new, and none
//! waits for the writer.
//!
//! The writer replaces one rule by the next, in its own copy of the index, and publishes a clone of it.
//! Readers look at one number for each event; when it has changed, they take a clone too, under a lock
//! that is held for that clone only. A match holds no lock, and finds one rule, never none or two.
//!
//! ```console
//! $ cargo run -q -p edgebus-rules --example live
//! 1000 states published; 3 readers found one rule at all times
//! ```

use edgebus_rules::{Duplicates, ParseOptions, Pattern, RuleIndex, Scratch, Trust};
use std::error::Error;
use std::io::{self, BufRead, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};

const STATES: u64 = 1000;
const READERS: usize = 3;

/// What the writer has published last.
struct Published {
    /// A lock for a moment: it is only ever held to clone the index or to replace it.
    index: RwLock<RuleIndex<u64>>,
    /// How many states there were; readers compare it with what they have.
    state: AtomicU64,
}

impl Published {
    fn publish(&self, index: RuleIndex<u64>) {
        let mut current = self.index.write().unwrap_or_else(PoisonError::into_inner);
        *current = index;
        self.state.fetch_add(1, Ordering::Release);
    }

    fn snapshot(&self) -> RuleIndex<u64> {
        let current = self.index.read().unwrap_or_else(PoisonError::into_inner);
        current.clone()
    }
}

fn pattern() -> Result<Pattern, Box<dyn Error>> {
    let json = br#"{"type": ["order.placed"]}"#;
    let parsed = Pattern::parse(json, &ParseOptions::default());
    parsed.map_err(|errors| errors[0].clone().into())
}

/// Matches until the writer is done; true if one rule was there at all times.
fn read(published: &Published, done: &AtomicBool) -> Result<bool, edgebus_rules::EventError> {
    let event = br#"{"type": "order.placed", "data": {"total": 250}}"#;
    let mut scratch = Scratch::new();
    let mut state = published.state.load(Ordering::Acquire);
    let mut snapshot = published.snapshot();
    let mut always_one = true;
    loop {
        let last = done.load(Ordering::Acquire);
        let now = published.state.load(Ordering::Acquire);
        if now != state {
            (state, snapshot) = (now, published.snapshot());
        }
        // Nobody but this program made the event, so its shape is known.
        let keys = snapshot.matches_json(&mut scratch, event, Duplicates::Refuse, Trust::Plain)?;
        always_one &= keys.len() == 1;
        if last {
            return Ok(always_one);
        }
    }
}

pub(crate) fn run(
    _arguments: &[String],
    _input: impl BufRead,
    mut out: impl Write,
) -> Result<(), Box<dyn Error>> {
    let pattern = pattern()?;
    let mut own = RuleIndex::new();
    own.insert(0, &pattern);
    let published = Published {
        index: RwLock::new(own.clone()),
        state: AtomicU64::new(0),
    };
    let done = AtomicBool::new(false);
    let saw = std::thread::scope(|scope| {
        let readers: Vec<_> = (0..READERS)
            .map(|_| scope.spawn(|| read(&published, &done)))
            .collect();
        for state in 1..=STATES {
            // In between nobody sees this copy.
            own.remove(&(state - 1));
            own.insert(state, &pattern);
            published.publish(own.clone());
        }
        done.store(true, Ordering::Release);
        let joined = readers.into_iter().map(|reader| match reader.join() {
            Ok(Ok(always_one)) => always_one,
            Ok(Err(_)) | Err(_) => false,
        });
        joined.filter(|always_one| *always_one).count()
    });
    let states = published.state.load(Ordering::Acquire);
    writeln!(
        out,
        "{states} states published; {saw} readers found one rule at all times"
    )?;
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    run(&arguments, io::stdin().lock(), io::stdout().lock())
}
