//! What the store knows of itself, of buses, functions, rules and subscriptions: rows and back.
//!
//! A change is decided in `known`; here only the rows that differ are written. A harmed row here is
//! an error and not skipped: a bus that runs with half its rules would lose events.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;

use super::steps::Work;
use super::tables::{Snapshot, Tables};
use crate::model::{BusId, Code, Digest, Name, Revision, SubscriptionId};
use crate::store::codec::{Harm, IDENTITY_FORMAT, Reader, Table, Writer, catalog, unseal};
use crate::store::known::Known;
use crate::store::{ApplyManifest, Deploy, Error, Kind, Step, StepOutcome};

/// The format of the store as a whole; a store of a newer one is refused, an older one is migrated. There
/// never was a format 2.
pub(super) const STORE_FORMAT: u32 = 3;
/// Meta: format, store id, secret.
pub(super) const IDENTITY: &[u8] = b"store";
/// Meta: how often the store was opened, and whether the last process stopped in order.
pub(super) const OPENS: &[u8] = b"opens";
/// Meta: the last state version.
pub(super) const COUNTER: &[u8] = b"counter";

/// Who the store is.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) format: u32,
    pub(super) store_id: [u8; 16],
    pub(super) secret: [u8; 32],
}

/// Writes the rows of a new store.
pub(super) fn write_genesis(tables: &mut Tables<'_>, identity: &Identity) -> Result<(), Error> {
    for table in Table::ALL {
        tables.touch(table)?;
    }
    write_identity(tables, identity)?;
    tables.put(Table::Meta, OPENS, |out| {
        out.u64(0);
        out.flag(true);
    })?;
    tables.put(Table::Meta, COUNTER, |out| out.u64(0))?;
    write_known(tables, &Known::default(), &Known::genesis())
}

/// Writes who the store is, as every release can read it.
pub(super) fn write_identity(tables: &mut Tables<'_>, identity: &Identity) -> Result<(), Error> {
    tables
        .put_as(IDENTITY_FORMAT, Table::Meta, IDENTITY, |out| {
            out.u32(identity.format);
            out.extend_from_slice(&identity.store_id);
            out.extend_from_slice(&identity.secret);
        })
        .map(|_| ())
}

/// Reads who the store is. The format comes first in the row and is judged before the rest.
pub(super) fn read_identity(rows: &Snapshot) -> Result<Identity, Error> {
    meta(rows, IDENTITY, |from| {
        let format = from.u32()?;
        if format > STORE_FORMAT {
            from.rest();
            let (store_id, secret) = ([0; 16], [0; 32]);
            return Some(Identity {
                format,
                store_id,
                secret,
            });
        }
        Some(Identity {
            format,
            store_id: from.array()?,
            secret: from.array()?,
        })
    })
}

/// Reads how often the store was opened, and whether the last process stopped in order.
pub(super) fn read_opens(rows: &Snapshot) -> Result<(u64, bool), Error> {
    meta(rows, OPENS, |from| Some((from.u64()?, from.flag()?)))
}

/// Reads the last state version.
pub(super) fn read_counter(rows: &Snapshot) -> Result<u64, Error> {
    meta(rows, COUNTER, |from| from.u64())
}

fn meta<T>(
    rows: &Snapshot,
    key: &[u8],
    read: impl FnOnce(&mut Reader<'_>) -> Option<T>,
) -> Result<T, Error> {
    match rows.get(Table::Meta, key, read)? {
        Some(row) => Ok(row?),
        None => Err(Harm::new(Table::Meta, key, "is missing").into()),
    }
}

/// Reads the last position of every bus.
pub(super) fn read_heads(rows: &Snapshot) -> Result<HashMap<BusId, u64>, Error> {
    let mut heads = HashMap::new();
    every(rows, Table::Heads, |key, from| {
        heads.insert(BusId(u32::from_be_bytes(key.try_into().ok()?)), from.u64()?);
        Some(())
    })?;
    Ok(heads)
}

/// Reads everything that a manifest decided.
pub(super) fn read_known(rows: &Snapshot) -> Result<Known, Error> {
    let mut known = Known::default();
    let mut rules = BTreeMap::new();
    every(rows, Table::Catalog, |key, from| {
        let (kind, rest) = key.split_first()?;
        let number = || Some(u32::from_be_bytes(rest.try_into().ok()?));
        match kind {
            b'm' => {
                known.version = from.u64()?;
                known.manifest = from.text()?;
            }
            b'b' => {
                let id = BusId(number()?);
                known.buses.insert(id, catalog::read_bus(from)?);
            }
            b'f' => {
                let revision: Revision = catalog::read_revision(from)?;
                known.functions.insert(revision.name.clone(), revision);
            }
            b'r' => {
                rules.insert(number()?, catalog::read_rule(from)?);
            }
            b's' => {
                let id = SubscriptionId(number()?);
                known
                    .subscriptions
                    .insert(id, catalog::read_subscription(from, id)?);
            }
            _ => return None,
        }
        Some(())
    })?;
    known.rules = rules.into_values().collect();
    Ok(known)
}

/// The components that `step` names and the store has.
pub(super) fn held(rows: &Snapshot, step: &Step) -> Result<BTreeSet<Digest>, Error> {
    let mut held = BTreeSet::new();
    let Step::ApplyManifest(apply) = step else {
        return Ok(held);
    };
    for (_, digest, _) in &apply.functions {
        if !held.contains(digest)
            && rows
                .get(Table::Components, &digest.0, |_| Some(()))?
                .is_some()
        {
            held.insert(*digest);
        }
    }
    Ok(held)
}

fn every(
    rows: &Snapshot,
    table: Table,
    mut each: impl FnMut(&[u8], &mut Reader<'_>) -> Option<()>,
) -> Result<(), Error> {
    let mut harmed = None;
    rows.scan(table, Bound::Unbounded, Bound::Unbounded, |key, record| {
        let row = unseal(table, key, record, |from| each(key, from));
        harmed = row.err();
        harmed.is_none()
    })?;
    harmed.map_or(Ok(()), |harm| Err(harm.into()))
}

pub(super) fn numbered(kind: u8, number: u32) -> [u8; 5] {
    let [a, b, c, d] = number.to_be_bytes();
    [kind, a, b, c, d]
}

fn function_row(name: &Name) -> Vec<u8> {
    [b"f", name.as_str().as_bytes()].concat()
}

/// Writes the rows in which `next` differs from `last`.
fn write_known(tables: &mut Tables<'_>, last: &Known, next: &Known) -> Result<(), Error> {
    if (last.version, &last.manifest) != (next.version, &next.manifest) || last.buses.is_empty() {
        tables.put(Table::Catalog, b"m", |out| {
            out.u64(next.version);
            out.bytes(next.manifest.as_bytes());
        })?;
    }
    for (id, bus) in &next.buses {
        if last.buses.get(id) != Some(bus) {
            tables.put(Table::Catalog, &numbered(b'b', id.0), |out| {
                catalog::write_bus(out, bus);
            })?;
        }
    }
    for (name, revision) in &next.functions {
        if last.functions.get(name) != Some(revision) {
            tables.put(Table::Catalog, &function_row(name), |out| {
                catalog::write_revision(out, revision);
            })?;
        }
    }
    for name in last.functions.keys() {
        if !next.functions.contains_key(name) {
            tables.remove(Table::Catalog, &function_row(name))?;
        }
    }
    for index in 0..last.rules.len().max(next.rules.len()) {
        let number = u32::try_from(index).expect("a manifest has far fewer than 2^32 rules");
        let key = numbered(b'r', number);
        match (last.rules.get(index), next.rules.get(index)) {
            (before, Some(rule)) if before != Some(rule) => {
                tables.put(Table::Catalog, &key, |out| catalog::write_rule(out, rule))?;
            }
            (Some(_), None) => tables.remove(Table::Catalog, &key)?,
            _ => {}
        }
    }
    for (id, subscription) in &next.subscriptions {
        if last.subscriptions.get(id) != Some(subscription) {
            tables.put(Table::Catalog, &numbered(b's', id.0), |out| {
                catalog::write_subscription(out, subscription);
            })?;
        }
    }
    Ok(())
}

impl Work<'_, '_> {
    pub(super) fn apply_manifest(&mut self, step: &ApplyManifest) -> Result<StepOutcome, Error> {
        let mut held = BTreeSet::new();
        for (_, digest, _) in &step.functions {
            if !held.contains(digest) && self.tables.has(Table::Components, &digest.0)? {
                held.insert(*digest);
            }
        }
        match self.known().apply(step, |digest| held.contains(&digest)) {
            Ok(next) => {
                let components = step.components.iter();
                self.replace(
                    next,
                    components.map(|(digest, bytes)| (*digest, &bytes[..])),
                )
            }
            Err(reason) => Ok(StepOutcome::Denied(reason)),
        }
    }

    pub(super) fn deploy(&mut self, step: &Deploy) -> Result<StepOutcome, Error> {
        let digest = Digest::of(&step.component);
        match self.known().deploy(step, digest) {
            Ok(next) => self.replace(next, std::iter::once((digest, &step.component[..]))),
            Err(reason) => Ok(StepOutcome::Denied(reason)),
        }
    }

    pub(super) fn remove(
        &mut self,
        function: &Name,
        expected: Option<u64>,
    ) -> Result<StepOutcome, Error> {
        match self.known().remove(function, expected) {
            Ok(next) => self.replace(next, std::iter::empty()),
            Err(reason) => Ok(StepOutcome::Denied(reason)),
        }
    }

    /// Writes what is new, and lets go of components that no function in force needs.
    fn replace<'c>(
        &mut self,
        next: Known,
        components: impl Iterator<Item = (Digest, &'c [u8])>,
    ) -> Result<StepOutcome, Error> {
        // Not by `known`, which would borrow the tables as well; a copy is one of every rule.
        let last = self.pending.known.as_ref().unwrap_or(&self.memory.known);
        let (before, needed) = (last.digests(), next.digests());
        for (digest, bytes) in components {
            if needed.contains(&digest) && !self.tables.has(Table::Components, &digest.0)? {
                self.tables.put(Table::Components, &digest.0, |out| {
                    out.extend_from_slice(bytes);
                })?;
            }
        }
        for digest in before.difference(&needed) {
            self.tables.remove(Table::Components, &digest.0)?;
        }
        write_known(&mut self.tables, last, &next)?;
        let version = next.version;
        self.pending.known = Some(next);
        Ok(StepOutcome::Applied { version })
    }
}

/// Why a store of this identity can't be used, if it can't.
pub(super) fn judge(identity: &Identity, beside: [u8; 16]) -> Result<(), Error> {
    let refused = |code: Code, message: String| Err(Error::new(Kind::Refused, message).coded(code));
    if identity.format > STORE_FORMAT {
        return refused(
            Code::StoreNewer,
            format!(
                "the store has format {}, written by a newer release; this one reads up to {STORE_FORMAT}",
                identity.format
            ),
        );
    }
    if identity.store_id != beside {
        return refused(
            Code::StoreMismatch,
            "the store's id differs from the one beside it: the file or the folder is another store's"
                .to_owned(),
        );
    }
    Ok(())
}
