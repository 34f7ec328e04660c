//! Functions that keep books in their state, and the same books as the commits so far leave them.
//!
//! What such a function reads it writes down in its output, which its settlement brings along. So each settlement
//! that takes place can be held against the books at that moment: whatever ran at the same time, it must have seen
//! what the settlements before it left. And whatever an attempt sees, even one that never settles, keeps these
//! rules: `x` and `y` sum up to nothing, there is one leader at most, and `items` says how many items there are.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use super::ledger::Ledger;
use super::random::Random;
use crate::clock::Clock;
use edgebus_model::{Name, Outcome};
use edgebus_runtime::ServiceError;
use edgebus_runtime::capabilities::state::State;
use edgebus_store::{Settle, SettleEnd, Store};

/// Keys that are listed at once.
const LISTED_MAX: u32 = 100;
/// Different items.
const ITEMS: u64 = 5;
/// `x` goes no further above `y` than this.
const APART_MAX: i64 = 20;

/// How the host's refusal ends an attempt.
pub(super) fn refused(error: ServiceError) -> Outcome {
    match error {
        ServiceError::Limit(message) => Outcome::Limit { message },
        ServiceError::Host(message) => Outcome::Host { message },
        ServiceError::Conflict => Outcome::Conflict,
    }
}

/// An attempt that keeps books.
pub(super) struct Keeper<'a, 'g> {
    pub(super) clock: &'a Clock,
    pub(super) ledger: &'a Ledger,
    pub(super) state: &'a mut State<'g>,
    /// What it read.
    pub(super) said: &'a mut String,
    pub(super) random: Random,
}

impl Keeper<'_, '_> {
    /// Does what the random numbers say.
    pub(super) async fn keep(&mut self, position: u64) -> Result<(), Outcome> {
        self.ledger.count("attempts that keep books");
        match self.random.below(10) {
            0..4 => self.transfer().await,
            4..6 => self.lead(position).await,
            6..8 => self.item().await,
            _ => self.audit().await,
        }
    }

    /// Time for others to come between.
    async fn pause(&mut self) {
        if self.random.once_in(2) {
            let time = Duration::from_micros(self.random.below(3_000));
            self.clock.sleep(time).await;
        }
    }

    async fn number(&mut self, key: &str) -> Result<i64, Outcome> {
        let value = self.state.get(key.as_bytes()).await;
        let value = value.map_err(refused)?.unwrap_or_default();
        let number = String::from_utf8_lossy(&value).parse().unwrap_or(0);
        let _ = writeln!(self.said, "get {key} {number}");
        self.pause().await;
        Ok(number)
    }

    async fn list(
        &mut self,
        prefix: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<String>, Outcome> {
        let behind = Some(after.as_bytes()).filter(|after| !after.is_empty());
        let keys = self.state.keys(prefix.as_bytes(), behind, limit);
        let keys = keys.await.map_err(refused)?;
        let keys: Vec<_> = keys
            .iter()
            .map(|key| String::from_utf8_lossy(key).into_owned())
            .collect();
        let joined = keys.join(",");
        let _ = writeln!(self.said, "list {prefix} {after} {limit} {joined}");
        self.pause().await;
        Ok(keys)
    }

    fn set(&mut self, key: &str, value: Option<i64>) -> Result<(), Outcome> {
        let value = value.map(|number| number.to_string().into());
        self.state.set(key.as_bytes(), value).map_err(refused)
    }

    fn mixed(&self, what: &str) {
        let said = self.said.replace('\n', "; ");
        let mut seen = self.ledger.seen();
        seen.broke(format!("an attempt saw {what}: {said}"));
    }

    /// Both sides of the books, in any order.
    async fn sides(&mut self) -> Result<(i64, i64), Outcome> {
        let (x, y) = if self.random.once_in(2) {
            let x = self.number("x").await?;
            (x, self.number("y").await?)
        } else {
            let y = self.number("y").await?;
            (self.number("x").await?, y)
        };
        if x + y != 0 {
            self.mixed("a sum that never was");
        }
        Ok((x, y))
    }

    async fn transfer(&mut self) -> Result<(), Outcome> {
        let (x, y) = self.sides().await?;
        let sum = 1 + i64::try_from(self.random.below(9)).unwrap_or(0);
        let sum = if self.random.once_in(3) { -sum } else { sum };
        if sum > 0 && x - y > APART_MAX {
            self.ledger.count("rejections over two keys");
            let message = "the sides are too far apart".to_owned();
            return Err(Outcome::Reject { message });
        }
        self.set("x", Some(x + sum))?;
        self.set("y", Some(y - sum))
    }

    /// Becomes the leader, or ends the time of the one that is.
    async fn lead(&mut self, position: u64) -> Result<(), Outcome> {
        let leaders = self.leaders().await?;
        match leaders.first() {
            None => self.set(&format!("lead/{position}"), Some(1)),
            Some(leader) => self.set(leader, None),
        }
    }

    async fn leaders(&mut self) -> Result<Vec<String>, Outcome> {
        let leaders = self.list("lead/", "", LISTED_MAX).await?;
        if leaders.len() > 1 {
            self.mixed("two leaders");
        }
        for leader in &leaders {
            if self.number(leader).await? == 0 {
                self.mixed("a leader that is not there");
            }
        }
        Ok(leaders)
    }

    /// Puts an item that is not there, or takes it away.
    async fn item(&mut self) -> Result<(), Outcome> {
        let items = self.items().await?;
        let count = i64::try_from(items.len()).unwrap_or(0);
        let item = format!("item/{}", self.random.below(ITEMS));
        let there = items.contains(&item);
        self.set(&item, (!there).then_some(1))?;
        let count = if there { count - 1 } else { count + 1 };
        self.set("items", Some(count))
    }

    /// All items, in one page or in several.
    async fn items(&mut self) -> Result<Vec<String>, Outcome> {
        let limit = if self.random.once_in(2) {
            LISTED_MAX
        } else {
            2
        };
        let mut items: Vec<String> = Vec::new();
        let said_first = self.random.once_in(2);
        let mut count = if said_first {
            self.number("items").await?
        } else {
            0
        };
        loop {
            let after = items.last().cloned().unwrap_or_default();
            let page = self.list("item/", &after, limit).await?;
            let last = page.len() < limit as usize;
            items.extend(page);
            if last {
                break;
            }
        }
        if !said_first {
            count = self.number("items").await?;
        }
        if usize::try_from(count).ok() != Some(items.len()) {
            self.mixed("another number of items");
        }
        Ok(items)
    }

    async fn audit(&mut self) -> Result<(), Outcome> {
        let leaders = self.leaders().await?;
        let (x, _) = self.sides().await?;
        self.items().await?;
        if x > 0 && leaders.is_empty() {
            self.ledger.count("rejections over two keys");
            let message = "there is no leader".to_owned();
            return Err(Outcome::Reject { message });
        }
        Ok(())
    }
}

/// All state of functions: numbers by function and key.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Books(BTreeMap<(String, String), i64>);

impl Books {
    /// What the store has.
    pub(super) fn read(store: &dyn Store, functions: impl Iterator<Item = Name>) -> Self {
        let view = store.state_view().unwrap();
        let mut books = BTreeMap::new();
        for function in functions {
            for key in view.keys(&function, b"", None, 1_000).unwrap() {
                let value = view.get(&function, &key).unwrap().unwrap().value;
                let place = (function.to_string(), text(&key));
                books.insert(place, text(&value).parse().unwrap());
            }
        }
        Self(books)
    }

    fn get(&self, function: &str, key: &str) -> i64 {
        let place = (function.to_owned(), key.to_owned());
        self.0.get(&place).copied().unwrap_or(0)
    }

    fn list<'a>(
        &'a self,
        function: &'a str,
        prefix: &'a str,
        after: &'a str,
    ) -> impl Iterator<Item = &'a str> {
        let own = self.0.keys().filter(move |(of, _)| of == function);
        own.map(|(_, key)| key.as_str())
            .filter(move |key| key.starts_with(prefix) && *key > after)
    }

    /// A settlement took place: what it said must be so, and it leaves what it wrote; else, why not.
    pub(super) fn settled(&mut self, settle: &Settle) -> Result<(), String> {
        let Some(function) = &settle.seen.function else {
            return Ok(());
        };
        let function = function.as_str();
        for line in settle.attempt.output.lines() {
            if !self.is_so(function, line) {
                let (outcome, books) = (&settle.attempt.outcome, &self.0);
                return Err(format!(
                    "{outcome:?} took place on `{line}`, which is not so: {books:?}"
                ));
            }
        }
        if let SettleEnd::Done(effects) = &settle.end {
            for (key, value) in &effects.writes {
                let place = (function.to_owned(), text(key));
                match value {
                    Some(value) => {
                        self.0.insert(place, text(value).parse().unwrap());
                    }
                    None => {
                        self.0.remove(&place);
                    }
                }
            }
        }
        self.kept(function)
    }

    fn is_so(&self, function: &str, line: &str) -> bool {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            ["get", key, number] => self.get(function, key).to_string() == number,
            ["list", prefix, after, limit, keys] => {
                let limit = limit.parse().unwrap();
                let found = self.list(function, prefix, after).take(limit);
                found.collect::<Vec<_>>().join(",") == keys
            }
            _ => false,
        }
    }

    fn kept(&self, function: &str) -> Result<(), String> {
        let sum = self.get(function, "x") + self.get(function, "y");
        let leaders = self.list(function, "lead/", "").count();
        let items = self.list(function, "item/", "").count();
        let counted = self.get(function, "items");
        if sum != 0 || leaders > 1 || usize::try_from(counted).ok() != Some(items) {
            return Err(format!(
                "{function}: the sum is {sum}, {leaders} lead, {items} items are {counted}"
            ));
        }
        Ok(())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
