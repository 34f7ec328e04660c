//! What must hold when all is quiet: the promises of the bus, against what those outside of it saw.

use std::collections::{BTreeMap, BTreeSet};

use super::books::Books;
use super::functions::COUNTED;
use super::ledger::{BUS, Ledger, Seen, name, subject_of};
use super::plan::Plan;
use edgebus_model::{
    Data, DeadReason, Delivery, DeliveryKey, Job, JobSpec, JobState, Name, Outcome, Position,
    ReplayPurpose,
};
use edgebus_store::{DeliveryState, Page, Store, StoredEvent};

/// Checks everything; what does not hold is noted in the ledger.
pub(super) fn check(plan: &Plan, ledger: &Ledger, store: &dyn Store) {
    let there = log(store);
    let mut seen = ledger.seen();
    let log = with_removed(&mut seen, &there, store);
    let all = store.catalog().unwrap().subscriptions;
    seen.active = all.iter().map(|own| own.id).collect();
    events(&mut seen, &log);
    let ends = deliveries(plan, &mut seen, &log, store);
    jobs(plan, &mut seen, &log, store);
    erased(&mut seen, &there, store);
    emitted(&mut seen, &log, &ends);
    counted(plan, &mut seen, &ends, store);
    let names = plan.functions.iter();
    let books = Books::read(store, names.map(|own| Name::new(&own.name).unwrap()));
    if books != seen.books {
        let what = format!("state is {books:?}, and the commits left {:?}", seen.books);
        seen.broke(what);
    }
    keys(&mut seen);
    counters(&mut seen, &there, &ends, store);
}

/// The whole log.
fn log(store: &dyn Store) -> Vec<StoredEvent> {
    let mut log: Vec<StoredEvent> = Vec::new();
    loop {
        let after = log.last().map_or(Position(0), |last| last.position);
        let page = store.events(BUS, after, 500).unwrap();
        if page.is_empty() {
            return log;
        }
        log.extend(page);
    }
}

/// The log with what retention has taken from it: nothing that something was pending for, and all else up to the
/// floor.
fn with_removed(seen: &mut Seen, there: &[StoredEvent], store: &dyn Store) -> Vec<StoredEvent> {
    let floor = store.floor(BUS).unwrap();
    if let Some(left) = there.first().filter(|left| left.position < floor) {
        let position = left.position;
        seen.broke(format!(
            "retention left the event at {position}, its floor is {floor}"
        ));
    }
    let mut log: BTreeMap<Position, StoredEvent> = seen.removed.clone();
    log.retain(|position, _| *position < floor);
    seen.gone = log.keys().copied().collect();
    for stored in there {
        seen.gone.remove(&stored.position);
        // One that a redrive brought back names fewer subscriptions than the first.
        log.entry(stored.position).or_insert_with(|| stored.clone());
    }
    log.into_values().collect()
}

/// What was acknowledged is there, once, as it was sent; what was refused is not.
fn events(seen: &mut Seen, log: &[StoredEvent]) {
    let mut there: BTreeMap<&str, Vec<&StoredEvent>> = BTreeMap::new();
    for stored in log {
        there.entry(&stored.event.id).or_default().push(stored);
    }
    let mut broken = Vec::new();
    for (number, sent) in &seen.events {
        let id = format!("p{number}");
        let found = there.get(id.as_str()).map_or(&[][..], Vec::as_slice);
        match (found, sent.acknowledged) {
            ([], Some(position)) if seen.corrupt.contains(&position) => {}
            ([], Some(position)) => {
                broken.push(format!(
                    "event {number} was acknowledged at {position} and is lost"
                ));
            }
            ([stored], acknowledged) => {
                let data = Data::Json(number.to_string().into());
                let erased = seen.subjects.contains(&subject_of(*number))
                    && seen.erase_asked.contains(&stored.position)
                    && stored.event.erased().is_some();
                if !erased && stored.event.data != data || stored.event.kind != sent.kind {
                    broken.push(format!("event {number} has other data"));
                }
                if acknowledged.is_some_and(|position| position != stored.position) {
                    broken.push(format!("event {number} is not where it was acknowledged"));
                }
                if acknowledged.is_none() && !sent.unknown {
                    broken.push(format!("event {number} was refused and is stored"));
                }
            }
            ([], None) => {}
            (several, _) => {
                broken.push(format!("event {number} is stored {} times", several.len()));
            }
        }
    }
    for pair in log.windows(2) {
        if pair[0].position >= pair[1].position {
            broken.push("the log is out of order".to_owned());
        }
    }
    broken.into_iter().for_each(|what| seen.broke(what));
}

/// How deliveries ended.
struct Ends {
    settled: BTreeSet<DeliveryKey>,
    dead: BTreeSet<DeliveryKey>,
}

/// Each event has a delivery for the rules of its version, and each of those deliveries has ended once.
fn deliveries(plan: &Plan, seen: &mut Seen, log: &[StoredEvent], store: &dyn Store) -> Ends {
    let mut ends = Ends {
        settled: BTreeSet::new(),
        dead: BTreeSet::new(),
    };
    let mut expected: BTreeMap<(u64, String), BTreeSet<String>> = BTreeMap::new();
    for stored in log {
        let (version, kind) = (stored.rules_version, stored.event.kind.clone());
        let number = seen.versions.get(&version).copied();
        let rules = expected.entry((version, kind.clone())).or_insert_with(|| {
            let rules = number.map_or(Vec::new(), |number| plan.rules_of(number));
            let matching = rules.iter().filter(|rule| rule.kind == kind);
            matching.map(|rule| rule.name.clone()).collect()
        });
        let pending: BTreeSet<_> = stored
            .subscriptions
            .iter()
            .map(|id| seen.rules.get(id).cloned().unwrap_or_default())
            .collect();
        if number.is_some() && pending != *rules {
            let position = stored.position;
            let what = format!("the event at {position} is pending for {pending:?}, not {rules:?}");
            seen.broke(what);
        }
        for subscription in &stored.subscriptions {
            let key = DeliveryKey {
                subscription: *subscription,
                replay: 0,
                position: stored.position,
            };
            if let Err(what) = delivery(plan, seen, store, key, &mut ends) {
                seen.broke(format!("delivery {key}: {what}"));
            }
        }
    }
    // A replay's deliveries are named by no event. What a commit that failed asked for may be there or not.
    let asked: Vec<_> = seen.replays_asked.iter().copied().collect();
    for key in asked {
        // What was attempted was there, though its event has taken it along.
        let told = seen.deliveries.get(&name(key));
        let attempted = told.is_some_and(|told| !told.attempts.is_empty());
        let made = seen.replayed.contains(&key) || attempted;
        if (made || !matches!(store.delivery(key), Ok(None)))
            && let Err(what) = delivery(plan, seen, store, key, &mut ends)
        {
            seen.broke(format!("delivery {key}: {what}"));
        }
    }
    // An event whose record is corrupt is not in the log, and its deliveries have ended all the same.
    let corrupt: Vec<_> = seen.corrupt.iter().copied().collect();
    let all: Vec<_> = seen.rules.keys().copied().collect();
    for position in corrupt {
        for subscription in &all {
            let key = DeliveryKey {
                subscription: *subscription,
                replay: 0,
                position,
            };
            // The store tells no more of a subscription that is retired; then who was attempted was pending.
            let attempted = seen.deliveries.get(&name(key));
            let attempted = attempted.is_some_and(|told| !told.attempts.is_empty());
            if (attempted || !matches!(store.delivery(key), Ok(None)))
                && let Err(what) = delivery(plan, seen, store, key, &mut ends)
            {
                seen.broke(format!("delivery {key} of a corrupt event: {what}"));
            }
        }
    }
    ends
}

fn delivery(
    plan: &Plan,
    seen: &Seen,
    store: &dyn Store,
    key: DeliveryKey,
    ends: &mut Ends,
) -> Result<(), String> {
    let told = seen.deliveries.get(&name(key)).cloned().unwrap_or_default();
    let rule = seen.rules.get(&key.subscription);
    let rule = rule.and_then(|name| plan.rule(name));
    let attempts_max = rule.map_or(u32::MAX, |rule| rule.attempts_max);
    let successes = told.attempts.iter().filter(|own| own.1 == Some(true));
    let state = store.delivery(key).map_err(|error| error.to_string())?;
    let made = match state {
        // A subscription that left the manifest is let go when all of its deliveries have succeeded or were purged;
        // they are not told by key from there on.
        None if !seen.active.contains(&key.subscription) && (told.ended || seen.cut) => {
            let last = told.attempts.last();
            let failed = last.is_some_and(|last| last.1 == Some(false));
            // Of what a commit purged that nobody saw, the last attempt tells how it ended.
            let discarded = told.purged || told.skipped || (told.unsure && failed);
            if !discarded && !seen.may_be_erased(key, &told) {
                ends.settled.insert(key);
            }
            return Ok(());
        }
        // It went with its event. A dead letter would be there.
        None if seen.gone.contains(&key.position) && (told.ended || seen.cut) => {
            let last = told.attempts.last();
            let failed = last.is_some_and(|last| last.1 == Some(false));
            let discarded = told.purged || told.skipped || (told.unsure && failed);
            if discarded || seen.may_be_erased(key, &told) {
                return Ok(());
            }
            ends.settled.insert(key);
            if successes.count() == 0 {
                return Err(format!(
                    "it was removed, and no attempt succeeded: {told:?}"
                ));
            }
            return Ok(());
        }
        // That a dead letter was purged is kept for as long as the log has its event.
        None if (told.purged || told.unsure) && seen.corrupt.contains(&key.position) => {
            return Ok(());
        }
        None => return Err("it is nowhere".to_owned()),
        Some(DeliveryState::Pending(_)) => return Err("it is still pending".to_owned()),
        Some(DeliveryState::Succeeded(settled)) if settled.discarded.is_some() => {
            if told.skipped {
                spent(&settled.delivery)
            } else if told.purged || seen.cut {
                return Ok(());
            } else {
                return Err("it is discarded, and no job let go of it".to_owned());
            }
        }
        Some(DeliveryState::Succeeded(settled)) => {
            ends.settled.insert(key);
            let deaths = settled.delivery.redriven.map_or(0, |again| again.deaths);
            if deaths != told.redriven && !seen.cut {
                let times = told.redriven;
                return Err(format!(
                    "it died {deaths} times and was redriven {times} times"
                ));
            }
            if successes.count() == 0 {
                return Err("it succeeded, and no attempt did".to_owned());
            }
            spent(&settled.delivery)
        }
        Some(DeliveryState::Dead(letter)) => {
            ends.dead.insert(key);
            let (deaths, times) = (letter.deaths(), told.redriven);
            // A letter whose record was corrupt begins to count anew.
            if deaths != times + 1 && !seen.cut && !seen.corrupt.contains(&key.position) {
                return Err(format!(
                    "it died {deaths} times and was redriven {times} times"
                ));
            }
            let last = letter
                .delivery
                .attempts
                .last()
                .map(|own| own.outcome.clone());
            let made = spent(&letter.delivery);
            let host = letter.delivery.host_failures > 0;
            // Attempts that get in each other's way must end one day.
            let crowded = matches!(last, Some(Outcome::Conflict));
            let right = match letter.reason {
                DeadReason::Rejected => matches!(last, Some(Outcome::Reject { .. })),
                DeadReason::AttemptsExhausted => !crowded && (made >= attempts_max || host),
                DeadReason::Corrupt => seen.corrupt.contains(&key.position),
                DeadReason::HopLimit => plan.loops,
                DeadReason::AgeExceeded | DeadReason::FanOutLimit | DeadReason::FunctionMissing => {
                    false
                }
            };
            if !right {
                let reason = letter.reason.word();
                return Err(format!("dead as {reason} after {made} attempts: {last:?}"));
            }
            made
        }
    };
    // A claim that was cut short may stand for one more; a process that died counts as an attempt.
    if made > attempts_max + 1 {
        return Err(format!("{made} attempts were made of {attempts_max}"));
    }
    if !told.ended && !seen.cut {
        return Err("it ended without a commit".to_owned());
    }
    Ok(())
}

/// Jobs are done, and have looked at everything once; a replay has delivered what it was to deliver.
fn jobs(plan: &Plan, seen: &mut Seen, log: &[StoredEvent], store: &dyn Store) {
    // Rules that are in each manifest: their subscriptions always are active.
    let manifests = seen.versions.values();
    let manifests = manifests.map(|number| {
        let rules = plan.rules_of(*number).into_iter();
        rules.map(|rule| rule.name.clone()).collect::<BTreeSet<_>>()
    });
    let stay = manifests.reduce(|known, next| &known & &next);
    let stay = stay.unwrap_or_default();
    let page = store.jobs_page(None, Page::forward(10_000, usize::MAX));
    for job in page.unwrap().rows {
        let id = job.id;
        let replays = matches!(
            job.spec,
            JobSpec::Replay(_) | JobSpec::Skip(_) | JobSpec::Shadow(_)
        );
        if job.state != JobState::Done && (replays || job.state != JobState::Cancelled) {
            seen.broke(format!("job {id} is {}", job.state.word()));
        }
        if let JobSpec::Shadow(_) = &job.spec {
            shadow(seen, &job, store);
            continue;
        }
        let JobSpec::Replay(spec) = &job.spec else {
            continue;
        };
        let range = |position: &Position| (spec.first..=spec.last).contains(position);
        let length = spec.last.0 + 1 - spec.first.0;
        let missing = seen.corrupt.iter().chain(&seen.gone).any(range);
        if job.progress.looked != length && !missing {
            let looked = job.progress.looked;
            seen.broke(format!("job {id} looked at {looked} of {length} events"));
        }
        let made = seen.replayed.iter().filter(|key| key.replay == id.0);
        let made = made.count() as u64;
        if job.progress.done != made && !seen.cut {
            let done = job.progress.done;
            seen.broke(format!("job {id} counts {done}, {made} were made"));
        }
        if !spec.as_matched || spec.purpose != ReplayPurpose::Replay {
            continue;
        }
        // One that was corrupt or gone meanwhile may have been brought back by a redrive.
        let was_away = |position: &Position| {
            seen.corrupt.contains(position) || seen.removed.contains_key(position)
        };
        let there = |position: &Position| range(position) && !was_away(position);
        let there: Vec<_> = log.iter().filter(|own| there(&own.position)).collect();
        for stored in there {
            for subscription in &stored.subscriptions {
                let key = DeliveryKey {
                    subscription: *subscription,
                    replay: id.0,
                    position: stored.position,
                };
                let wanted = spec.goes_to(*subscription)
                    && seen
                        .rules
                        .get(subscription)
                        .is_some_and(|rule| stay.contains(rule))
                    && seen.active.contains(subscription)
                    // There is nothing left to deliver of what was erased before.
                    && !seen.erase_asked.contains(&stored.position);
                if wanted && matches!(store.delivery(key), Ok(None)) {
                    seen.broke(format!("job {id} passed {key} over"));
                }
            }
        }
    }
}

/// What an erasure that is done was to erase is erased, in the log and in dead letters.
fn erased(seen: &mut Seen, there: &[StoredEvent], store: &dyn Store) {
    let number = |id: &str| id.strip_prefix('p').and_then(|number| number.parse().ok());
    let rows = seen.rules.keys().flat_map(|id| {
        let letters = store.dead_letters(*id, None, 99_999).unwrap();
        letters.into_iter().map(|own| {
            let key = own.delivery.key;
            (format!("the dead letter {key}"), key.position, own.event)
        })
    });
    let events = there.iter().map(|own| {
        let position = own.position;
        (
            format!("the event at {position}"),
            position,
            own.event.clone(),
        )
    });
    let rows: Vec<_> = rows.chain(events).collect();
    let mut broken = Vec::new();
    for (id, (subject, spec)) in &seen.erasures {
        let job = store.job(*id).unwrap();
        if job.is_none_or(|job| job.state != JobState::Done) {
            continue;
        }
        for (what, position, event) in &rows {
            let about = number(&event.id).map(subject_of);
            if spec.covers(*position) && about == Some(*subject) && event.erased().is_none() {
                broken.push(format!("job {id} is done, and {what} is not erased"));
            }
        }
    }
    broken.into_iter().for_each(|what| seen.broke(what));
}

/// Each delivery that a shadow replay ran is counted once, and its candidate is gone.
fn shadow(seen: &mut Seen, job: &Job, store: &dyn Store) {
    let JobSpec::Shadow(spec) = &job.spec else {
        return;
    };
    let (id, done) = (job.id, job.progress.done);
    let counts = store.shadow_report(id).unwrap().unwrap_or_default().counts;
    let sum = counts.same + counts.different + counts.unrecorded + counts.failed;
    if (counts.runs, sum) != (done, done) {
        seen.broke(format!("shadow replay {id} ran {done}: {counts:?}"));
    }
    let own = spec.candidate.as_ref();
    let kept = own.and_then(|own| store.job_component(id, own.digest).unwrap());
    if kept.is_some() {
        seen.broke(format!("shadow replay {id} keeps its candidate"));
    }
}

/// Attempts that count: those that failed for want of the host have a budget of their own.
fn spent(delivery: &Delivery) -> u32 {
    let made = delivery.attempts_made;
    made.saturating_sub(delivery.host_failures)
}

/// What a delivery emitted is there, once, if and only if it succeeded.
fn emitted(seen: &mut Seen, log: &[StoredEvent], ends: &Ends) {
    let mut children: BTreeMap<DeliveryKey, u32> = BTreeMap::new();
    for parent in log.iter().filter_map(|stored| stored.lineage.parent) {
        *children.entry(parent).or_default() += 1;
    }
    let corrupt = !seen.corrupt.is_empty();
    for (parent, found) in &children {
        if *found != 1 || !ends.settled.contains(parent) {
            seen.broke(format!("delivery {parent} emitted {found} events"));
        }
    }
    let emitting = &seen.emitting;
    let silent = ends.settled.iter().filter(|key| {
        let rule = seen.rules.get(&key.subscription);
        let emits = rule.is_some_and(|rule| emitting.contains(rule));
        emits && !children.contains_key(key) && !corrupt
    });
    let silent: Vec<_> = silent.copied().collect();
    for key in silent {
        seen.broke(format!(
            "delivery {key} succeeded, and what it emitted is not there"
        ));
    }
}

/// State counts successes, each once.
fn counted(plan: &Plan, seen: &mut Seen, ends: &Ends, store: &dyn Store) {
    for function in plan.functions.iter().filter(|own| own.counts) {
        let of_function = |key: &&DeliveryKey| {
            let rule = seen.rules.get(&key.subscription);
            let rule = rule.and_then(|name| plan.rule(name));
            rule.is_some_and(|rule| plan.functions[rule.function].name == function.name)
        };
        let successes = ends.settled.iter().filter(of_function).count();
        let name = Name::new(&function.name).unwrap();
        let state = store.state(&name, COUNTED).unwrap();
        let counted = state.map_or_else(String::new, |own| {
            String::from_utf8_lossy(&own.value).into_owned()
        });
        if counted.parse().unwrap_or(0) != successes {
            seen.broke(format!(
                "{name} counted {counted}, {successes} deliveries succeeded"
            ));
        }
    }
}

/// The counters of the store say what its rows say.
fn counters(seen: &mut Seen, log: &[StoredEvent], ends: &Ends, store: &dyn Store) {
    let subscriptions: Vec<_> = seen.rules.keys().copied().collect();
    for id in subscriptions {
        let counts = store.counts(id).unwrap();
        let dead = ends.dead.iter().filter(|key| key.subscription == id);
        let dead = dead.count() as u64;
        if (counts.pending, counts.waiting, counts.dead) != (0, 0, dead) {
            seen.broke(format!(
                "subscription {}: {counts:?}, {dead} are dead",
                id.0
            ));
        }
    }
    let (counted, there) = (store.bus_counts(BUS).unwrap().events, log.len() as u64);
    let corrupt = seen.corrupt.len() as u64;
    if counted < there || counted > there + corrupt {
        seen.broke(format!("the bus counts {counted} events and has {there}"));
    }
}

/// No two deliveries have the same idempotency key.
fn keys(seen: &mut Seen) {
    let keys = seen.deliveries.values().map(|told| &told.idempotency_key);
    let keys: Vec<_> = keys.filter(|key| !key.is_empty()).collect();
    let different: BTreeSet<_> = keys.iter().collect();
    if different.len() != keys.len() {
        seen.broke("two deliveries have the same idempotency key");
    }
}
