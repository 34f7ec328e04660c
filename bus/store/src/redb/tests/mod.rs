//! Tests of the redb store: what an open refuses, what rot does, what a power cut leaves.

mod blocks;
mod catalog_rows;
mod compacting;
mod counting;
mod erase;
mod flips;
mod frozen;
mod jobs;
mod levels;
mod opening;
mod power;
mod resuming;
mod retention;
mod rot;
mod state;

use std::path::Path;
use std::sync::Arc;

use super::open::{FILE, ID_FILE};
use super::*;
use crate::*;
use edgebus_model::*;

fn small() -> Settings {
    Settings {
        cache_bytes: 2 << 20,
        ..Settings::default()
    }
}

fn event(id: &str, data: Vec<u8>) -> NewEvent {
    NewEvent {
        event: Arc::new(Event {
            id: id.into(),
            source: "/test".into(),
            kind: "t".into(),
            subject: None,
            time: None,
            data_content_type: None,
            data_schema: None,
            extensions: Vec::new(),
            data: Data::Opaque(data.into()),
        }),
        lineage: Lineage::default(),
        subscriptions: vec![SubscriptionId(1)],
        rules_version: 1,
    }
}

fn append(events: Vec<NewEvent>, now: u64) -> Step {
    Step::Append(Append {
        bus: BusId(1),
        events,
        now: Timestamp(now),
    })
}

/// One rule `r` on the default bus to the function `f`: subscription 1.
fn rules(dedupe_ms: u64) -> Step {
    let (r, f) = (Name::new("r").unwrap(), Name::new("f").unwrap());
    let component = bytes::Bytes::from_static(b"component");
    let digest = Digest::of(&component);
    let default = Name::new("default").unwrap();
    Step::ApplyManifest(Box::new(ApplyManifest {
        source: "version: 1".into(),
        buses: vec![BusConfig {
            dedupe_ms,
            ..BusConfig::with_defaults(default.clone())
        }],
        functions: vec![(f.clone(), digest, FunctionConfig::default())],
        components: vec![(digest, component)],
        rules: vec![RuleConfig {
            enabled: true,
            description: None,
            name: r.clone(),
            bus: default,
            pattern: None,
            filters: Vec::new(),
            targets: vec![TargetConfig::with_defaults(&r, Target::Function(f))],
        }],
        expected: None,
        now: Timestamp(0),
    }))
}

fn key(position: u64) -> DeliveryKey {
    DeliveryKey {
        subscription: SubscriptionId(1),
        replay: 0,
        position: Position(position),
    }
}

fn settle(position: u64, fence: u32, end: SettleEnd) -> Step {
    Step::Settle(Box::new(Settle {
        key: key(position),
        fence,
        attempt: Attempt {
            number: fence + 1,
            started_at: Timestamp(1),
            duration_us: 1,
            outcome: Outcome::Success,
            output: String::new(),
        },
        spared: false,
        seen: Seen {
            function: Some(Name::new("f").unwrap()),
            ..Seen::default()
        },
        end,
        now: Timestamp(2),
    }))
}

fn verified(store: &dyn Store) -> Vec<String> {
    let mut corruption = Vec::new();
    store.verify(&mut |line| corruption.push(line)).unwrap();
    corruption
}
