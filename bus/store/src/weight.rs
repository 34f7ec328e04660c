//! What a step weighs in rows, so that a commit is bounded in what it writes, and not in steps alone.
//!
//! Never here: bytes of events.

use super::{Advance, Append, NewEvent, Seen, Settle, SettleEnd, Step};

impl NewEvent {
    /// Rows that it writes: its own and a delivery for each subscription.
    #[must_use]
    pub fn rows(&self) -> usize {
        1 + self.subscriptions.len()
    }

    /// Bytes of its list of subscriptions.
    #[must_use]
    pub fn list_bytes(&self) -> usize {
        size_of_val(self.subscriptions.as_slice())
    }
}

impl Append {
    /// Rows that it writes.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.events.iter().map(NewEvent::rows).sum()
    }

    /// Bytes that its events have, with their lists of subscriptions.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let bytes = |new: &NewEvent| new.event.size() + new.list_bytes();
        self.events.iter().map(bytes).sum()
    }
}

impl Seen {
    /// Rows that are read to check it.
    fn rows(&self) -> usize {
        let listed = self.listings.iter().map(|listing| 1 + listing.count);
        self.reads.len() + listed.sum::<usize>()
    }
}

impl Settle {
    /// Rows that it reads and writes: the delivery where it was and where it goes, what is checked, and what
    /// the attempt did.
    fn rows(&self) -> usize {
        let events: usize = self.events().iter().map(|(_, new)| new.rows()).sum();
        let own = match &self.end {
            SettleEnd::Done(effects) => effects.writes.len(),
            SettleEnd::Retry { .. } | SettleEnd::Dead { .. } => 1,
        };
        2 + self.seen.rows() + own + events
    }
}

impl Advance {
    /// Rows that each effect reads and writes at most: a dead letter with its attempts, its event, the pending row
    /// and its due time.
    const EFFECT_ROWS: usize = 8;
}

impl Step {
    /// Rows that it reads and writes, about; of a change of the catalog one, for it can't be made smaller.
    #[must_use]
    pub fn rows(&self) -> usize {
        match self {
            Self::Append(append) => append.rows(),
            Self::Settle(settle) => settle.rows(),
            Self::Advance(advance) => 1 + advance.effects.len() * Advance::EFFECT_ROWS,
            Self::Trim(trim) => 2 * trim.events_max,
            Self::Expire(expire) => 3 * expire.keys.len(),
            Self::Claim { .. }
            | Self::StartJob(_)
            | Self::ControlJob { .. }
            | Self::ApplyManifest(_)
            | Self::Deploy(_)
            | Self::Remove { .. }
            | Self::Retire(_)
            | Self::Change(_)
            | Self::Clock(_)
            | Self::Quarantine { .. }
            | Self::NoteCheck { .. }
            | Self::MarkClean(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::conformance::{NOW, S1, S2, done, key, new_event};
    use super::*;
    use crate::{Effects, ListedKeys, Listing};
    use edgebus_model::BusId;

    #[test]
    fn rows_are_counted() {
        let event = |subscriptions: &[_]| new_event("e", subscriptions);
        let append = Append {
            bus: BusId(1),
            events: vec![event(&[]), event(&[S1, S2])],
            now: NOW,
        };
        let alone: usize = append.events.iter().map(|new| new.event.size()).sum();
        assert_eq!(append.bytes(), alone + 2 * size_of::<u32>());
        assert_eq!(Step::Append(append).rows(), 4);
        let Step::Settle(mut settle) = done(key(S1, 1), 0) else {
            panic!("it is a settlement");
        };
        let effects = Effects {
            writes: vec![(b"a".to_vec(), None)],
            emits: vec![(BusId(1), event(&[S1]))],
            ..Effects::default()
        };
        settle.end = SettleEnd::Done(effects);
        settle.seen.reads = vec![(b"a".to_vec(), 1), (b"b".to_vec(), 2)];
        settle.seen.listings = vec![Listing {
            prefix: Vec::new(),
            after: None,
            until: None,
            count: 7,
            keys: ListedKeys::default().digest(),
        }];
        assert_eq!(Step::Settle(settle).rows(), 2 + (2 + 1 + 7) + 1 + 2);
        assert_eq!(Step::MarkClean(true).rows(), 1);
    }
}
