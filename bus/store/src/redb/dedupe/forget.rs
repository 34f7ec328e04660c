//! What an event said is forgotten when it is erased: its entry stays, without the hash of its content.
//!
//! So a repeated event is a duplicate as before, whatever it says, and no hash is left by which somebody who has the
//! store's secret could try what was erased. An entry may stand in memory, in a row of the tail, in a sealed block and
//! in a block that a merge is writing. Never here: an entry that goes.

use super::geometry::RUN;
use super::{Context, Index, rows};
use crate::Error;
use edgebus_model::{BusId, Position};

use super::super::fingerprint::Fingerprint;

impl Index {
    /// Forgets what the event at this position said; nothing where it is not known any more.
    pub(in super::super) fn forget_content(
        &mut self,
        context: &mut Context<'_, '_>,
        (bus, fingerprint): (BusId, &Fingerprint),
        position: Position,
    ) -> Result<(), Error> {
        let geometry = self.geometry;
        self.recovered.clear();
        let Some(known) = self.buses.get_mut(&bus) else {
            return Ok(());
        };
        if let Some(seen) = known.tail.get_mut(fingerprint)
            && seen.position == position
        {
            seen.content = 0;
        }
        for (own, seen) in &mut known.run {
            if own == fingerprint && seen.position == position {
                seen.content = 0;
            }
        }
        let first = position.0.saturating_sub(1) / RUN * RUN + 1;
        let mut keys = vec![(first, rows::key_of(bus, rows::Kind::Run, 0, first, 0))];
        let blocks = known.live.iter().map(|block| (block.level, block.first));
        let merges = known.merges.iter().map(|merge| (merge.level, merge.first));
        let dying = known.dying.iter().map(|dying| (dying.level, dying.first));
        for (level, first) in blocks.chain(merges).chain(dying) {
            let last = first + (geometry.span(level) - 1);
            if (first..=last).contains(&position.0) {
                let row = rows::row_of(geometry, level, fingerprint);
                keys.push((first, rows::row_key(bus, level, first, row)));
            }
        }
        for (first, key) in keys {
            let table = rows::table_of(&key);
            let read = context
                .tables
                .get(table, &key, |from| rows::read_entries(from, first))?;
            // A corrupt row is put together from the log, which no longer has it.
            let Some(Ok(mut entries)) = read else {
                continue;
            };
            let own = entries.iter_mut().find(|(own, seen)| {
                own == fingerprint && seen.position == position && seen.content != 0
            });
            if let Some((_, seen)) = own {
                seen.content = 0;
                context
                    .tables
                    .put(table, &key, |out| rows::write_entries(out, first, &entries))?;
            }
        }
        Ok(())
    }
}
